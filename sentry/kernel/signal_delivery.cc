// Delivering signals on the way back to guest code: default actions, group stops, handler frames,
// restart of interrupted calls, rt_sigreturn(2).
#include "sentry/arch/signal_frame.h"
#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"

namespace msentry::kernel {
namespace {

constexpr uint64_t kUnrestartable = ~uint64_t{0};  // orig_rax of a state that is no system call
constexpr uint64_t kSyscallInstructionLength = 2;
constexpr uint64_t kRestartSyscallNumber = 219;
constexpr uint64_t kLeastAltStack = 2048;  // MINSIGSTKSZ, which glibc makes a run-time value

bool Has(const SigAction& action, int flag) {
  return (action.flags & static_cast<uint64_t>(static_cast<unsigned>(flag))) != 0;
}

bool OnAltStack(const abi::SigAltStack& stack, uint64_t sp) {
  if (stack.flags & (SS_DISABLE | abi::kSsAutodisarm)) return false;
  return sp > stack.sp && sp - stack.sp <= stack.size;
}

}  // namespace

// Decides what the program sees of a call that a signal interrupted. `action`: the handler about to
// run; null: none does.
void Task::FinishInterruptedCall(const SigAction* action) {
  if (registers_.orig_rax == kUnrestartable) return;
  bool restart = false;
  uint64_t number = registers_.orig_rax;
  switch (static_cast<Errno>(-static_cast<int64_t>(registers_.rax))) {
    case Errno::kERESTART_RESTARTBLOCK:
      restart = action == nullptr;
      number = kRestartSyscallNumber;
      break;
    case Errno::kERESTARTNOHAND:
      restart = action == nullptr;
      break;
    case Errno::kERESTARTSYS:
      restart = action == nullptr || Has(*action, SA_RESTART);
      break;
    case Errno::kERESTARTNOINTR:
      restart = true;
      break;
    default:
      registers_.orig_rax = kUnrestartable;
      return;
  }
  if (restart) {
    registers_.rax = number;
    registers_.rip -= kSyscallInstructionLength;
  } else {
    registers_.rax = -static_cast<uint64_t>(Errno::kEINTR);
  }
  registers_.orig_rax = kUnrestartable;
}

void Task::DeliverSignals() {
  bool handler_entered = false;
  for (;;) {
    const uint32_t work = work_.load(std::memory_order_seq_cst);
    if (exiting_ || (work & kWorkKill)) return;
    if (work & kWorkStop) {
      ReachGroupStop();
      continue;
    }
    if (work & kWorkTrace) {
      TraceInterruptStop();
      continue;
    }
    SigInfo info;
    {
      MutexLock lock(group_->signal_mutex());
      const SigSet blocked = signal_mask();
      if (!pending_.Take(blocked, &info) && !group_->shared_pending.Take(blocked, &info)) {
        RecalculateLocked();
        break;
      }
    }
    if (info.code == SI_TIMER) {
      info.timer.overrun = group_->timers().TakeOverrun(info.timer.timer_id);
    }
    if (traced()) [[unlikely]] {
      if (TraceSignal(&info) == 0) continue;
      if (signal_mask() & SigBit(info.signo)) {  // the tracer's own choice is blocked: later
        (void)SendSignal(info);
        continue;
      }
    }
    const SigAction action = group_->handlers()->TakeForDelivery(info.signo);
    if (action.handler == 1) continue;
    if (action.handler == 0) {
      if (!ActOnDefault(info)) return;
      continue;
    }
    FinishInterruptedCall(&action);
    if (!EnterSignalHandler(info, action)) {
      // No room for the frame. As Linux: SIGSEGV, and no handler for it if that was the signal.
      if (info.signo == SIGSEGV) group_->handlers()->Set(SIGSEGV, SigAction{});
      ForceSignal(KernelSignal(SIGSEGV));
      continue;
    }
    handler_entered = true;
    // A step into a handler ends at its first instruction.
    if (traced() && TraceStepping()) {
      (void)TraceStop(TraceStopKind::kSignal, SIGTRAP, TraceEvent::kNone, nullptr, 0);
    }
  }
  if (handler_entered) return;
  FinishInterruptedCall(nullptr);
  if (saved_mask_) SetSignalMask(*std::exchange(saved_mask_, std::nullopt));
}

bool Task::ActOnDefault(const SigInfo& info) {
  switch (DefaultActionOf(info.signo)) {
    case DefaultAction::kIgnore:
    case DefaultAction::kContinue:
      return true;
    case DefaultAction::kStop:
      BeginGroupStop(info.signo);
      return true;
    case DefaultAction::kTerminate:
    case DefaultAction::kCore:
      if (LogEnabled(LogLevel::kDebug)) {
        LogDebug("kernel: task %d dies of signal %d code %d address %#llx rip %#llx", tid(),
                 info.signo, info.code, static_cast<unsigned long long>(info.fault.address),
                 static_cast<unsigned long long>(registers_.rip));
      }
      TraceExit(info.signo);
      ExitGroup(info.signo);
      return false;
  }
  return true;
}

void Task::BeginGroupStop(int signo) {
  if (signo != SIGSTOP) {
    // An orphaned process group has nobody to continue it: job control signals do not stop it.
    MutexLock lock(kernel_.tasks_mutex());
    if (kernel_.OrphanedLocked(*group_->process_group, nullptr)) return;
  }
  MutexLock lock(group_->signal_mutex());
  if (group_->exiting) return;
  if (group_->stopped) {
    // Its tracer had let it run in a stopped group.
    if (traced()) work_.fetch_or(kWorkStop, std::memory_order_seq_cst);
    return;
  }
  group_->stopped = true;
  group_->continued = false;
  group_->stop_signal = signo;
  group_->stop_pending = static_cast<int>(group_->tasks.size());
  for (Task* task : group_->tasks) {
    task->stop_reached_ = false;
    task->KickLocked(kWorkStop);
  }
}

void Task::ReachGroupStop() {
  for (;;) {
    bool tell_stopped = false;
    bool tell_continued = false;
    bool done = false;
    int signo = 0;
    {
      MutexLock lock(group_->signal_mutex());
      signo = group_->stop_signal;
      if (group_->exiting || !group_->stopped) {
        done = true;
        stop_reached_ = false;
        work_.fetch_and(~uint32_t{kWorkStop}, std::memory_order_seq_cst);
        tell_continued = std::exchange(group_->continued, false);
      } else if (!stop_reached_) {
        stop_reached_ = true;
        tell_stopped = --group_->stop_pending == 0;
      }
    }
    if (tell_stopped) NotifyParentOfStop(ThreadGroup::JobNotice::kStopped, signo);
    if (tell_continued) NotifyParentOfStop(ThreadGroup::JobNotice::kContinued, SIGCONT);
    if (done) return;
    if (traced()) {
      TraceGroupStop(signo);
      // Let go by its tracer it runs, whatever the others of the group do; without one it stays.
      if (traced() || (work_.load(std::memory_order_seq_cst) & kWorkKill)) {
        work_.fetch_and(~uint32_t{kWorkStop}, std::memory_order_seq_cst);
        return;
      }
      continue;
    }
    BlockKillable();
    if (work_.load(std::memory_order_seq_cst) & kWorkKill) return;
  }
}

void Task::NotifyParentOfStop(ThreadGroup::JobNotice notice, int signo) {
  RefPtr<ThreadGroup> parent;
  {
    MutexLock lock(kernel_.tasks_mutex());
    group_->job_notice = notice;
    group_->job_signal = signo;
    if (group_->parent == nullptr) return;
    parent = RefPtr<ThreadGroup>(group_->parent);
  }
  const SigAction action = parent->handlers()->Get(SIGCHLD);
  if (action.handler != 1 && !Has(action, SA_NOCLDSTOP)) {
    SigInfo info;
    info.signo = SIGCHLD;
    info.code = notice == ThreadGroup::JobNotice::kStopped ? CLD_STOPPED : CLD_CONTINUED;
    info.child.pid = tgid();
    info.child.uid = creds()->uid;
    info.child.status = signo;
    (void)SendGroupSignal(*parent, info);
  }
  parent->child_events.Notify(sched::kIn);
}

bool Task::EnterSignalHandler(const SigInfo& info, const SigAction& action) {
  uint64_t top = registers_.rsp - arch::kRedZone;
  const bool on_alt = OnAltStack(alt_stack, registers_.rsp);
  if (Has(action, SA_ONSTACK) && !(alt_stack.flags & SS_DISABLE) && !on_alt) {
    top = alt_stack.sp + alt_stack.size;
  }
  std::vector<std::byte> fpu;
  if (!thread_->SaveFpu(fpu).ok()) return false;
  const arch::FramePlace place = arch::PlaceFrame(top, fpu.size());
  // A handler that runs out of its alternate stack must not write below it.
  const bool uses_alt = on_alt || top == alt_stack.sp + alt_stack.size;
  if (uses_alt && !(alt_stack.flags & SS_DISABLE) &&
      (place.frame < alt_stack.sp || place.frame > top)) {
    return false;
  }
  if (place.frame > top || !(action.flags & abi::kSaRestorer)) return false;

  arch::SignalFrame frame;
  frame.return_address = action.restorer;
  frame.info = info;
  frame.ucontext.flags = abi::kUcFpXstate | abi::kUcSigcontextSs | abi::kUcStrictRestoreSs;
  frame.ucontext.stack = alt_stack;
  if (on_alt) frame.ucontext.stack.flags |= SS_ONSTACK;
  const bool is_fault = info.code > 0 && (SigBit(info.signo) & kSynchronousSignals) != 0;
  frame.ucontext.mcontext =
      arch::SaveContext(registers_, is_fault ? fault_error_ : 0, is_fault ? fault_trap_ : 0,
                        is_fault ? fault_address_ : 0);
  frame.ucontext.mcontext.fpstate = place.fpstate;
  const SigSet mask = signal_mask();
  frame.ucontext.sigmask = saved_mask_.value_or(mask);
  frame.ucontext.mcontext.oldmask = frame.ucontext.sigmask;

  arch::SealXsave(fpu);
  const mm::GuestMemory guest = memory();
  if (!guest.CopyOutBytes(place.fpstate, fpu).ok()) return false;
  if (!guest.CopyOutBytes(place.frame, std::as_bytes(std::span(&frame, 1))).ok()) return false;

  saved_mask_.reset();
  if (alt_stack.flags & abi::kSsAutodisarm) alt_stack = {0, SS_DISABLE, 0, 0};
  arch::EnterHandler(registers_, place, info.signo, action.handler);
  SigSet blocked = mask | action.mask;
  if (!Has(action, SA_NODEFER)) blocked |= SigBit(info.signo);
  SetSignalMask(blocked);
  return true;
}

bool Task::RestoreFpu(uint64_t address) {
  if (address == 0) return thread_->ResetFpu().ok();
  const size_t own = arch::XsaveSize();
  std::vector<std::byte> area(512);
  const mm::GuestMemory guest = memory();
  if (!guest.CopyInBytes(address, area).ok()) return false;
  size_t size = arch::AnnouncedXsaveSize(area, own);
  if (size > area.size()) {
    area.resize(size + sizeof(uint32_t));
    if (!guest.CopyInBytes(address, area).ok()) return false;
    uint32_t magic2;
    memcpy(&magic2, area.data() + size, sizeof(magic2));
    if (magic2 != abi::kFpXstateMagic2) size = 512;
  }
  if (size <= 512) {
    arch::WidenFxsave(area, own);
  } else {
    area.resize(own);
    std::fill(area.begin() + static_cast<ptrdiff_t>(size), area.end(), std::byte{0});
  }
  return thread_->LoadFpu(area).ok();
}

uint64_t Task::SignalReturn() {
  // The handler's return popped the frame's first word.
  const uint64_t address = registers_.rsp - sizeof(uint64_t);
  abi::Ucontext context;
  const uint64_t at = address + offsetof(arch::SignalFrame, ucontext);
  if (!memory().CopyInBytes(at, std::as_writable_bytes(std::span(&context, 1))).ok() ||
      !RestoreFpu(context.mcontext.fpstate)) {
    registers_.orig_rax = kUnrestartable;
    ForceSignal(KernelSignal(SIGSEGV));
    return registers_.rax;
  }
  arch::RestoreContext(context.mcontext, registers_);
  SetSignalMask(context.sigmask);
  // Errors are ignored, as in Linux: the old stack stays.
  const abi::SigAltStack& stack = context.stack;
  const int32_t mode = stack.flags & ~abi::kSsAutodisarm;
  if (mode & SS_DISABLE) {
    alt_stack = {0, SS_DISABLE, 0, 0};
  } else if ((mode & ~SS_ONSTACK) == 0 && stack.size >= kLeastAltStack) {
    alt_stack = {stack.sp, stack.flags & abi::kSsAutodisarm, 0, stack.size};
  }
  return registers_.rax;
}

Result<int64_t> Task::RunRestartBlock() {
  if (!restart_block_) return Errno::kEINTR;
  RestartBlock block = std::exchange(restart_block_, nullptr);
  return block(*this);
}

}  // namespace msentry::kernel
