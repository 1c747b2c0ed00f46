// Signals: actions, masks, sending, waiting (signal(7)).
#include "sentry/abi/time.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_signal.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::SigInfo;
using kernel::SigSet;

constexpr uint64_t kSigSetSize = sizeof(SigSet);
constexpr uint64_t kLeastAltStack = 2048;  // MINSIGSTKSZ

bool MaySend(Task& t, Task& target, int signo) {
  if (&target.group() == &t.group()) return true;
  RefPtr<kernel::ProcessGroup> group;
  {
    MutexLock lock(t.kernel().tasks_mutex());
    group = t.group().process_group;
  }
  return target.MaySignal(*t.creds(), group->session.get(), signo);
}

// rt_sigqueueinfo: a program may not pretend to be the kernel towards others.
Result<SigInfo> CopyInSigInfo(Task& t, uint64_t address, int signo, int target_pid) {
  SigInfo info = TRY(t.memory().CopyIn(GuestPtr<SigInfo>(address)));
  info.signo = signo;
  if ((info.code >= 0 || info.code == SI_TKILL) && target_pid != t.tgid()) return Errno::kEPERM;
  return info;
}

Result<int64_t> SendToThread(Task& t, int tgid, int tid, const SigInfo& info) {
  RefPtr<Task> target = t.kernel().FindTask(tid);
  if (!target || (tgid != 0 && target->tgid() != tgid)) return Errno::kESRCH;
  if (!MaySend(t, *target, info.signo)) return Errno::kEPERM;
  if (info.signo != 0) TRY(target->SendSignal(info));
  return 0;
}

bool ValidOrZero(int signo) { return signo == 0 || kernel::ValidSignal(signo); }

}  // namespace

Result<int64_t> SysRtSigaction(Task& t, const SyscallArgs& a) {
  if (a[3] != kSigSetSize) return Errno::kEINVAL;
  kernel::SigAction action;
  if (a[1] != 0) action = TRY(t.memory().CopyIn(GuestPtr<kernel::SigAction>(a[1])));
  const kernel::SigAction old = TRY(t.SetAction(a.Int(0), a[1] != 0 ? &action : nullptr));
  if (a[2] != 0) TRY(t.memory().CopyOut(GuestPtr<kernel::SigAction>(a[2]), old));
  return 0;
}

Result<int64_t> SysRtSigprocmask(Task& t, const SyscallArgs& a) {
  if (a[3] != kSigSetSize) return Errno::kEINVAL;
  const SigSet old = t.signal_mask();
  if (a[1] != 0) {
    const SigSet set = TRY(t.memory().CopyIn(GuestPtr<SigSet>(a[1])));
    switch (a.Int(0)) {
      case SIG_BLOCK:
        t.SetSignalMask(old | set);
        break;
      case SIG_UNBLOCK:
        t.SetSignalMask(old & ~set);
        break;
      case SIG_SETMASK:
        t.SetSignalMask(set);
        break;
      default:
        return Errno::kEINVAL;
    }
  }
  if (a[2] != 0) TRY(t.memory().CopyOut(GuestPtr<SigSet>(a[2]), old));
  return 0;
}

Result<int64_t> SysRtSigreturn(Task& t, const SyscallArgs&) {
  return static_cast<int64_t>(t.SignalReturn());
}

Result<int64_t> SysPause(Task& t, const SyscallArgs&) {
  while (t.Block() != Task::Wake::kInterrupted) {
  }
  return Errno::kERESTARTNOHAND;
}

Result<int64_t> SysRtSigsuspend(Task& t, const SyscallArgs& a) {
  if (a[1] != kSigSetSize) return Errno::kEINVAL;
  t.SetTemporarySignalMask(TRY(t.memory().CopyIn(GuestPtr<SigSet>(a[0]))));
  while (t.Block() != Task::Wake::kInterrupted) {
  }
  return Errno::kERESTARTNOHAND;
}

Result<int64_t> SysKill(Task& t, const SyscallArgs& a) {
  const int pid = a.Int(0), signo = a.Int(1);
  if (!ValidOrZero(signo)) return Errno::kEINVAL;
  const SigInfo info = kernel::UserSignal(signo, SI_USER, t.tgid(), t.creds()->uid);
  if (pid > 0) {
    RefPtr<Task> target = t.kernel().FindTask(pid);
    if (!target) return Errno::kESRCH;
    if (!MaySend(t, *target, signo)) return Errno::kEPERM;
    if (signo != 0) TRY(Task::SendGroupSignal(target->group(), info));
    return 0;
  }
  if (pid == INT32_MIN) return Errno::kESRCH;
  if (pid == -1) {
    TRY(t.kernel().SignalEveryone(info, &t));
  } else {
    const int pgid = pid == 0 ? static_cast<int>(TRY(t.kernel().GetPgid(t, 0))) : -pid;
    TRY(t.kernel().SignalProcessGroup(pgid, info, &t));
  }
  return 0;
}

