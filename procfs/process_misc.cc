// mounts, cgroup, identity maps, OOM scores, links.
#include <charconv>

#include "absl/strings/str_format.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "vfs/mapping.h"
#include "vfs/mount_namespace.h"

namespace msentry::procfs {

namespace {

constexpr int kOomMin = -1000, kOomMax = 1000;

// The subject's root: mounts are shown from there.
vfs::Location RootOf(const View& v) {
  RefPtr<kernel::FsContext> fs = v.task.fs_ref();
  return fs ? fs->root() : v.kernel().root();
}

std::vector<vfs::MountInfo> MountsOf(const View& v) { return v.kernel().mounts()->List(RootOf(v)); }

// Options of mount and super block as /proc/mounts joins them: "rw" once, at the front.
std::string JoinOptions(const vfs::MountInfo& m) {
  std::string_view super = m.super_options;
  if (super.starts_with("rw") || super.starts_with("ro")) super.remove_prefix(2);
  return m.options + std::string(super);
}

Result<int> ParseNumber(std::string_view text) {
  text = Trim(text);
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return Errno::kEINVAL;
  return value;
}

}  // namespace

Text ReadMounts(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "%s %s %s %s 0 0\n", EscapePath(m.source), EscapePath(m.mount_point),
                          m.type, JoinOptions(m));
  }
  return s;
}

Text ReadMountInfo(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "%u %u %u:%u %s %s %s - %s %s %s\n", m.id, m.parent_id,
                          vfs::DevMajor(m.dev), vfs::DevMinor(m.dev), EscapePath(m.root),
                          EscapePath(m.mount_point), m.options, m.type, EscapePath(m.source),
                          m.super_options);
  }
  return s;
}

Text ReadMountStats(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "device %s mounted on %s with fstype %s\n", EscapePath(m.source),
                          EscapePath(m.mount_point), m.type);
  }
  return s;
}

Text ReadCgroup(const View& v) { return v.kernel().cgroups().TaskText(v.task.cgroup); }

Text ReadCpuset(const View& v) {
  return v.kernel().cgroups().PathOfTask(v.task.cgroup, cgroup::Kind::kCpuset) + "\n";
}

// One user namespace, the initial one: all ids map to themselves.
Text ReadIdMap(const View&) { return absl::StrFormat("%10u %10u %10u\n", 0, 0, ~0u); }
Text ReadSetgroups(const View&) { return std::string("allow\n"); }

// Not set: (uid_t)-1.
Text ReadLoginuid(const View&) { return std::string("4294967295"); }
Text ReadSessionid(const View&) { return std::string("4294967295"); }

Text ReadOomScore(const View& v) {
  // Share of memory in thousandths, shifted by the adjustment; scaled to 0..2000 as Linux does.
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  uint64_t total = v.kernel().options().memory_bytes > 0 ? v.kernel().options().memory_bytes
                                                         : v.fs.options().host.memory_bytes;
  int64_t score = 0;
  if (mm && total != 0) score = mm->Resident().resident * arch::kPageSize * 1000 / total;
  score += v.group.oom_score_adj.load(std::memory_order_relaxed);
  score = (kOomMax + std::clamp<int64_t>(score, kOomMin, kOomMax)) * 2 / 3;
  return absl::StrCat(score, "\n");
}

Text ReadOomScoreAdj(const View& v) {
  return absl::StrCat(v.group.oom_score_adj.load(std::memory_order_relaxed), "\n");
}

Result<> WriteOomScoreAdj(const View& v, std::string_view text) {
  int value = TRY(ParseNumber(text));
  if (value < kOomMin || value > kOomMax) return Errno::kEINVAL;
  int old = v.group.oom_score_adj.load(std::memory_order_relaxed);
  if (value < old && !v.ctx.creds.HasCap(auth::Cap::kSysResource)) return Errno::kEACCES;
  v.group.oom_score_adj.store(value, std::memory_order_relaxed);
  return Ok();
}

Text ReadOomAdj(const View& v) {
  constexpr int kOldMax = 15, kOldDisable = -17;
  int adj = v.group.oom_score_adj.load(std::memory_order_relaxed);
  int old = adj == kOomMax ? kOldMax : adj * -kOldDisable / kOomMax;
  return absl::StrCat(old, "\n");
}

Text ReadCoredumpFilter(const View&) { return std::string("00000033\n"); }

Text ReadTimerslack(const View& v) { return absl::StrCat(v.task.timer_slack_ns, "\n"); }

Result<vfs::Location> FollowProcessLink(const View& v, ProcessLink link) {
  if (link == ProcessLink::kExe) {
    RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
    if (!mm) return Errno::kENOENT;
    RefPtr<mm::MappedFile> executable = mm->image().executable;
    if (!executable) return Errno::kENOENT;
    return vfs::FileOfMapping(*executable).location();
  }
  RefPtr<kernel::FsContext> fs = v.task.fs_ref();
  if (!fs) return Errno::kENOENT;
  return link == ProcessLink::kCwd ? fs->cwd() : fs->root();
}

}  // namespace msentry::procfs
