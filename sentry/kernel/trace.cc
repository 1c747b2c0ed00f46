#include "sentry/kernel/trace.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {

TraceState& Task::TraceStateLocked() {
  if (!trace_) trace_ = std::make_unique<TraceState>();
  return *trace_;
}

// Both directions of the relation. tasks held.
void Task::LinkTracerLocked(Task& tracer, bool seized, uint32_t options) {
  TraceState& own = TraceStateLocked();
  own.tracer = &tracer;
  own.seized = seized;
  own.options = options;
  own.resume = TraceResume::kContinue;
  own.listening = own.notice = false;
  tracer.TraceStateLocked().tracees.push_back(this);
  traced_.store(true, std::memory_order_seq_cst);
  PublishShortcuts();
}

void Task::UnlinkTracerLocked() {
  if (!trace_ || trace_->tracer == nullptr) return;
  std::erase(trace_->tracer->trace_->tracees, this);
  trace_->tracer = nullptr;
  trace_->notice = false;
  trace_->options = 0;
  traced_.store(false, std::memory_order_seq_cst);
  PublishShortcuts();
}

// Calls that the stub would answer by itself must be seen by the tracer.
void Task::PublishShortcuts() {
  MutexLock lock(info_mutex_);
  if (thread_) {
    thread_->EnableShortcuts(kernel_.options().shortcuts &&
                             !traced_.load(std::memory_order_seq_cst));
  }
}

int Task::TracerTid() {
  MutexLock lock(kernel_.tasks_mutex());
  return trace_ && trace_->tracer != nullptr ? trace_->tracer->tgid() : 0;
}

