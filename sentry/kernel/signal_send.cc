// Sending signals: who may, where they are queued, whom they wake (kill(2), signal(7)).
#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {
namespace {

// How long a stub may take to come back after SIGKILL before its process is killed.
constexpr int64_t kKillGraceNs = 1'000'000'000;
// Queued signals of the whole sandbox, whatever RLIMIT_SIGPENDING says.
constexpr uint64_t kMostQueued = 1 << 18;

}  // namespace

SigSet Task::signal_mask() const {
  MutexLock lock(info_mutex_);  // /proc asks while the task exits
  return thread_ ? thread_->signal_mask() & ~kUnblockableSignals : ~SigSet{0};
}

void Task::SetSignalMask(SigSet mask) {
  MutexLock lock(group_->signal_mutex());
  thread_->set_signal_mask(mask & ~kUnblockableSignals);
  RecalculateLocked();
}

void Task::SetTemporarySignalMask(SigSet mask) {
  if (!saved_mask_) saved_mask_ = signal_mask();
  SetSignalMask(mask);
}

// Sets or clears kWorkSignal by what is pending now. The stub is told of everything pending, so
// that it enters the sentry when it unblocks one of them.
void Task::RecalculateLocked() {
  const SigSet pending = pending_.set() | group_->shared_pending.set();
  if (thread_) thread_->PublishPendingSignals(pending);
  if (pending & ~signal_mask()) {
    work_.fetch_or(kWorkSignal, std::memory_order_seq_cst);
  } else {
    work_.fetch_and(~uint32_t{kWorkSignal}, std::memory_order_seq_cst);
  }
}

void Task::KickLocked(uint32_t bits) {
  work_.fetch_or(bits, std::memory_order_seq_cst);
  if (in_guest_.load(std::memory_order_seq_cst) && thread_) thread_->Interrupt();
  sched::Fiber* fiber = fiber_.load(std::memory_order_relaxed);
  if (fiber != nullptr && (parked_for_.load(std::memory_order_seq_cst) & bits)) {
    sched::Unpark(fiber);
  }
}

void Task::Hold(Held why) {
  MutexLock lock(group_->signal_mutex());
  if (held_.fetch_or(why, std::memory_order_seq_cst) & why) return;
  KickLocked(kWorkHold);
}

void Task::Release(Held why) {
  MutexLock lock(group_->signal_mutex());
  const uint32_t before = held_.fetch_and(~uint32_t{why}, std::memory_order_seq_cst);
  if (before == 0 || (before & ~uint32_t{why}) != 0) return;
  work_.fetch_and(~uint32_t{kWorkHold}, std::memory_order_seq_cst);
  if (sched::Fiber* fiber = fiber_.load(std::memory_order_relaxed)) sched::Unpark(fiber);
}

bool Task::WantsLocked(int signo) const {
  if (exiting_) return false;
  const SigSet bit = SigBit(signo);
  return (signal_mask() & bit) == 0 || (wait_for_ & bit) != 0;
}

void Task::ExitGroupLocked(ThreadGroup& group, int status) {
  if (!group.exiting) {
    group.exiting = true;
    group.exit_status = status;
    group.stopped = false;
  }
  bool in_guest = false;
  for (Task* task : group.tasks) {
    in_guest |= task->in_guest_.load(std::memory_order_seq_cst);
    task->KickLocked(kWorkKill);
  }
  if (!in_guest || group.kill_timer_) return;
  RefPtr<platform::AddressSpace> space;
  for (Task* task : group.tasks) {
    MutexLock lock(task->info_mutex_);
    if (task->mm_) space = RefPtr<platform::AddressSpace>(&task->mm_->address_space());
  }
  if (!space) return;
  group.kill_timer_ =
      std::make_unique<sched::Timer>(group.kernel().scheduler(), [space] { space->Kill(); });
  group.kill_timer_->Arm(sched::NowNs() + kKillGraceNs);
}

void Task::ExitGroup(ThreadGroup& group, int status) {
  MutexLock lock(group.signal_mutex());
  ExitGroupLocked(group, status);
}

// SIGCONT resumes even when it is blocked or ignored.
void Task::ContinueLocked(ThreadGroup& group) {
  if (!group.stopped) return;
  group.stopped = false;
  group.continued = true;
  for (Task* task : group.tasks) {
    task->work_.fetch_and(~uint32_t{kWorkStop}, std::memory_order_seq_cst);
    sched::Fiber* fiber = task->fiber_.load(std::memory_order_relaxed);
    if (task->stop_reached_ && fiber != nullptr) sched::Unpark(fiber);
  }
}

