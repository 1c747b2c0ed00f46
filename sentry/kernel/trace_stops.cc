// The stops of a tracee, on its own fiber: before signals, around system calls, at events, with its
// group.
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"

namespace msentry::kernel {

// SIGCHLD and a wake-up for the tracer, as a child's stop gives its parent.
void Task::NotifyTracer(int code, int status) {
  RefPtr<ThreadGroup> group;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (!trace_ || trace_->tracer == nullptr) return;
    group = trace_->tracer->group_;
  }
  const SigAction action = group->handlers()->Get(SIGCHLD);
  if (action.handler != 1 && !(action.flags & static_cast<uint64_t>(SA_NOCLDSTOP))) {
    SigInfo info;
    info.signo = SIGCHLD;
    info.code = code;
    info.child.pid = tid();
    info.child.uid = creds()->uid;
    info.child.status = status;
    (void)SendGroupSignal(*group, info);
  }
  group->child_events.Notify(sched::kIn);
}

int Task::TraceStop(TraceStopKind kind, int signo, TraceEvent event, SigInfo* info,
                    uint64_t message) {
  const int code = signo | static_cast<int>(event) << 8;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (!trace_ || trace_->tracer == nullptr) return kind == TraceStopKind::kSignal ? signo : 0;
    if (work_.load(std::memory_order_seq_cst) & kWorkKill) return 0;
    TraceState& t = *trace_;
    t.kind = kind;
    t.stop_code = code;
    t.has_info = kind != TraceStopKind::kGroupStop || event == TraceEvent::kStop;
    if (info != nullptr) {
      t.info = *info;
    } else {
      t.info = SigInfo{};
      t.info.signo = signo & 0x7f;
      t.info.code = code;
      t.info.user.pid = tid();
      t.info.user.uid = creds()->uid;
    }
    t.message = message;
    t.info_replaced = false;
    t.resume_signal = 0;
    t.retrap = t.listening = false;
    t.notice = t.stopped = true;
  }
  NotifyTracer(kind == TraceStopKind::kGroupStop ? CLD_STOPPED : CLD_TRAPPED, signo & 0x7f);
  for (;;) {
    {
      MutexLock lock(kernel_.tasks_mutex());
      if (!trace_->stopped) break;
      if (trace_->listening && !InStoppedGroup()) trace_->retrap = true;
      if ((work_.load(std::memory_order_seq_cst) & kWorkKill) || trace_->retrap) {
        trace_->stopped = trace_->notice = trace_->listening = false;
        trace_->resume_signal = 0;
        break;
      }
    }
    BlockKillable();
  }
  // A tracer that has begun to look at us finishes.
  sched::FiberMutexLock access(trace_->access);
  MutexLock lock(kernel_.tasks_mutex());
  if (info != nullptr && trace_->info_replaced) *info = trace_->info;
  return trace_->resume_signal;
}

// A stop before a signal is acted on. What the tracer makes of it: 0 drops it.
int Task::TraceSignal(SigInfo* info) {
  const int signo = TraceStop(TraceStopKind::kSignal, info->signo, TraceEvent::kNone, info, 0);
  if (signo == 0 || signo == info->signo) return signo;
  int tracer = 0;
  auth::Uid uid = 0;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (trace_->tracer != nullptr) {
      tracer = trace_->tracer->tgid();
      uid = trace_->tracer->creds()->uid;
    }
  }
  *info = UserSignal(signo, SI_USER, tracer, uid);
  return signo;
}

// PTRACE_INTERRUPT, and the first stop of a seized tracee's child.
void Task::TraceInterruptStop() {
  work_.fetch_and(~uint32_t{kWorkTrace}, std::memory_order_seq_cst);
  if (!traced_.load(std::memory_order_seq_cst)) return;
  (void)TraceStop(TraceStopKind::kEvent, SIGTRAP, TraceEvent::kStop, nullptr, 0);
}

void Task::TraceReport(TraceEvent event, uint32_t option, uint64_t message) {
  if (!TraceWants(option)) return;
  (void)TraceStop(TraceStopKind::kEvent, SIGTRAP, event, nullptr, message);
}

