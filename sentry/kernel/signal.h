// Signals as values and queues: sets, siginfo, dispositions, pending queues (signal(7)).
//
// Sending is in signal_send.cc (Task::SendSignal and friends), delivery in signal_delivery.cc. The
// queues are guarded by the signal mutex of the thread group they belong to.
#pragma once

#include <cstdint>
#include <list>

#include "sentry/abi/signal.h"
#include "sentry/auth/credentials.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"

namespace msentry::kernel {

using abi::SigAction;
using abi::SigInfo;

// Bit n-1 is signal n.
using SigSet = uint64_t;
inline constexpr int kMaxSignal = 64;
constexpr SigSet SigBit(int signo) { return SigSet{1} << (signo - 1); }
constexpr bool ValidSignal(int signo) { return signo >= 1 && signo <= kMaxSignal; }
inline constexpr SigSet kUnblockableSignals = SigBit(SIGKILL) | SigBit(SIGSTOP);
inline constexpr SigSet kStopSignals =
    SigBit(SIGSTOP) | SigBit(SIGTSTP) | SigBit(SIGTTIN) | SigBit(SIGTTOU);
inline constexpr SigSet kSynchronousSignals = SigBit(SIGSEGV) | SigBit(SIGBUS) | SigBit(SIGILL) |
                                              SigBit(SIGTRAP) | SigBit(SIGFPE) | SigBit(SIGSYS);

enum class DefaultAction : uint8_t { kTerminate, kCore, kIgnore, kStop, kContinue };
DefaultAction DefaultActionOf(int signo);

// siginfo of kill(2) and tgkill(2): code SI_USER or SI_TKILL.
SigInfo UserSignal(int signo, int code, int pid, auth::Uid uid);
// siginfo of a signal the kernel itself sends: SI_KERNEL.
SigInfo KernelSignal(int signo);
// siginfo of a fault at `address`.
SigInfo FaultSignal(int signo, int code, uint64_t address);

// Dispositions of a thread group (shared between groups by CLONE_SIGHAND without CLONE_THREAD).
class SignalHandlers : public RefCounted<SignalHandlers> {
 public:
  SigAction Get(int signo) const;
  // Returns the old one.
  SigAction Set(int signo, const SigAction& action);
  // Back to SIG_DFL when the signal's action has SA_RESETHAND; the action to run is returned.
  SigAction TakeForDelivery(int signo);
  RefPtr<SignalHandlers> Copy() const;
  // execve(2): caught signals go back to the default, ignored ones stay ignored.
  void ResetForExec();
  // Explicitly SIG_IGN, or SIG_DFL with the default "ignore".
  bool Ignored(int signo) const;
  // Signals set to SIG_IGN / to a handler, for /proc/PID/status.
  SigSet IgnoredSet() const;
  SigSet CaughtSet() const;

 private:
  mutable Mutex mutex_;
  SigAction actions_[kMaxSignal] ABSL_GUARDED_BY(mutex_);
};

// A queue of pending signals: at most one of each standard signal, any number of real-time ones.
// Not locked: the owner's signal mutex guards it.
class PendingSignals {
 public:
  ~PendingSignals();
  // Queues `info`; a standard signal that is pending already is dropped. When the queue is full
  // (RLIMIT_SIGPENDING, the caller knows) `info_dropped` makes only the bit pending, as Linux does.
  void Add(const SigInfo& info, bool info_dropped = false);
  // The next signal outside `blocked`, synchronous ones first, then the lowest number. False: none.
  bool Take(SigSet blocked, SigInfo* out);
  bool TakeOne(SigSet wanted, SigInfo* out) { return Take(~wanted, out); }
  void Remove(SigSet which);
  // Removes the queued entry of a deleted POSIX timer.
  void RemoveTimer(int timer_id);
  SigSet set() const { return set_; }
  // In all queues of the sandbox together: what RLIMIT_SIGPENDING bounds.
  static uint64_t TotalQueued();

 private:
  SigSet set_ = 0;
  std::list<SigInfo> queue_;
};

}  // namespace msentry::kernel
