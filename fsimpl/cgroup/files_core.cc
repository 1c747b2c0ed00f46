// Files of every group (tasks, cgroup.procs, notify_on_release...), and of the small controllers
// job and pids.
#include <charconv>

#include "absl/strings/str_cat.h"
#include "fsimpl/cgroup/directory.h"
#include "fsimpl/eventfs/event_fd.h"

namespace msentry::cgroupfs {
namespace {

using Where = FileSpec::Where;
using Text = Result<std::string>;

constexpr int64_t kMostPids = 4 * 1024 * 1024 + 1;  // PIDS_MAX

Text ReadIds(const Target& t, bool processes) {
  std::string text;
  for (int id : t.control().Tasks(t.ctx, t.group, processes)) absl::StrAppend(&text, id, "\n");
  return text;
}
Text ReadTasks(const Target& t) { return ReadIds(t, false); }
Text ReadProcs(const Target& t) { return ReadIds(t, true); }

Result<> WriteId(const Target& t, std::string_view text, bool process) {
  const Result<int64_t> id = ParseSigned(text);
  if (!id.ok() || *id < 0 || *id > INT32_MAX) return Errno::kEINVAL;
  return t.control().Attach(t.ctx, t.group, static_cast<int>(*id), process);
}
Result<> WriteTasks(const Target& t, std::string_view text) { return WriteId(t, text, false); }
Result<> WriteProcs(const Target& t, std::string_view text) { return WriteId(t, text, true); }

template <bool cgroup::Group::*field>
Text ReadFlag(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.*field ? 1 : 0, "\n");
}
template <bool cgroup::Group::*field>
Result<> WriteFlag(const Target& t, std::string_view text) {
  const uint64_t value = TRY(ParseUnsigned(text));
  MutexLock lock(t.cgroups().mutex());
  t.group.*field = value != 0;
  return Ok();
}

Text ReadSane(const Target&) { return std::string("0\n"); }

Text ReadAgent(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return t.group.hierarchy->release_agent + "\n";
}
Result<> WriteAgent(const Target& t, std::string_view text) {
  if (!t.ctx.creds.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  if (text.size() >= vfs::kPathMax) return Errno::kENAMETOOLONG;
  MutexLock lock(t.cgroups().mutex());
  t.group.hierarchy->release_agent = std::string(text);
  return Ok();
}

constexpr FileSpec kCore[] = {
    {"cgroup.clone_children", 0644, Where::kEverywhere, ReadFlag<&cgroup::Group::clone_children>,
     WriteFlag<&cgroup::Group::clone_children>},
    {"cgroup.procs", 0644, Where::kEverywhere, ReadProcs, WriteProcs},
    {"cgroup.sane_behavior", 0444, Where::kRoot, ReadSane},
    {"notify_on_release", 0644, Where::kEverywhere, ReadFlag<&cgroup::Group::notify_on_release>,
     WriteFlag<&cgroup::Group::notify_on_release>},
    {"release_agent", 0644, Where::kRoot, ReadAgent, WriteAgent},
    {"tasks", 0644, Where::kEverywhere, ReadTasks, WriteTasks},
};

// ---- job ----

Text ReadJobId(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.job.id, "\n");
}
Result<> WriteJobId(const Target& t, std::string_view text) {
  const int64_t id = TRY(ParseSigned(text));
  MutexLock lock(t.cgroups().mutex());
  t.group.job.id = id;
  return Ok();
}
constexpr FileSpec kJob[] = {{"job.id", 0644, Where::kEverywhere, ReadJobId, WriteJobId}};

// ---- pids ----

Text ReadPidsCurrent(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.pids.current, "\n");
}
Text ReadPidsMax(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  const int64_t max = t.group.pids.max;
  return max == cgroup::kNoLimit ? "max\n" : absl::StrCat(max, "\n");
}
Result<> WritePidsMax(const Target& t, std::string_view text) {
  int64_t max = cgroup::kNoLimit;
  if (text != "max") {
    max = TRY(ParseSigned(text));
    if (max < 0 || max >= kMostPids) return Errno::kEINVAL;
  }
  MutexLock lock(t.cgroups().mutex());
  t.group.pids.max = max;
  return Ok();
}
Text ReadPidsEvents(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat("max ", t.group.pids.failures, "\n");
}
constexpr FileSpec kPids[] = {
    {"pids.current", 0444, Where::kBelowRoot, ReadPidsCurrent},
    {"pids.events", 0444, Where::kBelowRoot, ReadPidsEvents},
    {"pids.max", 0644, Where::kBelowRoot, ReadPidsMax, WritePidsMax},
};

}  // namespace

std::span<const FileSpec> CoreFiles() { return kCore; }
std::span<const FileSpec> JobFiles() { return kJob; }
std::span<const FileSpec> PidsFiles() { return kPids; }

Result<uint64_t> ParseUnsigned(std::string_view text) {
  int base = 10;
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc::result_out_of_range) return Errno::kERANGE;
  if (error != std::errc() || end != text.data() + text.size()) return Errno::kEINVAL;
  return value;
}

Result<int64_t> ParseSigned(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) {
    text.remove_prefix(1);
    if (text.starts_with('+')) return Errno::kEINVAL;
  }
  const uint64_t value = TRY(ParseUnsigned(text));
  constexpr uint64_t kMost = uint64_t{1} << 63;
  if (value > kMost - (negative ? 0 : 1)) return Errno::kERANGE;
  return static_cast<int64_t>(negative ? -value : value);
}

}  // namespace msentry::cgroupfs