// A group stop as a traced task makes it. It comes back when the tracer lets it run, whatever the
// group does.
void Task::TraceGroupStop(int signo) {
  bool seized = false;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (!trace_ || trace_->tracer == nullptr) return;
    seized = trace_->seized;
  }
  (void)TraceStop(TraceStopKind::kGroupStop, signo, seized ? TraceEvent::kStop : TraceEvent::kNone,
                  nullptr, 0);
  bool retrap = false;
  {
    MutexLock lock(kernel_.tasks_mutex());
    retrap = std::exchange(trace_->retrap, false) && trace_->tracer != nullptr;
  }
  if (retrap && !(work_.load(std::memory_order_seq_cst) & kWorkKill)) TraceInterruptStop();
}

// A system call of a traced task: the stop before it, the call, the stop behind it.
void Task::TracedSyscall() {
  using Kind = TraceStopKind;
  const TraceResume how = trace_->resume;
  const bool emulate = how == TraceResume::kSysemu || how == TraceResume::kSysemuStep;
  if (how == TraceResume::kSyscall || emulate) {
    registers_.rax = -static_cast<uint64_t>(Errno::kENOSYS);
    int good = TraceWants(PTRACE_O_TRACESYSGOOD) ? 0x80 : 0;
    int signo = TraceStop(Kind::kSyscallEntry, SIGTRAP | good, TraceEvent::kNone, nullptr, 0);
    if (signo != 0) SendTracersSignal(signo);
  }
  if (exiting_ || (work_.load(std::memory_order_seq_cst) & kWorkKill)) return;
  const bool skip = emulate || static_cast<int32_t>(registers_.orig_rax) == -1;
  if (!skip) kernel_.options_.dispatch(*this, registers_);
  if (exiting_) return;
  // Whoever continued it at the entry decided about the exit.
  if (!trace_) return;
  if (trace_->resume == TraceResume::kSyscall && !emulate) {
    int good = TraceWants(PTRACE_O_TRACESYSGOOD) ? 0x80 : 0;
    int signo = TraceStop(Kind::kSyscallExit, SIGTRAP | good, TraceEvent::kNone, nullptr, 0);
    if (signo != 0) SendTracersSignal(signo);
  } else if (trace_->resume == TraceResume::kStep || trace_->resume == TraceResume::kSysemuStep) {
    SigInfo info = FaultSignal(SIGTRAP, TRAP_BRKPT, registers_.rip);
    ForceSignal(info);
  }
}

// At stops other than those of a signal the tracer's signal is sent to the tracee.
void Task::SendTracersSignal(int signo) {
  if (signo >= 1 && signo <= kMaxSignal) {
    (void)SendSignal(UserSignal(signo, SI_USER, tgid(), creds()->uid));
  }
}

// Before a task that made `child` lets it run: the child is traced too when the tracer wants that.
// True: the event is to be reported, once the child runs.
bool Task::TraceChild(Task& child, uint64_t clone_flags, uint32_t option) {
  if (!traced_.load(std::memory_order_relaxed)) return false;
  bool seized = false, report = false;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (trace_->tracer == nullptr) return false;
    report = !(clone_flags & CLONE_UNTRACED) && (trace_->options & option);
    if (!report && !(clone_flags & CLONE_PTRACE)) return false;
    seized = trace_->seized;
    child.LinkTracerLocked(*trace_->tracer, seized, trace_->options);
  }
  if (seized) {
    MutexLock lock(child.group_->signal_mutex());
    child.work_.fetch_or(kWorkTrace, std::memory_order_seq_cst);
  } else {
    MutexLock lock(child.group_->signal_mutex());
    child.pending_.Add(UserSignal(SIGSTOP, SI_USER, 0, 0));
    child.RecalculateLocked();
  }
  return report;
}

bool Task::TraceStepping() {
  return trace_->resume == TraceResume::kStep || trace_->resume == TraceResume::kSysemuStep;
}

// Without PTRACE_O_TRACEEXEC an attached (not seized) tracee gets a SIGTRAP.
void Task::TraceExec(int old_tid) {
  registers_.orig_rax = SYS_execve;
  if (TraceWants(PTRACE_O_TRACEEXEC)) {
    TraceReport(TraceEvent::kExec, PTRACE_O_TRACEEXEC, static_cast<uint64_t>(old_tid));
    return;
  }
  bool seized = false;
  {
    MutexLock lock(kernel_.tasks_mutex());
    seized = trace_->seized || trace_->tracer == nullptr;
  }
  if (!seized) SendTracersSignal(SIGTRAP);
}

void Task::TraceExit(int status) {
  if (!traced()) return;
  TraceReport(TraceEvent::kExit, PTRACE_O_TRACEEXIT, static_cast<uint64_t>(status));
}

}  // namespace msentry::kernel
