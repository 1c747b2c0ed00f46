#include "sentry/kernel/timers.h"

#include <sys/time.h>

#include "sentry/kernel/kernel.h"

namespace msentry::kernel {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kLeastCpuWait = 1'000'000;  // between two looks at a CPU clock
constexpr int64_t kLeastPeriod = 100'000;     // a faster timer counts expiries instead
constexpr size_t kMaxPosixTimers = 8192;

bool IsCpuClock(clockid_t clock) {
  return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

// `time` + `step`, or never.
int64_t Later(int64_t time, int64_t step) {
  return step > INT64_MAX - time ? INT64_MAX : time + step;
}

// POSIX timers of the whole sandbox.
constexpr int kMostTimers = 65536;
std::atomic<int> timers_made{0};

// ITIMER_VIRTUAL counts user time only.
constexpr clockid_t kUserClock = (~0 << 3) | 1;

}  // namespace

struct ProcessTimers::Timer {
  Timer() { timers_made.fetch_add(1, std::memory_order_relaxed); }
  ~Timer() { timers_made.fetch_sub(1, std::memory_order_relaxed); }
  int id = -1;  // of a POSIX timer
  clockid_t clock = CLOCK_MONOTONIC;
  TimerNotify notify;
  RefPtr<Task> owner;  // POSIX timer of a CLOCK_THREAD_CPUTIME_ID: whose clock
  int64_t next = 0;    // in the clock's time; 0: disarmed
  int64_t interval = 0;
  bool sent = false;   // its signal was queued and not yet taken
  int64_t missed = 0;  // expiries since then
  int last_overrun = 0;
  std::unique_ptr<sched::Timer> wake;
};

ProcessTimers::ProcessTimers(ThreadGroup& group) : group_(group) {}
ProcessTimers::~ProcessTimers() {
  // Callbacks take mutex_: the timers go without it.
  DeleteAll();
  StopIntervals();
}

std::unique_ptr<ProcessTimers::Timer> ProcessTimers::MakeTimer() {
  auto timer = std::make_unique<Timer>();
  Timer* raw = timer.get();
  timer->wake =
      std::make_unique<sched::Timer>(group_.kernel().scheduler(), [this, raw] { Fire(raw); });
  return timer;
}

int64_t ProcessTimers::Now(const Timer& timer) {
  if (timer.clock == kUserClock) return group_.CpuUsage().user_ns;
  if (timer.owner) return ReadClock(*timer.owner, timer.clock).value_or(0);
  if (timer.clock == CLOCK_PROCESS_CPUTIME_ID) return group_.CpuNs();
  timespec ts{};
  clock_gettime(timer.clock, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

void ProcessTimers::Arm(Timer* timer, int64_t now) {
  if (timer->next == 0) return;  // a wake-up that is still armed finds nothing to do
  int64_t wait = std::max<int64_t>(timer->next - now, 0);
  if (IsCpuClock(timer->clock)) {
    const int running = std::max(1, group_.live_tasks.load(std::memory_order_relaxed));
    wait = std::max(wait / running, kLeastCpuWait);
  }
  const int64_t host_now = sched::NowNs();
  timer->wake->Arm(wait > INT64_MAX - host_now ? sched::kNever : host_now + wait);
}

TimerSetting ProcessTimers::SettingOf(const Timer& timer, int64_t now) {
  if (timer.next == 0) return {0, timer.interval};
  return {std::max<int64_t>(timer.next - now, 1), timer.interval};
}

void ProcessTimers::Fire(Timer* timer) {
  int64_t expiries = 0;
  {
    MutexLock lock(mutex_);
    if (timer->next == 0) return;
    const int64_t now = Now(*timer);
    if (now < timer->next) {
      Arm(timer, now);
      return;
    }
    expiries = 1;
    if (timer->interval > 0) {
      expiries += (now - timer->next) / timer->interval;
      // Expiries that fall before the next look are counted then.
      const int64_t step =
          std::max(timer->interval, kLeastPeriod / timer->interval * timer->interval);
      timer->next = Later(timer->next + (expiries - 1) * timer->interval, step);
    } else {
      timer->next = 0;
    }
    Arm(timer, now);
  }
  SendTimerSignal(timer, expiries);
}

// The timer outlives its own callback: the destructor of sched::Timer waits for it.
void ProcessTimers::SendTimerSignal(Timer* timer, int64_t expiries) {
  const TimerNotify notify = timer->notify;
  if (notify.kind == SIGEV_NONE) return;
  if (timer->id < 0) {
    (void)Task::SendGroupSignal(group_, KernelSignal(notify.signo));
    return;
  }
  RefPtr<Task> target;
  if (notify.kind == SIGEV_THREAD_ID) {
    target = group_.kernel().FindTask(notify.tid);
    if (!target || &target->group() != &group_) return;
  }
  SigSet pending = 0;
  if (target) {
    pending = target->PendingSignalSet();
  } else {
    MutexLock lock(group_.signal_mutex());
    pending = group_.shared_pending.set();
  }
  {
    MutexLock lock(mutex_);
    if (timer->sent && (pending & SigBit(notify.signo))) {
      timer->missed += expiries;
      return;
    }
    timer->sent = true;
    timer->missed = expiries - 1;
  }
  SigInfo info;
  info.signo = notify.signo;
  info.code = SI_TIMER;
  info.timer.timer_id = timer->id;
  info.timer.value = notify.value;
  if (target) {
    (void)target->SendSignal(info);
  } else {
    (void)Task::SendGroupSignal(group_, info);
  }
}

int ProcessTimers::TakeOverrun(int id) {
  MutexLock lock(mutex_);
  auto it = posix_.find(id);
  if (it == posix_.end()) return 0;
  Timer& timer = *it->second;
  timer.sent = false;
  timer.last_overrun = static_cast<int>(std::min<int64_t>(timer.missed, INT32_MAX));
  timer.missed = 0;
  return timer.last_overrun;
}

TimerSetting ProcessTimers::SetInterval(int which, const TimerSetting& setting) {
  MutexLock lock(mutex_);
  std::unique_ptr<Timer>& slot = interval_[which];
  if (!slot) {
    if (setting.value == 0) return {};
    slot = MakeTimer();
    switch (which) {
      case ITIMER_REAL:
        slot->clock = CLOCK_MONOTONIC;
        slot->notify.signo = SIGALRM;
        break;
      case ITIMER_VIRTUAL:
        slot->clock = kUserClock;
        slot->notify.signo = SIGVTALRM;
        break;
      default:
        slot->clock = CLOCK_PROCESS_CPUTIME_ID;
        slot->notify.signo = SIGPROF;
        break;
    }
  }
  const int64_t now = Now(*slot);
  const TimerSetting old = SettingOf(*slot, now);
  slot->interval = setting.interval;
  slot->next = setting.value == 0                    ? 0
               : setting.value > INT64_MAX - now - 1 ? INT64_MAX
                                                     : std::max<int64_t>(now, 1) + setting.value;
  Arm(slot.get(), now);
  return old.value == 0 ? TimerSetting{} : old;
}

TimerSetting ProcessTimers::GetInterval(int which) {
  MutexLock lock(mutex_);
  if (!interval_[which] || interval_[which]->next == 0) return {};
  return SettingOf(*interval_[which], Now(*interval_[which]));
}

Result<int> ProcessTimers::Create(Task& task, clockid_t clock, const TimerNotify& notify) {
  TRY(ReadClock(task, clock));
  MutexLock lock(mutex_);
  if (posix_.size() >= kMaxPosixTimers || timers_made.load() >= kMostTimers) {
    return Errno::kEAGAIN;
  }
  std::unique_ptr<Timer> timer = MakeTimer();
  while (posix_.contains(next_id_)) next_id_ = (next_id_ + 1) & INT32_MAX;
  const int id = next_id_;
  next_id_ = (next_id_ + 1) & INT32_MAX;
  timer->id = id;
  timer->clock = clock;
  timer->notify = notify;
  if (IsCpuClock(clock) && clock != CLOCK_PROCESS_CPUTIME_ID) timer->owner = RefPtr<Task>(&task);
  posix_[id] = std::move(timer);
  return id;
}

void ProcessTimers::SetValue(int id, uint64_t value) {
  MutexLock lock(mutex_);
  auto it = posix_.find(id);
  if (it != posix_.end()) it->second->notify.value = value;
}

Result<TimerSetting> ProcessTimers::SetTime(int id, bool absolute, const TimerSetting& setting) {
  MutexLock lock(mutex_);
  auto it = posix_.find(id);
  if (it == posix_.end()) return Errno::kEINVAL;
  Timer& timer = *it->second;
  const int64_t now = Now(timer);
  const TimerSetting old = SettingOf(timer, now);
  timer.interval = setting.interval;
  timer.missed = 0;
  timer.sent = false;
  if (setting.value == 0) {
    timer.next = 0;
  } else if (absolute) {
    timer.next = setting.value;
  } else {
    timer.next = setting.value > INT64_MAX - now ? INT64_MAX : now + setting.value;
  }
  Arm(&timer, now);
  return old;
}

Result<TimerSetting> ProcessTimers::GetTime(int id) {
  MutexLock lock(mutex_);
  auto it = posix_.find(id);
  if (it == posix_.end()) return Errno::kEINVAL;
  return SettingOf(*it->second, Now(*it->second));
}

Result<int> ProcessTimers::Overrun(int id) {
  MutexLock lock(mutex_);
  auto it = posix_.find(id);
  if (it == posix_.end()) return Errno::kEINVAL;
  return it->second->last_overrun;
}

std::vector<ProcessTimers::Listed> ProcessTimers::List() {
  MutexLock lock(mutex_);
  std::vector<Listed> listed;
  for (const auto& [id, timer] : posix_) listed.push_back({id, timer->clock, timer->notify});
  return listed;
}

Result<> ProcessTimers::Delete(int id) {
  std::unique_ptr<Timer> dead;
  {
    MutexLock lock(mutex_);
    auto it = posix_.find(id);
    if (it == posix_.end()) return Errno::kEINVAL;
    dead = std::move(it->second);
    dead->next = 0;
    posix_.erase(it);
  }
  dead.reset();
  MutexLock lock(group_.signal_mutex());
  group_.shared_pending.RemoveTimer(id);
  return Ok();
}

void ProcessTimers::DeleteAll() {
  std::map<int, std::unique_ptr<Timer>> dead;
  {
    MutexLock lock(mutex_);
    dead.swap(posix_);
    for (auto& [id, timer] : dead) timer->next = 0;
  }
}

void ProcessTimers::StopIntervals() {
  std::unique_ptr<Timer> dead[4];
  {
    MutexLock lock(mutex_);
    for (int i = 0; i < 3; ++i) dead[i] = std::move(interval_[i]);
    dead[3] = std::move(cpu_limit_);
    for (auto& timer : dead) {
      if (timer) timer->next = 0;
    }
  }
}

void ProcessTimers::CheckCpuLimit() {
  const Limit limit = group_.limits().Get(RLIMIT_CPU);
  MutexLock lock(mutex_);
  if (!cpu_limit_) {
    if (limit.current == kUnlimited) return;
    cpu_limit_ = std::make_unique<Timer>();
    Timer* raw = cpu_limit_.get();
    cpu_limit_->clock = CLOCK_PROCESS_CPUTIME_ID;
    cpu_limit_->wake = std::make_unique<sched::Timer>(group_.kernel().scheduler(),
                                                      [this, raw] { FireCpuLimit(raw); });
  }
  cpu_limit_->next = limit.current == kUnlimited || limit.current > INT64_MAX / kSecond
                         ? 0
                         : static_cast<int64_t>(limit.current) * kSecond;
  if (limit.current == 0) cpu_limit_->next = kSecond;  // Linux rounds 0 up to a second
  Arm(cpu_limit_.get(), Now(*cpu_limit_));
}

void ProcessTimers::FireCpuLimit(Timer* timer) {
  const Limit limit = group_.limits().Get(RLIMIT_CPU);
  int64_t now = 0;
  {
    MutexLock lock(mutex_);
    if (timer->next == 0) return;
    now = Now(*timer);
    const bool reached = now >= timer->next;
    if (reached) timer->next += kSecond;  // SIGXCPU every second from the soft limit on
    Arm(timer, now);
    if (!reached) return;
  }
  const bool hard =
      limit.maximum != kUnlimited && static_cast<uint64_t>(now / kSecond) >= limit.maximum;
  (void)Task::SendGroupSignal(group_, KernelSignal(hard ? SIGKILL : SIGXCPU));
}

}  // namespace msentry::kernel