bool Task::TraceWants(uint32_t option) {
  if (!traced_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(kernel_.tasks_mutex());
  return trace_->tracer != nullptr && (trace_->options & option) != 0;
}

// Tells a listening tracee that its group goes on, or that it is interrupted. tasks held.
void Task::RetrapLocked() {
  if (!trace_ || !trace_->listening) return;
  trace_->retrap = true;
  sched::Fiber* fiber = fiber_.load(std::memory_order_relaxed);
  if (fiber != nullptr) sched::Unpark(fiber);
}

void Task::WakeFromTraceStopLocked() {
  trace_->stopped = trace_->notice = trace_->listening = false;
  sched::Fiber* fiber = fiber_.load(std::memory_order_relaxed);
  if (fiber != nullptr) sched::Unpark(fiber);
}

void Task::SendTracingStop() {
  MutexLock lock(group_->signal_mutex());
  (void)SendLocked(*group_, this, KernelSignal(SIGSTOP), true);
}

void Task::WakeFromGroupStop() {
  MutexLock lock(group_->signal_mutex());
  sched::Fiber* fiber = fiber_.load(std::memory_order_relaxed);
  if (stop_reached_ && group_->stopped && fiber != nullptr) sched::Unpark(fiber);
}

void Task::KickForTrace() {
  MutexLock lock(group_->signal_mutex());
  KickLocked(kWorkTrace);
}

bool Task::InStoppedGroup() {
  MutexLock lock(group_->signal_mutex());
  return group_->stopped;
}

TraceStopKind Task::trace_stop_kind() {
  MutexLock lock(kernel_.tasks_mutex());
  return trace_->kind;
}

uint64_t Task::trace_message() {
  MutexLock lock(kernel_.tasks_mutex());
  return trace_->message;
}

Result<SigInfo> Task::TraceSigInfo() {
  MutexLock lock(kernel_.tasks_mutex());
  if (!trace_->has_info) return Errno::kEINVAL;
  return trace_->info;
}

Result<> Task::SetTraceSigInfo(const SigInfo& info) {
  MutexLock lock(kernel_.tasks_mutex());
  if (!trace_->has_info) return Errno::kEINVAL;
  trace_->info = info;
  trace_->info_replaced = true;
  return Ok();
}

void Task::SetTraceOptions(uint32_t options) {
  MutexLock lock(kernel_.tasks_mutex());
  trace_->options = options;
}

// ---- What tracers do ----

Result<RefPtr<Task>> FindTracee(Task& tracer, int pid, bool must_be_stopped) {
  Kernel& kernel = tracer.kernel();
  MutexLock lock(kernel.tasks_mutex());
  RefPtr<Task> task(kernel.pids().FindTask(pid));
  if (!task || !task->trace() || task->trace()->tracer != &tracer) return Errno::kESRCH;
  if (must_be_stopped && (!task->trace()->stopped || task->trace()->listening)) {
    return Errno::kESRCH;
  }
  return task;
}

Result<> TraceMe(Task& task) {
  MutexLock lock(task.kernel().tasks_mutex());
  if (task.trace() && task.trace()->tracer != nullptr) return Errno::kEPERM;
  ThreadGroup* parent = task.group().parent;
  if (parent == nullptr || parent->zombie) return Errno::kEPERM;
  Task* tracer = task.group().parent_task;
  const auto& live = parent->tasks;
  if (std::find(live.begin(), live.end(), tracer) == live.end()) {
    if (live.empty()) return Errno::kEPERM;
    tracer = live.front();
  }
  task.LinkTracerLocked(*tracer, false, 0);
  return Ok();
}

bool TracerMayFollow(Task& task) {
  if (!task.traced()) return true;
  MutexLock lock(task.kernel().tasks_mutex());
  Task* tracer = task.trace()->tracer;
  return tracer == nullptr || tracer->HasCap(auth::Cap::kSysPtrace);
}

Result<> TraceAttach(Task& tracer, Task& target, bool seize, uint32_t options) {
  Kernel& kernel = tracer.kernel();
  if (&target.group() == &tracer.group()) return Errno::kEPERM;
  {
    MutexLock lock(kernel.tasks_mutex());
    const auto& live = target.group().tasks;
    if (std::find(live.begin(), live.end(), &target) == live.end()) return Errno::kEPERM;
    if (target.trace() && target.trace()->tracer != nullptr) return Errno::kEPERM;
    target.LinkTracerLocked(tracer, seize, options);
  }
  if (!seize) (void)target.SendTracingStop();
  // One that is in a group stop already stops again as a tracee.
  target.WakeFromGroupStop();
  return Ok();
}

void TraceResumeTask(Task& tracee, TraceResume how, int signo) {
  MutexLock lock(tracee.kernel().tasks_mutex());
  TraceState& t = *tracee.trace();
  if (!t.stopped) return;
  t.resume = how;
  t.resume_signal = signo;
  tracee.WakeFromTraceStopLocked();
}

void TraceDetach(Task& tracee, int signo) {
  MutexLock lock(tracee.kernel().tasks_mutex());
  TraceState& t = *tracee.trace();
  t.resume = TraceResume::kContinue;
  t.resume_signal = signo;
  tracee.UnlinkTracerLocked();
  if (t.stopped) tracee.WakeFromTraceStopLocked();
}

Result<> TraceInterrupt(Task& tracee) {
  {
    MutexLock lock(tracee.kernel().tasks_mutex());
    TraceState& t = *tracee.trace();
    if (!t.seized) return Errno::kEIO;
    if (t.listening) {
      tracee.RetrapLocked();
      return Ok();
    }
  }
  tracee.KickForTrace();
  return Ok();
}

Result<> TraceListen(Task& tracee) {
  MutexLock lock(tracee.kernel().tasks_mutex());
  TraceState& t = *tracee.trace();
  if (!t.seized || !t.stopped || t.stop_code >> 8 != static_cast<int>(TraceEvent::kStop)) {
    return Errno::kEIO;
  }
  t.listening = true;
  // The group may have gone on since.
  if (!tracee.InStoppedGroup()) tracee.RetrapLocked();
  return Ok();
}

}  // namespace msentry::kernel
