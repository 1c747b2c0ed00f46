// cpu (shares and bandwidth: Documentation/scheduler/sched-bwc.txt) and cpuacct.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fsimpl/cgroup/directory.h"

namespace msentry::cgroupfs {
namespace {

using Where = FileSpec::Where;
using Text = Result<std::string>;

constexpr int64_t kLeastShares = 2, kMostShares = 1 << 18;
constexpr int64_t kLeastQuotaUs = 1000, kLeastPeriodUs = 1000, kMostPeriodUs = 1'000'000;
constexpr int64_t kNsPerTick = 10'000'000;  // USER_HZ is 100

Text ReadShares(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.cpu.shares, "\n");
}
Result<> WriteShares(const Target& t, std::string_view text) {
  const uint64_t shares = TRY(ParseUnsigned(text));
  if (t.group.is_root()) return Errno::kEINVAL;
  {
    MutexLock lock(t.cgroups().mutex());
    t.group.cpu.shares =
        static_cast<int64_t>(std::clamp<uint64_t>(shares, kLeastShares, kMostShares));
  }
  t.control().LimitsChanged(t.group, cgroup::Kind::kCpu);
  return Ok();
}

// Shares of one CPU, or -1: no limit.
double Ratio(int64_t quota_us, int64_t period_us) {
  return quota_us < 0 ? -1 : static_cast<double>(quota_us) / static_cast<double>(period_us);
}

// No group below may have more than one above it.
bool FitsBelow(const cgroup::Group& group, double limit) {
  for (const auto& [name, child] : group.children) {
    const double own = Ratio(child->cpu.quota_us, child->cpu.period_us);
    if (own >= 0 && limit >= 0 && own > limit) return false;
    if (!FitsBelow(*child, own >= 0 ? own : limit)) return false;
  }
  return true;
}

Result<> SetBandwidth(const Target& t, int64_t quota_us, int64_t period_us) {
  if (t.group.is_root()) return Errno::kEINVAL;
  if (quota_us >= 0 && quota_us < kLeastQuotaUs) return Errno::kEINVAL;
  if (quota_us > INT64_MAX / 1000) return Errno::kEINVAL;
  if (period_us < kLeastPeriodUs || period_us > kMostPeriodUs) return Errno::kEINVAL;
  const double ratio = Ratio(quota_us, period_us);
  double above = -1;
  for (const cgroup::Group* g = t.group.parent.get(); g != nullptr && above < 0;
       g = g->parent.get()) {
    above = Ratio(g->cpu.quota_us, g->cpu.period_us);
  }
  if (above >= 0 && ratio > above) return Errno::kEINVAL;
  if (!FitsBelow(t.group, ratio >= 0 ? ratio : above)) return Errno::kEINVAL;
  t.group.cpu.quota_us = quota_us;
  t.group.cpu.period_us = period_us;
  return Ok();
}

Text ReadQuota(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.cpu.quota_us, "\n");
}
Result<> WriteQuota(const Target& t, std::string_view text) {
  const int64_t quota = TRY(ParseSigned(text));
  {
    MutexLock lock(t.cgroups().mutex());
    TRY(SetBandwidth(t, quota < 0 ? -1 : quota, t.group.cpu.period_us));
  }
  t.control().LimitsChanged(t.group, cgroup::Kind::kCpu);
  return Ok();
}
Text ReadPeriod(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.cpu.period_us, "\n");
}
Result<> WritePeriod(const Target& t, std::string_view text) {
  const uint64_t period = TRY(ParseUnsigned(text));
  if (period > kMostPeriodUs) return Errno::kEINVAL;
  {
    MutexLock lock(t.cgroups().mutex());
    TRY(SetBandwidth(t, t.group.cpu.quota_us, static_cast<int64_t>(period)));
  }
  t.control().LimitsChanged(t.group, cgroup::Kind::kCpu);
  return Ok();
}
Text ReadStat(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  const cgroup::CpuState& cpu = t.group.cpu;
  return absl::StrCat("nr_periods ", cpu.periods, "\nnr_throttled ", cpu.throttled_periods,
                      "\nthrottled_time ", cpu.throttled_ns, "\n");
}

constexpr FileSpec kCpu[] = {
    {"cpu.cfs_period_us", 0644, Where::kEverywhere, ReadPeriod, WritePeriod},
    {"cpu.cfs_quota_us", 0644, Where::kEverywhere, ReadQuota, WriteQuota},
    {"cpu.shares", 0644, Where::kEverywhere, ReadShares, WriteShares},
    {"cpu.stat", 0444, Where::kEverywhere, ReadStat},
};

// ---- cpuacct ----

// Since the last reset.
cgroup::CpuTime Measure(const Target& t) {
  cgroup::CpuTime time = t.control().LiveCpu(t.group);
  MutexLock lock(t.cgroups().mutex());
  time += t.group.cpuacct.departed;
  time = time - t.group.cpuacct.reset;
  return {std::max<int64_t>(0, time.user_ns), std::max<int64_t>(0, time.system_ns)};
}

Text ReadUsage(const Target& t) { return absl::StrCat(Measure(t).total(), "\n"); }
Result<> WriteUsage(const Target& t, std::string_view text) {
  if (TRY(ParseUnsigned(text)) != 0) return Errno::kEINVAL;
  const cgroup::CpuTime live = t.control().LiveCpu(t.group);
  MutexLock lock(t.cgroups().mutex());
  t.group.cpuacct.reset = live;
  t.group.cpuacct.reset += t.group.cpuacct.departed;
  return Ok();
}
Text ReadUsageUser(const Target& t) { return absl::StrCat(Measure(t).user_ns, "\n"); }
Text ReadUsageSystem(const Target& t) { return absl::StrCat(Measure(t).system_ns, "\n"); }
Text ReadAcctStat(const Target& t) {
  const cgroup::CpuTime time = Measure(t);
  return absl::StrCat("user ", time.user_ns / kNsPerTick, "\nsystem ", time.system_ns / kNsPerTick,
                      "\n");
}
// Which host CPU ran what is not recorded: an equal share each, as in /proc/stat.
Text ReadPerCpu(const Target& t) {
  const int64_t total = Measure(t).total();
  const int cpus = std::max(1, t.cgroups().options().cpus);
  std::string text;
  for (int cpu = 0; cpu < cpus; ++cpu) absl::StrAppend(&text, total / cpus, " ");
  return text + "\n";
}

constexpr FileSpec kCpuacct[] = {
    {"cpuacct.stat", 0444, Where::kEverywhere, ReadAcctStat},
    {"cpuacct.usage", 0644, Where::kEverywhere, ReadUsage, WriteUsage},
    {"cpuacct.usage_percpu", 0444, Where::kEverywhere, ReadPerCpu},
    {"cpuacct.usage_sys", 0444, Where::kEverywhere, ReadUsageSystem},
    {"cpuacct.usage_user", 0444, Where::kEverywhere, ReadUsageUser},
};

}  // namespace

std::span<const FileSpec> CpuFiles() { return kCpu; }
std::span<const FileSpec> CpuacctFiles() { return kCpuacct; }

}  // namespace msentry::cgroupfs
