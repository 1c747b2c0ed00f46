// Clocks, sleeping, timers.
#include <sys/time.h>
#include <time.h>

#include "sentry/abi/time.h"
#include "sentry/abi/ucontext.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/timers.h"
#include "sentry/syscalls/calls_time.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::TimerSetting;

constexpr int64_t kTickNs = 10'000'000;  // USER_HZ is 100
constexpr int64_t kUsec = 1000;

bool IsValid(const abi::Timeval& tv) { return tv.sec >= 0 && tv.usec >= 0 && tv.usec < 1'000'000; }
int64_t ToNs(const abi::Timeval& tv) { return abi::ToNs({tv.sec, tv.usec * kUsec}); }
// Rounded up: a running timer never shows 0.
abi::Timeval ToTimevalUp(int64_t ns) {
  return abi::ToTimeval(ns > INT64_MAX - (kUsec - 1) ? ns : ns + kUsec - 1);
}

abi::Itimerval ToAbi(const TimerSetting& s) {
  return {abi::ToTimeval(s.interval), ToTimevalUp(s.value)};
}
abi::Itimerspec ToSpec(const TimerSetting& s) {
  return {abi::ToTimespec(s.interval), abi::ToTimespec(s.value)};
}

// Sleeps to `deadline`; `remaining_at` (0: nowhere) gets what is left when a signal ends it.
Result<int64_t> SleepUntil(Task& t, int64_t deadline, uint64_t remaining_at) {
  for (;;) {
    const Task::Wake wake = t.Block(deadline);
    if (wake == Task::Wake::kTimedOut) return 0;
    if (wake == Task::Wake::kEvent) {
      if (deadline != sched::kNever && sched::NowNs() >= deadline) return 0;
      continue;
    }
    const int64_t left = deadline == sched::kNever ? sched::kNever : deadline - sched::NowNs();
    if (left <= 0) return 0;
    if (remaining_at != 0) {
      TRY(t.memory().CopyOut(GuestPtr<abi::Timespec>(remaining_at), abi::ToTimespec(left)));
    }
    t.SetRestartBlock([=](Task& again) { return SleepUntil(again, deadline, remaining_at); });
    return Errno::kERESTART_RESTARTBLOCK;
  }
}

// A sleep on a CPU clock (the process's own, while other threads run): looked at in steps.
Result<int64_t> SleepOnCpuClock(Task& t, clockid_t clock, bool absolute, int64_t ns) {
  const int64_t now = TRY(kernel::ReadClock(t, clock));
  const int64_t until = absolute ? ns : (ns > INT64_MAX - now ? INT64_MAX : now + ns);
  constexpr int64_t kLeastStep = 1'000'000;
  for (;;) {
    const int64_t left = until - TRY(kernel::ReadClock(t, clock));
    if (left <= 0) return 0;
    const int running = std::max(1, t.group().live_tasks.load());
    const int64_t step = std::max(left / running, kLeastStep);
    if (t.Block(DeadlineAfter(step)) == Task::Wake::kInterrupted) return Errno::kERESTARTNOHAND;
  }
}

Result<TimerSetting> CopyInItimerspec(Task& t, uint64_t address) {
  const auto spec = TRY(t.memory().CopyIn(GuestPtr<abi::Itimerspec>(address)));
  if (!abi::IsValid(spec.value) || !abi::IsValid(spec.interval)) return Errno::kEINVAL;
  return TimerSetting{abi::ToNs(spec.value), abi::ToNs(spec.interval)};
}

}  // namespace

Result<int64_t> SysNanosleep(Task& t, const SyscallArgs& a) {
  const auto ts = TRY(t.memory().CopyIn(GuestPtr<abi::Timespec>(a[0])));
  if (!abi::IsValid(ts)) return Errno::kEINVAL;
  return SleepUntil(t, DeadlineAfter(abi::ToNs(ts)), a[1]);
}

