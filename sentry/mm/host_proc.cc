#include "sentry/mm/host_proc.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace msentry::mm::host_proc {

namespace {

constexpr int kPageShift = 12;

int proc_directory = -1;  // set once before any fiber runs

ScopedFd OpenOf(int host_pid, const char* file) {
  if (proc_directory < 0 || host_pid <= 0) return ScopedFd();
  char path[64];
  std::snprintf(path, sizeof(path), "%d/%s", host_pid, file);
  return ScopedFd(openat(proc_directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

}  // namespace

void SetDirectory(ScopedFd proc) { proc_directory = proc.Release(); }

Result<ScopedFd> ReopenReadOnly(int fd) {
  if (proc_directory < 0) return Errno::kENXIO;
  char path[32];
  std::snprintf(path, sizeof(path), "self/fd/%d", fd);
  ScopedFd reopened(openat(proc_directory, path, O_RDONLY | O_CLOEXEC));
  if (!reopened) return FromHost(errno);
  return reopened;
}

ScopedFd OpenStat(int host_pid) { return OpenOf(host_pid, "stat"); }
ScopedFd OpenStatm(int host_pid) { return OpenOf(host_pid, "statm"); }

ScopedFd OpenStatus(int host_pid) { return OpenOf(host_pid, "status"); }

HostMemory ReadStatus(int status_fd) {
  char text[4096];
  const ssize_t n = pread(status_fd, text, sizeof(text) - 1, 0);
  HostMemory memory;
  if (n <= 0) return memory;
  text[n] = 0;
  const auto field = [&](const char* name) -> uint64_t {
    const char* at = std::strstr(text, name);
    return at != nullptr ? std::strtoull(at + std::strlen(name), nullptr, 10) : 0;
  };
  memory.resident_kb = field("\nVmRSS:");
  memory.peak_kb = field("\nVmHWM:");
  memory.page_tables_kb = field("\nVmPTE:");
  memory.swap_kb = field("\nVmSwap:");
  return memory;
}

HostFigures ReadStat(int stat_fd) {
  HostFigures figures;
  char text[1024];
  const ssize_t n = pread(stat_fd, text, sizeof(text) - 1, 0);
  if (n <= 0) return figures;
  text[n] = 0;
  char* rest = std::strrchr(text, ')');  // the name may hold anything
  if (rest == nullptr) return figures;
  // Fields 3 (state) to 24 of proc(5): ") S ppid pgrp ...".
  rest += std::strlen(") S");
  constexpr int kMinorFaults = 10, kMajorFaults = 12, kResident = 24;
  for (int field = 4; field <= kResident; ++field) {
    const uint64_t value = std::strtoull(rest, &rest, 10);  // negative ones are none of ours
    if (field == kMinorFaults) figures.minor_faults = value;
    if (field == kMajorFaults) figures.major_faults = value;
    if (field == kResident) figures.resident = value;
  }
  return figures;
}

ResidentUsage ReadStatm(int statm_fd) {
  char text[128];
  const ssize_t n = pread(statm_fd, text, sizeof(text) - 1, 0);
  if (n <= 0) return {};
  text[n] = 0;
  char* rest = text;
  std::strtoull(rest, &rest, 10);  // size: ours says what the guest mapped, not this
  ResidentUsage usage;
  usage.resident = std::strtoull(rest, &rest, 10);
  usage.file = std::strtoull(rest, &rest, 10);
  return usage;
}

ShareUsage Share(int host_pid) {
  ScopedFd fd = OpenOf(host_pid, "smaps_rollup");
  if (!fd) return {};
  char text[2048];
  ssize_t n = read(fd.get(), text, sizeof(text) - 1);
  if (n <= 0) return {};
  text[n] = 0;
  ShareUsage usage;
  auto field = [&](const char* name, int64_t* out) {
    const char* at = std::strstr(text, name);
    if (!at) return false;
    *out = std::strtoll(at + std::strlen(name), nullptr, 10) * 1024;
    return true;
  };
  usage.known = field("Pss_Anon:", &usage.anonymous) && field("Pss_File:", &usage.file) &&
                field("Pss_Shmem:", &usage.shared);
  return usage;
}

std::vector<HostArea> ReadSmaps(int host_pid) {
  ScopedFd fd = OpenOf(host_pid, "smaps");
  if (!fd) return {};
  std::string text;
  char part[1 << 14];
  for (ssize_t n; (n = read(fd.get(), part, sizeof(part))) > 0;) text.append(part, n);
  static constexpr std::string_view kNames[] = {
      "Rss:",           "Pss:",           "Shared_Clean:", "Shared_Dirty:",
      "Private_Clean:", "Private_Dirty:", "Referenced:",   "Anonymous:",
      "AnonHugePages:", "Swap:",          "SwapPss:",      "Locked:"};
  static_assert(std::size(kNames) == HostArea::kFieldCount);
  std::vector<HostArea> areas;
  for (size_t at = 0, end; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    // A mapping's first line begins with its address in lower case hexadecimal.
    if (!line.empty() && (line[0] < 'A' || line[0] > 'Z')) {
      char* rest = text.data() + at;
      HostArea area;
      area.start = std::strtoull(rest, &rest, 16);
      if (*rest == '-') area.end = std::strtoull(rest + 1, nullptr, 16);
      areas.push_back(area);
      continue;
    }
    for (size_t i = 0; i < std::size(kNames) && !areas.empty(); ++i) {
      if (!line.starts_with(kNames[i])) continue;
      areas.back().kb[i] = std::strtoull(line.data() + kNames[i].size(), nullptr, 10);
      break;
    }
  }
  return areas;
}

bool ReadPagemap(int host_pid, uint64_t address, std::span<uint64_t> entries) {
  ScopedFd fd = OpenOf(host_pid, "pagemap");
  if (!fd) return false;
  constexpr uint64_t kFrame = (uint64_t{1} << 55) - 1, kSwapped = uint64_t{1} << 62;
  const size_t want = entries.size() * sizeof(uint64_t);
  const ssize_t n = pread(fd.get(), entries.data(), want,
                          static_cast<off_t>((address >> kPageShift) * sizeof(uint64_t)));
  if (n != static_cast<ssize_t>(want)) return false;
  for (uint64_t& entry : entries) {
    if ((entry & kSwapped) == 0) entry &= ~kFrame;
  }
  return true;
}

std::string ReadText(const char* name) {
  std::string text;
  if (proc_directory < 0) return text;
  ScopedFd fd(openat(proc_directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  char buffer[4096];
  for (ssize_t n; fd && (n = read(fd.get(), buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
  return text;
}

Result<> ClearRefs(int host_pid, int what) {
  if (proc_directory < 0 || host_pid <= 0) return Errno::kEIO;
  char path[64];
  std::snprintf(path, sizeof(path), "%d/clear_refs", host_pid);
  ScopedFd fd(openat(proc_directory, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  const char digit = static_cast<char>('0' + what);
  if (!fd || write(fd.get(), &digit, 1) != 1) return Errno::kEIO;
  return Ok();
}

bool ResidentPages(int host_pid, uint64_t address, std::span<uint8_t> pages) {
  std::vector<uint64_t> entries(pages.size());
  if (!ReadPagemap(host_pid, address, entries)) return false;
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  for (size_t i = 0; i < entries.size(); ++i) pages[i] = (entries[i] & kPresent) != 0;
  return true;
}

std::atomic<int> KeptFd::kept{0};

KeptFd::~KeptFd() {
  if (fd_) kept.fetch_sub(1, std::memory_order_relaxed);
}

int KeptFd::Get(ScopedFd (*open)(int host_pid), int host_pid, ScopedFd& scratch) {
  if (fd_) return fd_.get();
  scratch = open(host_pid);
  if (!scratch) return -1;
  if (kept.fetch_add(1, std::memory_order_relaxed) < kMost) {
    fd_ = std::move(scratch);
    return fd_.get();
  }
  kept.fetch_sub(1, std::memory_order_relaxed);
  return scratch.get();
}

}  // namespace msentry::mm::host_proc
