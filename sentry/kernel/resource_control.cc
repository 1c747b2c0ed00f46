#include "sentry/kernel/resource_control.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {

void ResourceControl::LimitsChanged() {
  changed_.store(true, std::memory_order_seq_cst);
  if (!started_.exchange(true)) {
    kernel_.scheduler().Spawn("resources", [this] { Run(); });
    return;
  }
  Wake();
}

void ResourceControl::Wake() {
  if (sched::Fiber* fiber = fiber_.load(std::memory_order_seq_cst)) sched::Unpark(fiber);
}

void ResourceControl::Run() {
  fiber_.store(sched::CurrentFiber(), std::memory_order_seq_cst);
  for (;;) {
    changed_.store(false, std::memory_order_seq_cst);
    const int64_t now = sched::NowNs();
    int64_t next = std::min(ControlCpu(now), ControlMemory(now));
    if (next != sched::kNever && kernel_.running_tasks() == 0) {
      // Nobody uses anything up; whoever runs first wakes us.
      waits_for_task_.store(true, std::memory_order_seq_cst);
      if (kernel_.running_tasks() == 0) {
        bool throttled = false;
        for (const auto& [group, b] : bandwidths_) throttled |= b.throttled_since != 0;
        if (!throttled) next = sched::kNever;
      }
    }
    if (!changed_.load(std::memory_order_seq_cst)) sched::Park(next);
    waits_for_task_.store(false, std::memory_order_seq_cst);
  }
}

// ---- CPU: Documentation/scheduler/sched-bwc.txt ----

namespace {
constexpr int64_t kNsPerUs = 1000;
// As often as is worth the looking.
constexpr int64_t kLeastCpuWait = 1'000'000;
}  // namespace

// What every task used since it was charged last goes to its groups.
void ResourceControl::ChargeCpu() {
  kernel_.ForEachLiveTask([&](Task& task) {
    const cgroup::CpuTime used{task.UserNs(), task.SystemNs()};
    MutexLock lock(kernel_.cgroups().mutex());
    kernel_.cgroups().ChargeCpu(&task.cgroup, used);
  });
}

int64_t ResourceControl::ControlCpu(int64_t now) {
  std::vector<RefPtr<cgroup::Group>> limited = kernel_.cgroups().GroupsWith(cgroup::Kind::kCpu);
  if (limited.empty() && bandwidths_.empty()) return sched::kNever;
  ChargeCpu();
  for (auto& [group, b] : bandwidths_) b.seen = false;
  int64_t next = sched::kNever;
  for (const auto& group : limited) {
    auto [at, made] = bandwidths_.try_emplace(group.get());
    Bandwidth& b = at->second;
    if (made) {
      b.group = group;
      MutexLock lock(kernel_.cgroups().mutex());
      b.paid = b.used_before = group->cpu.used_ns;
      b.period_ends = now + group->cpu.period_us * kNsPerUs;
    }
    b.seen = true;
    next = std::min(next, ControlBandwidth(b, now));
  }
  for (auto it = bandwidths_.begin(); it != bandwidths_.end();) {
    Bandwidth& b = it->second;
    if (!b.seen && b.throttled_since != 0) SetThrottled(b, false, now);
    it = b.seen ? std::next(it) : bandwidths_.erase(it);
  }
  return next;
}

int64_t ResourceControl::ControlBandwidth(Bandwidth& b, int64_t now) {
  int64_t left = 0, period = 0;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    cgroup::CpuState& cpu = b.group->cpu;
    period = cpu.period_us * kNsPerUs;
    const int64_t quota = cpu.quota_us * kNsPerUs;
    if (now >= b.period_ends) {
      const int64_t ended = 1 + (now - b.period_ends) / period;
      b.period_ends += ended * period;
      // What was used too much is owed; what was not used is gone.
      const int64_t granted = ended > 1000 ? cpu.used_ns : b.paid + ended * quota;
      if (cpu.used_ns != b.used_before) ++cpu.periods;
      if (b.throttled_since != 0) ++cpu.throttled_periods;
      b.paid = std::min(granted, cpu.used_ns);
      b.used_before = cpu.used_ns;
    }
    left = b.paid + quota - cpu.used_ns;
  }
  const bool throttle = left <= 0;
  if (throttle != (b.throttled_since != 0)) {
    SetThrottled(b, throttle, now);
  } else if (throttle) {
    SetThrottled(b, true, now);  // tasks that have come meanwhile
  }
  if (throttle) return b.period_ends;
  const int64_t soonest = now + std::max(kLeastCpuWait, left / std::max(1, kernel_.cpus()));
  return std::min(b.period_ends, soonest);
}

void ResourceControl::SetThrottled(Bandwidth& b, bool throttled, int64_t now) {
  if (throttled && b.throttled_since == 0) {
    b.throttled_since = now;
  } else if (!throttled && b.throttled_since != 0) {
    MutexLock lock(kernel_.cgroups().mutex());
    b.group->cpu.throttled_ns += now - b.throttled_since;
    b.throttled_since = 0;
  }
  kernel_.cgroup_control().ForEachMember(*b.group, true, [&](Task& task) {
    if (throttled) {
      task.Hold(Task::kHeldForCpu);
    } else {
      task.Release(Task::kHeldForCpu);
    }
  });
}

}  // namespace msentry::kernel