Result<int64_t> SysClockNanosleep(Task& t, const SyscallArgs& a) {
  const clockid_t clock = a.Int(0);
  const bool absolute = (a.Int(1) & TIMER_ABSTIME) != 0;
  TRY(kernel::ClockResolution(clock));
  if (clock == CLOCK_THREAD_CPUTIME_ID) return Errno::kEINVAL;
  if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
      clock == CLOCK_MONOTONIC_COARSE) {
    return Errno::kEOPNOTSUPP;
  }
  const auto ts = TRY(t.memory().CopyIn(GuestPtr<abi::Timespec>(a[2])));
  if (!abi::IsValid(ts)) return Errno::kEINVAL;
  const int64_t ns = abi::ToNs(ts);
  if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID) {
    return SleepOnCpuClock(t, clock, absolute, ns);
  }
  if (!absolute) return SleepUntil(t, DeadlineAfter(ns), a[3]);
  for (;;) {
    // CLOCK_REALTIME may be set meanwhile: looked at again when the time seems to have come.
    const int64_t deadline = TRY(kernel::DeadlineOf(clock, ns));
    switch (t.Block(deadline)) {
      case Task::Wake::kInterrupted:
        return Errno::kERESTARTNOHAND;
      case Task::Wake::kTimedOut:
      case Task::Wake::kEvent:
        if (TRY(kernel::ReadClock(t, clock)) >= ns) return 0;
    }
  }
}

Result<int64_t> SysGetitimer(Task& t, const SyscallArgs& a) {
  if (a.Uint(0) > ITIMER_PROF) return Errno::kEINVAL;
  const auto setting = ToAbi(t.group().timers().GetInterval(a.Int(0)));
  TRY(t.memory().CopyOut(GuestPtr<abi::Itimerval>(a[1]), setting));
  return 0;
}

Result<int64_t> SysSetitimer(Task& t, const SyscallArgs& a) {
  abi::Itimerval value{};
  if (a[1] != 0) value = TRY(t.memory().CopyIn(GuestPtr<abi::Itimerval>(a[1])));
  if (!IsValid(value.value) || !IsValid(value.interval)) return Errno::kEINVAL;
  if (a.Uint(0) > ITIMER_PROF) return Errno::kEINVAL;
  const TimerSetting old =
      t.group().timers().SetInterval(a.Int(0), {ToNs(value.value), ToNs(value.interval)});
  if (a[2] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Itimerval>(a[2]), ToAbi(old)));
  return 0;
}

Result<int64_t> SysAlarm(Task& t, const SyscallArgs& a) {
  const TimerSetting old =
      t.group().timers().SetInterval(ITIMER_REAL, {a.Uint(0) * abi::kNsPerSec, 0});
  // Rounded to the nearest second, but never to 0 while one was set.
  const int64_t seconds = (old.value + abi::kNsPerSec / 2) / abi::kNsPerSec;
  return old.value > 0 ? std::max<int64_t>(seconds, 1) : 0;
}

Result<int64_t> SysGettimeofday(Task& t, const SyscallArgs& a) {
  if (a[0] != 0) {
    const int64_t now = TRY(kernel::ReadClock(t, CLOCK_REALTIME));
    TRY(t.memory().CopyOut(GuestPtr<abi::Timeval>(a[0]), abi::ToTimeval(now)));
  }
  if (a[1] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Timezone>(a[1]), abi::Timezone{}));
  return 0;
}

Result<int64_t> SysTime(Task& t, const SyscallArgs& a) {
  const int64_t seconds = TRY(kernel::ReadClock(t, CLOCK_REALTIME)) / abi::kNsPerSec;
  if (a[0] != 0) TRY(t.memory().CopyOut(GuestPtr<int64_t>(a[0]), seconds));
  return seconds;
}

Result<int64_t> SysTimes(Task& t, const SyscallArgs& a) {
  if (a[0] != 0) {
    const kernel::Usage own = t.group().CpuUsage();
    kernel::Usage children;
    {
      MutexLock lock(t.kernel().tasks_mutex());
      children = t.group().waited_children;
    }
    const abi::Tms tms{own.user_ns / kTickNs, own.system_ns / kTickNs, children.user_ns / kTickNs,
                       children.system_ns / kTickNs};
    TRY(t.memory().CopyOut(GuestPtr<abi::Tms>(a[0]), tms));
  }
  return TRY(kernel::ReadClock(t, CLOCK_MONOTONIC)) / kTickNs;
}