// The caller holds the group's signal mutex, which the annotations cannot follow through RefPtr.
Result<> Task::SendLocked(ThreadGroup& group, Task* only, const SigInfo& info,
                          bool force) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const int signo = info.signo;
  if (group.exiting || group.tasks.empty()) return Ok();
  if (signo == SIGKILL) {
    ExitGroupLocked(group, SIGKILL);
    return Ok();
  }

  // A stop and a continue cancel each other, whatever becomes of the new one.
  if (SigBit(signo) & kStopSignals) {
    group.shared_pending.Remove(SigBit(SIGCONT));
    for (Task* task : group.tasks) task->pending_.Remove(SigBit(SIGCONT));
  } else if (signo == SIGCONT) {
    group.shared_pending.Remove(kStopSignals);
    for (Task* task : group.tasks) task->pending_.Remove(kStopSignals);
    ContinueLocked(group);
  }

  // An ignored signal leaves no trace, except where it is blocked: it may be waited for, or the
  // action may change before it is unblocked.
  Task* first = only != nullptr ? only : group.tasks.front();
  const SigSet bit = SigBit(signo);
  const bool blocked = (first->signal_mask() & bit) != 0 || (first->wait_for_ & bit) != 0;
  if (!force && !blocked && !first->traced() && group.handlers_->Ignored(signo)) return Ok();

  PendingSignals& queue = only != nullptr ? only->pending_ : group.shared_pending;
  bool drop_info = false;
  const uint64_t limit = std::min(group.limits().Soft(RLIMIT_SIGPENDING), kMostQueued);
  if (PendingSignals::TotalQueued() >= limit) {
    if (signo >= 32 && info.code != SI_USER) return Errno::kEAGAIN;
    drop_info = true;
  }
  queue.Add(info, drop_info);

  // Published before anybody's mask is read: see platform.h.
  if (only != nullptr) {
    if (only->thread_) {
      only->thread_->PublishPendingSignals(only->pending_.set() | group.shared_pending.set());
    }
    only->signal_events_.Notify(sched::kIn);
    if (only->WantsLocked(signo)) only->KickLocked(kWorkSignal);
    return Ok();
  }
  for (Task* task : group.tasks) {
    if (task->thread_) {
      task->thread_->PublishPendingSignals(task->pending_.set() | group.shared_pending.set());
    }
    task->signal_events_.Notify(sched::kIn);
  }
  // The main thread first, as Linux does.
  for (Task* task : group.tasks) {
    if (task->WantsLocked(signo)) {
      task->KickLocked(kWorkSignal);
      break;
    }
  }
  return Ok();
}

Result<> Task::SendGroupSignal(ThreadGroup& group, const SigInfo& info) {
  MutexLock lock(group.signal_mutex());
  return SendLocked(group, nullptr, info, false);
}

Result<> Task::SendSignal(const SigInfo& info) {
  MutexLock lock(group_->signal_mutex());
  if (std::find(group_->tasks.begin(), group_->tasks.end(), this) == group_->tasks.end()) {
    return Ok();  // it has exited
  }
  return SendLocked(*group_, this, info, false);
}

void Task::ForceSignal(const SigInfo& info) {
  MutexLock lock(group_->signal_mutex());
  const SigAction action = group_->handlers_->Get(info.signo);
  const SigSet mask = signal_mask();
  const bool blocked = (mask & SigBit(info.signo)) != 0;
  if (blocked || action.handler == 1) {
    // A program that blocks or ignores its own fault cannot go on: it dies of it.
    group_->handlers_->Set(info.signo, SigAction{});
    if (blocked) thread_->set_signal_mask(mask & ~SigBit(info.signo));
  }
  (void)SendLocked(*group_, this, info, true);
  RecalculateLocked();
}

bool Task::MaySignal(const auth::Credentials& sender, const Session* sender_session, int signo) {
  if (sender.HasCap(auth::Cap::kKill)) return true;
  const auth::CredsRef target = creds();
  if (sender.euid == target->suid || sender.euid == target->uid || sender.uid == target->suid ||
      sender.uid == target->uid) {
    return true;
  }
  if (signo != SIGCONT || sender_session == nullptr) return false;
  MutexLock lock(kernel_.tasks_mutex());
  return group_->process_group && group_->session() == sender_session;
}

SigSet Task::PendingSignalSet() {
  MutexLock lock(group_->signal_mutex());
  return pending_.set() | group_->shared_pending.set();
}

SigSet Task::SharedPendingSignalSet() {
  MutexLock lock(group_->signal_mutex());
  return group_->shared_pending.set();
}

Result<SigInfo> Task::TakeSignal(SigSet which) {
  SigInfo info;
  {
    MutexLock lock(group_->signal_mutex());
    const bool taken =
        pending_.TakeOne(which, &info) || group_->shared_pending.TakeOne(which, &info);
    RecalculateLocked();
    if (!taken) return Errno::kEAGAIN;
  }
  if (info.code == SI_TIMER) info.timer.overrun = group_->timers().TakeOverrun(info.timer.timer_id);
  return info;
}

Result<SigInfo> Task::WaitForSignal(SigSet which, int64_t deadline_ns) {
  which &= ~kUnblockableSignals;
  for (;;) {
    {
      MutexLock lock(group_->signal_mutex());
      wait_for_ = which;
    }
    Result<SigInfo> taken = TakeSignal(which);
    Wake wake = Wake::kEvent;
    if (!taken.ok()) wake = Block(deadline_ns);
    {
      MutexLock lock(group_->signal_mutex());
      wait_for_ = 0;
    }
    if (taken.ok()) return taken;
    // A wanted signal also sets kWorkSignal: it is looked for before the interruption counts.
    if (wake != Wake::kEvent) {
      taken = TakeSignal(which);
      if (taken.ok()) return taken;
      return wake == Wake::kTimedOut ? Errno::kEAGAIN : Errno::kEINTR;
    }
  }
}

Result<SigAction> Task::SetAction(int signo, const SigAction* action) {
  if (!ValidSignal(signo)) return Errno::kEINVAL;
  if (action != nullptr && (SigBit(signo) & kUnblockableSignals)) return Errno::kEINVAL;
  const RefPtr<SignalHandlers> handlers = group_->handlers();
  if (action == nullptr) return handlers->Get(signo);
  SigAction clean = *action;
  clean.mask &= ~kUnblockableSignals;
  const SigAction old = handlers->Set(signo, clean);
  if (handlers->Ignored(signo)) {
    // POSIX: what is pending is discarded when it becomes ignored.
    MutexLock lock(group_->signal_mutex());
    group_->shared_pending.Remove(SigBit(signo));
    for (Task* task : group_->tasks) {
      task->pending_.Remove(SigBit(signo));
      task->RecalculateLocked();
    }
  }
  return old;
}

}  // namespace msentry::kernel