Result<int64_t> SysTkill(Task& t, const SyscallArgs& a) {
  if (a.Int(0) <= 0 || !ValidOrZero(a.Int(1))) return Errno::kEINVAL;
  return SendToThread(t, 0, a.Int(0),
                      kernel::UserSignal(a.Int(1), SI_TKILL, t.tgid(), t.creds()->uid));
}

Result<int64_t> SysTgkill(Task& t, const SyscallArgs& a) {
  if (a.Int(0) <= 0 || a.Int(1) <= 0 || !ValidOrZero(a.Int(2))) return Errno::kEINVAL;
  return SendToThread(t, a.Int(0), a.Int(1),
                      kernel::UserSignal(a.Int(2), SI_TKILL, t.tgid(), t.creds()->uid));
}

Result<int64_t> SysRtSigqueueinfo(Task& t, const SyscallArgs& a) {
  const int pid = a.Int(0), signo = a.Int(1);
  const SigInfo info = TRY(CopyInSigInfo(t, a[2], signo, pid));
  if (!ValidOrZero(signo)) return Errno::kEINVAL;
  RefPtr<Task> target = t.kernel().FindTask(pid);
  if (!target) return Errno::kESRCH;
  if (!MaySend(t, *target, signo)) return Errno::kEPERM;
  if (signo != 0) TRY(Task::SendGroupSignal(target->group(), info));
  return 0;
}

Result<int64_t> SysRtTgsigqueueinfo(Task& t, const SyscallArgs& a) {
  if (a.Int(0) <= 0 || a.Int(1) <= 0) return Errno::kEINVAL;
  const SigInfo info = TRY(CopyInSigInfo(t, a[3], a.Int(2), a.Int(0)));
  if (!ValidOrZero(a.Int(2))) return Errno::kEINVAL;
  return SendToThread(t, a.Int(0), a.Int(1), info);
}

Result<int64_t> SysRtSigpending(Task& t, const SyscallArgs& a) {
  if (a[1] > kSigSetSize) return Errno::kEINVAL;
  const SigSet pending = t.PendingSignalSet() & t.signal_mask();
  TRY(t.memory().CopyOutBytes(a[0], std::as_bytes(std::span(&pending, 1)).first(a[1])));
  return 0;
}

Result<int64_t> SysRtSigtimedwait(Task& t, const SyscallArgs& a) {
  if (a[3] != kSigSetSize) return Errno::kEINVAL;
  const SigSet which = TRY(t.memory().CopyIn(GuestPtr<SigSet>(a[0])));
  const int64_t timeout = TRY(CopyInTimeout(t, a[2]));
  const SigInfo info = TRY(t.WaitForSignal(which, DeadlineAfter(timeout)));
  if (a[1] != 0) TRY(t.memory().CopyOut(GuestPtr<SigInfo>(a[1]), info));
  return info.signo;
}

Result<int64_t> SysSigaltstack(Task& t, const SyscallArgs& a) {
  const abi::SigAltStack old = t.alt_stack;
  const uint64_t sp = t.registers().rsp;
  const bool in_use =
      !(old.flags & (SS_DISABLE | abi::kSsAutodisarm)) && sp > old.sp && sp - old.sp <= old.size;
  if (a[0] != 0) {
    const auto next = TRY(t.memory().CopyIn(GuestPtr<abi::SigAltStack>(a[0])));
    if (in_use) return Errno::kEPERM;
    const int32_t mode = next.flags & ~abi::kSsAutodisarm;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) return Errno::kEINVAL;
    if (mode == SS_DISABLE) {
      t.alt_stack = {0, next.flags, 0, 0};
    } else {
      if (next.size < kLeastAltStack) return Errno::kENOMEM;
      t.alt_stack = {next.sp, next.flags & abi::kSsAutodisarm, 0, next.size};
    }
  }
  if (a[1] != 0) {
    abi::SigAltStack shown = old;
    if (in_use) shown.flags |= SS_ONSTACK;
    TRY(t.memory().CopyOut(GuestPtr<abi::SigAltStack>(a[1]), shown));
  }
  return 0;
}

Result<int64_t> SysRestartSyscall(Task& t, const SyscallArgs&) { return t.RunRestartBlock(); }

}  // namespace msentry::syscalls
