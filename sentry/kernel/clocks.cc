// Clocks as a task sees them (clock_gettime(2)).
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/timers.h"

namespace msentry::kernel {
namespace {

int64_t HostClock(clockid_t clock) {
  timespec ts;
  if (clock_gettime(clock, &ts) != 0) return 0;
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

bool IsHostClock(clockid_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;
  }
}

// The ALARM clocks read as the clocks they are variants of.
clockid_t Plain(clockid_t clock) {
  if (clock == CLOCK_REALTIME_ALARM) return CLOCK_REALTIME;
  if (clock == CLOCK_BOOTTIME_ALARM) return CLOCK_BOOTTIME;
  return clock;
}

// A CPU clock id names a process or thread: ~pid << 3, bit 2 for a thread, then the kind.
constexpr int kCpuClockThread = 4;
constexpr int kCpuClockKinds = 3;  // 0 PROF, 1 VIRT, 2 SCHED; 3 would be an fd

Result<int64_t> CpuClock(Task& task, clockid_t clock) {
  const int kind = clock & 3;
  if (kind >= kCpuClockKinds) return Errno::kEINVAL;
  const int pid = ~(clock >> 3);
  if (clock & kCpuClockThread) {
    RefPtr<Task> target = pid == 0 ? RefPtr<Task>(&task) : task.kernel().FindTask(pid);
    if (!target || &target->group() != &task.group()) return Errno::kEINVAL;
    return kind == 1 ? target->UserNs() : target->UserNs() + target->SystemNs();
  }
  RefPtr<ThreadGroup> group = pid == 0 ? task.group_ref() : task.kernel().FindThreadGroup(pid);
  if (!group) return Errno::kEINVAL;
  if (kind == 1) return group->CpuUsage().user_ns;
  return group->CpuNs();
}

}  // namespace

Result<int64_t> ReadClock(Task& task, clockid_t clock) {
  if (IsHostClock(clock)) return HostClock(Plain(clock));
  if (clock == CLOCK_PROCESS_CPUTIME_ID) return task.group().CpuNs();
  if (clock == CLOCK_THREAD_CPUTIME_ID) return task.UserNs() + task.SystemNs();
  if (clock < 0) return CpuClock(task, clock);
  return Errno::kEINVAL;
}

Result<int64_t> ClockResolution(clockid_t clock) {
  if (clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE) return 4'000'000;
  if (IsHostClock(clock) || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID ||
      (clock < 0 && (clock & 3) < kCpuClockKinds)) {
    return 1;
  }
  return Errno::kEINVAL;
}

Result<int64_t> DeadlineOf(clockid_t clock, int64_t when) {
  if (!IsHostClock(clock)) return Errno::kEINVAL;
  if (when == INT64_MAX) return sched::kNever;
  if (clock == CLOCK_MONOTONIC) return when;
  const int64_t left = when - HostClock(Plain(clock));
  const int64_t now = sched::NowNs();
  return left > INT64_MAX - now ? sched::kNever : now + left;
}

}  // namespace msentry::kernel
