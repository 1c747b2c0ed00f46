#include "sentry/mm/host_proc.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
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

ResidentUsage Resident(int host_pid) {
  ScopedFd fd = OpenOf(host_pid, "statm");
  if (!fd) return {};
  char text[128];
  ssize_t n = read(fd.get(), text, sizeof(text) - 1);
  if (n <= 0) return {};
  text[n] = 0;
  char* rest = text;
  std::strtoull(rest, &rest, 10);  // size: ours says what the guest mapped, not this
  ResidentUsage usage;
  usage.resident = std::strtoull(rest, &rest, 10);
  usage.file = std::strtoull(rest, &rest, 10);
  return usage;
}

bool ResidentPages(int host_pid, uint64_t address, std::span<uint8_t> pages) {
  ScopedFd fd = OpenOf(host_pid, "pagemap");
  if (!fd) return false;
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  std::vector<uint64_t> entries(pages.size());
  size_t want = entries.size() * sizeof(uint64_t);
  ssize_t n = pread(fd.get(), entries.data(), want,
                    static_cast<off_t>((address >> kPageShift) * sizeof(uint64_t)));
  if (n != static_cast<ssize_t>(want)) return false;
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = (entries[i] & kPresent) != 0;
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

}  // namespace msentry::mm::host_proc