Result<int64_t> SysClockGettime(Task& t, const SyscallArgs& a) {
  const int64_t now = TRY(kernel::ReadClock(t, a.Int(0)));
  TRY(t.memory().CopyOut(GuestPtr<abi::Timespec>(a[1]), abi::ToTimespec(now)));
  return 0;
}

Result<int64_t> SysClockGetres(Task& t, const SyscallArgs& a) {
  const int64_t resolution = TRY(kernel::ClockResolution(a.Int(0)));
  if (a[1] != 0) {
    TRY(t.memory().CopyOut(GuestPtr<abi::Timespec>(a[1]), abi::ToTimespec(resolution)));
  }
  return 0;
}

// The clock is the host's: nobody in the sandbox may set it, whatever capabilities it has there.
Result<int64_t> SysClockSettime(Task& t, const SyscallArgs& a) {
  TRY(kernel::ClockResolution(a.Int(0)));
  const auto ts = TRY(t.memory().CopyIn(GuestPtr<abi::Timespec>(a[1])));
  if (a.Int(0) != CLOCK_REALTIME || !abi::IsValid(ts)) return Errno::kEINVAL;
  return Errno::kEPERM;
}

Result<int64_t> SysSettimeofday(Task& t, const SyscallArgs& a) {
  if (a[0] != 0) {
    const auto tv = TRY(t.memory().CopyIn(GuestPtr<abi::Timeval>(a[0])));
    if (!IsValid(tv)) return Errno::kEINVAL;
  }
  return Errno::kEPERM;
}

// ---- POSIX timers ----

Result<int64_t> SysTimerCreate(Task& t, const SyscallArgs& a) {
  kernel::TimerNotify notify;
  bool default_value = true;
  if (a[1] != 0) {
    const auto event = TRY(t.memory().CopyIn(GuestPtr<abi::SigEvent>(a[1])));
    if ((event.notify & ~SIGEV_THREAD_ID) != SIGEV_SIGNAL && event.notify != SIGEV_NONE) {
      return Errno::kEINVAL;
    }
    notify.kind = event.notify;
    notify.signo = event.signo;
    notify.value = event.value;
    default_value = false;
    if (notify.kind != SIGEV_NONE && !kernel::ValidSignal(notify.signo)) return Errno::kEINVAL;
    if (notify.kind & SIGEV_THREAD_ID) {
      notify.kind = SIGEV_THREAD_ID;
      notify.tid = event.tid;
      RefPtr<Task> target = t.kernel().FindTask(notify.tid);
      if (!target || &target->group() != &t.group()) return Errno::kEINVAL;
    }
  }
  const int id = TRY(t.group().timers().Create(t, a.Int(0), notify));
  if (default_value) t.group().timers().SetValue(id, static_cast<uint64_t>(id));
  const Result<> copied = t.memory().CopyOut(GuestPtr<int32_t>(a[2]), id);
  if (!copied.ok()) {
    (void)t.group().timers().Delete(id);
    return copied.error();
  }
  return 0;
}

Result<int64_t> SysTimerSettime(Task& t, const SyscallArgs& a) {
  const TimerSetting setting = TRY(CopyInItimerspec(t, a[2]));
  const TimerSetting old =
      TRY(t.group().timers().SetTime(a.Int(0), (a.Int(1) & TIMER_ABSTIME) != 0, setting));
  if (a[3] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Itimerspec>(a[3]), ToSpec(old)));
  return 0;
}

Result<int64_t> SysTimerGettime(Task& t, const SyscallArgs& a) {
  const TimerSetting setting = TRY(t.group().timers().GetTime(a.Int(0)));
  TRY(t.memory().CopyOut(GuestPtr<abi::Itimerspec>(a[1]), ToSpec(setting)));
  return 0;
}

Result<int64_t> SysTimerGetoverrun(Task& t, const SyscallArgs& a) {
  return TRY(t.group().timers().Overrun(a.Int(0)));
}

Result<int64_t> SysTimerDelete(Task& t, const SyscallArgs& a) {
  TRY(t.group().timers().Delete(a.Int(0)));
  return 0;
}

}  // namespace msentry::syscalls
