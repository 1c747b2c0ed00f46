// Timers of a thread group: setitimer(2), alarm(2), timer_create(2), over wall and CPU clocks.
//
// A timer over a CPU clock is a wall timer for the least time in which that clock can get there
// (all threads running), looked at again when it fires: nothing ticks.
// Own lock, taken before the tasks mutex (CPU clocks are read under it). Callbacks run on a worker
// outside any fiber.
#pragma once

#include <signal.h>
#include <time.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"

namespace msentry::kernel {

class Kernel;
class Task;
class ThreadGroup;

// Nanoseconds; 0 value: disarmed.
struct TimerSetting {
  int64_t value = 0;     // time to the next expiry
  int64_t interval = 0;  // 0: one shot
};

// Where a POSIX timer's expiries go (struct sigevent).
struct TimerNotify {
  int kind = SIGEV_SIGNAL;  // SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID
  int signo = SIGALRM;
  uint64_t value = 0;
  int tid = 0;  // SIGEV_THREAD_ID
};

class ProcessTimers {
 public:
  explicit ProcessTimers(ThreadGroup& group);
  ~ProcessTimers();

  // which: ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF. Returns the old setting.
  TimerSetting SetInterval(int which, const TimerSetting& setting);
  TimerSetting GetInterval(int which);

  // `clock` is any clock that ReadClock() takes for `task`.
  Result<int> Create(Task& task, clockid_t clock, const TimerNotify& notify);
  // The value its siginfo carries (by default the id, known only now).
  void SetValue(int id, uint64_t value);
  Result<TimerSetting> SetTime(int id, bool absolute, const TimerSetting& setting);
  Result<TimerSetting> GetTime(int id);
  Result<int> Overrun(int id);
  Result<> Delete(int id);
  // The signal of timer `id` is being delivered: counts the missed expiries into its siginfo and
  // re-arms a periodic timer. Called with no lock.
  int TakeOverrun(int id);

  // /proc/PID/timers.
  struct Listed {
    int id = 0;
    clockid_t clock = 0;
    TimerNotify notify;
  };
  std::vector<Listed> List();

  void DeleteAll();      // exec, exit: POSIX timers
  void StopIntervals();  // exit
  // RLIMIT_CPU may have changed (prlimit, fork): watches the CPU clock when there is a limit.
  void CheckCpuLimit();

 private:
  struct Timer;
  int64_t Now(const Timer& timer);
  std::unique_ptr<Timer> MakeTimer();
  void Fire(Timer* timer);
  void FireCpuLimit(Timer* timer);
  void SendTimerSignal(Timer* timer, int64_t expiries);
  void Arm(Timer* timer, int64_t now);
  static TimerSetting SettingOf(const Timer& timer, int64_t now);

  ThreadGroup& group_;
  Mutex mutex_;
  std::unique_ptr<Timer> interval_[3] ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Timer> cpu_limit_ ABSL_GUARDED_BY(mutex_);
  std::map<int, std::unique_ptr<Timer>> posix_ ABSL_GUARDED_BY(mutex_);
  int next_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Clocks (clock_gettime(2)) as seen by `task`: the wall clocks are the host's, which is what the
// guest's vDSO shows too; CPU clocks are ours. kEINVAL for an unknown one.
Result<int64_t> ReadClock(Task& task, clockid_t clock);
Result<int64_t> ClockResolution(clockid_t clock);
// A deadline for sched::Park of absolute time `when` of a wall clock.
Result<int64_t> DeadlineOf(clockid_t clock, int64_t when);

}  // namespace msentry::kernel
