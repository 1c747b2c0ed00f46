// ptrace(2) and the end of tasks: tracees that end, tracers that end, and wait(2) for tracees.
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"
#include "sentry/kernel/wait.h"

namespace msentry::kernel {
namespace {

// wait(2)'s code and status of an end.
void DescribeEnd(int status, int32_t* code, int32_t* value) {
  if (WIFEXITED(status)) {
    *code = CLD_EXITED;
    *value = WEXITSTATUS(status);
  } else {
    *code = CLD_KILLED;
    *value = WTERMSIG(status);
  }
}

}  // namespace

bool Kernel::TracedLocked(const Task& task) const {
  return task.trace_ && task.trace_->tracer != nullptr;
}

bool Kernel::TracedByStrangerLocked(const Task& task) const {
  return TracedLocked(task) && &task.trace_->tracer->group() != task.group_->parent;
}

int Kernel::EndStatusLocked(Task& task) {
  MutexLock lock(task.group_->signal_mutex());
  const bool whole = task.group_->exiting || &task == task.group_->leader;
  return whole ? task.group_->exit_status : task.exit_status_;
}

void Kernel::NoticeTracerLocked(Task& task, std::vector<Notice>* notices) {
  ThreadGroup& tracer = task.trace_->tracer->group();
  Notice notice{RefPtr<ThreadGroup>(&tracer), {}, true};
  if (tracer.handlers()->Get(SIGCHLD).handler != 1) {
    notice.info.signo = SIGCHLD;
    notice.info.child.pid = task.tid();
    notice.info.child.uid = task.creds()->uid;
    DescribeEnd(EndStatusLocked(task), &notice.info.code, &notice.info.child.status);
  }
  notices->push_back(std::move(notice));
}

RefPtr<Task> Kernel::ReleaseTraceeLocked(Task& tracee, std::vector<Notice>* notices,
                                         std::vector<RefPtr<Task>>* reaped) {
  ThreadGroup& group = *tracee.group_;
  tracee.UnlinkTracerLocked();
  if (&tracee != group.leader) {
    cgroups_.Reap(&tracee.cgroup);
    tracee.reaped_ = true;
    return pids_.RemoveTask(tracee.tid());
  }
  // Now its parent may have it.
  if (group.zombie && !group.reaped) {
    if (group.parent != nullptr) {
      NotifyParentLocked(group, notices, reaped);
    } else if (&group != init_) {
      return ReapLocked(group);
    }
  }
  return nullptr;
}

void Kernel::ReleaseTraceesLocked(Task& tracer, std::vector<Notice>* notices,
                                  std::vector<RefPtr<Task>>* reaped,
                                  std::vector<RefPtr<ThreadGroup>>* kept,
                                  std::vector<RefPtr<Task>>* released) {
  if (!tracer.trace_) return;
  const std::vector<Task*> tracees = tracer.trace_->tracees;
  for (Task* tracee : tracees) {
    kept->push_back(tracee->group_ref());
    if (tracee->exited_) {
      released->push_back(ReleaseTraceeLocked(*tracee, notices, reaped));
      continue;
    }
    const bool kill = (tracee->trace_->options & PTRACE_O_EXITKILL) != 0;
    tracee->trace_->resume = TraceResume::kContinue;
    tracee->trace_->resume_signal = 0;
    tracee->UnlinkTracerLocked();
    if (tracee->trace_->stopped) tracee->WakeFromTraceStopLocked();
    if (kill) Task::ExitGroup(tracee->group(), SIGKILL);
  }
}

bool Kernel::ConsumeTraceeLocked(Task& tracee, ThreadGroup& waiter, int options, WaitStatus* out,
                                 TraceeWait* wait) {
  ThreadGroup& group = *tracee.group_;
  const bool keep = (options & WNOWAIT) != 0;
  out->pid = tracee.tid();
  out->uid = tracee.creds()->uid;
  if (!tracee.exited_) {
    TraceState& t = *tracee.trace_;
    if (!t.stopped || !t.notice) return false;
    out->code = CLD_TRAPPED;
    out->status = t.stop_code;
    out->raw_status = t.stop_code << 8 | 0x7f;
    if (!keep) t.notice = false;
    return true;
  }
  // A leader's end is that of its process.
  const bool leader = &tracee == group.leader;
  if (!(options & WEXITED) || (leader && !group.zombie)) return false;
  out->raw_status = EndStatusLocked(tracee);
  DescribeEnd(out->raw_status, &out->code, &out->status);
  if (leader) {
    out->usage = group.dead_threads;
    out->usage.Add(group.waited_children);
  }
  if (keep) return true;
  wait->group = tracee.group_ref();
  wait->process_group = group.process_group;
  if (leader && group.parent == &waiter) {
    waiter.waited_children.Add(out->usage);
    wait->released = ReapLocked(group);
  } else {
    wait->released = ReleaseTraceeLocked(tracee, &wait->notices, &wait->reaped);
  }
  return true;
}

}  // namespace msentry::kernel
