#include "sentry/kernel/signal.h"

namespace msentry::kernel {
namespace {

std::atomic<uint64_t> total_queued{0};

}  // namespace

DefaultAction DefaultActionOf(int signo) {
  switch (signo) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
      return DefaultAction::kIgnore;
    case SIGCONT:
      return DefaultAction::kContinue;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return DefaultAction::kStop;
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGXCPU:
    case SIGXFSZ:
    case SIGSYS:
      return DefaultAction::kCore;
    default:
      return DefaultAction::kTerminate;
  }
}

SigInfo UserSignal(int signo, int code, int pid, auth::Uid uid) {
  SigInfo info;
  info.signo = signo;
  info.code = code;
  info.user.pid = pid;
  info.user.uid = uid;
  return info;
}

SigInfo KernelSignal(int signo) {
  SigInfo info;
  info.signo = signo;
  info.code = SI_KERNEL;
  return info;
}

SigInfo FaultSignal(int signo, int code, uint64_t address) {
  SigInfo info;
  info.signo = signo;
  info.code = code;
  info.fault.address = address;
  return info;
}

SigAction SignalHandlers::Get(int signo) const {
  MutexLock lock(mutex_);
  return actions_[signo - 1];
}

SigAction SignalHandlers::Set(int signo, const SigAction& action) {
  MutexLock lock(mutex_);
  return std::exchange(actions_[signo - 1], action);
}

SigAction SignalHandlers::TakeForDelivery(int signo) {
  MutexLock lock(mutex_);
  SigAction action = actions_[signo - 1];
  if (action.handler > 1 && (action.flags & static_cast<uint64_t>(SA_RESETHAND))) {
    actions_[signo - 1].handler = 0;
  }
  return action;
}

RefPtr<SignalHandlers> SignalHandlers::Copy() const {
  auto copy = MakeRef<SignalHandlers>();
  MutexLock lock(mutex_);
  MutexLock copy_lock(copy->mutex_);
  std::copy(std::begin(actions_), std::end(actions_), std::begin(copy->actions_));
  return copy;
}

void SignalHandlers::ResetForExec() {
  MutexLock lock(mutex_);
  for (SigAction& action : actions_) {
    const uint64_t handler = action.handler == 1 ? 1 : 0;
    action = SigAction{.handler = handler};
  }
}

bool SignalHandlers::Ignored(int signo) const {
  MutexLock lock(mutex_);
  const uint64_t handler = actions_[signo - 1].handler;
  if (handler == 1) return true;
  return handler == 0 && DefaultActionOf(signo) == DefaultAction::kIgnore;
}

SigSet SignalHandlers::IgnoredSet() const {
  MutexLock lock(mutex_);
  SigSet set = 0;
  for (int i = 1; i <= kMaxSignal; ++i) {
    if (actions_[i - 1].handler == 1) set |= SigBit(i);
  }
  return set;
}

SigSet SignalHandlers::CaughtSet() const {
  MutexLock lock(mutex_);
  SigSet set = 0;
  for (int i = 1; i <= kMaxSignal; ++i) {
    if (actions_[i - 1].handler > 1) set |= SigBit(i);
  }
  return set;
}

PendingSignals::~PendingSignals() {
  total_queued.fetch_sub(queue_.size(), std::memory_order_relaxed);
}

uint64_t PendingSignals::TotalQueued() { return total_queued.load(std::memory_order_relaxed); }

void PendingSignals::Add(const SigInfo& info, bool info_dropped) {
  const SigSet bit = SigBit(info.signo);
  if (info.signo < 32 && (set_ & bit)) return;
  set_ |= bit;
  if (info_dropped) return;
  queue_.push_back(info);
  total_queued.fetch_add(1, std::memory_order_relaxed);
}

bool PendingSignals::Take(SigSet blocked, SigInfo* out) {
  const SigSet ready = set_ & ~blocked;
  if (ready == 0) return false;
  const SigSet first = ready & kSynchronousSignals ? ready & kSynchronousSignals : ready;
  const int signo = __builtin_ctzll(first) + 1;
  auto found = queue_.end();
  bool more = false;
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->signo != signo) continue;
    if (found != queue_.end()) {
      more = true;
      break;
    }
    found = it;
  }
  if (!more) set_ &= ~SigBit(signo);
  if (found == queue_.end()) {
    *out = UserSignal(signo, SI_USER, 0, 0);  // its siginfo was dropped
  } else {
    *out = *found;
    queue_.erase(found);
    total_queued.fetch_sub(1, std::memory_order_relaxed);
  }
  return true;
}

void PendingSignals::Remove(SigSet which) {
  if ((set_ & which) == 0) return;
  set_ &= ~which;
  const size_t removed =
      queue_.remove_if([&](const SigInfo& info) { return (SigBit(info.signo) & which) != 0; });
  total_queued.fetch_sub(removed, std::memory_order_relaxed);
}

void PendingSignals::RemoveTimer(int timer_id) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    if (it->code == SI_TIMER && it->timer.timer_id == timer_id) {
      const int signo = it->signo;
      it = queue_.erase(it);
      total_queued.fetch_sub(1, std::memory_order_relaxed);
      const bool others = std::any_of(queue_.begin(), queue_.end(),
                                      [&](const SigInfo& i) { return i.signo == signo; });
      if (!others) set_ &= ~SigBit(signo);
    } else {
      ++it;
    }
  }
}

}  // namespace msentry::kernel
