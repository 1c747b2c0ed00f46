#include "sentry/kernel/wait.h"

#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"

namespace msentry::kernel {
namespace {

// Constants that glibc hides without _GNU_SOURCE's help.
constexpr int kNoThread = 0x20000000, kAll = 0x40000000;
constexpr unsigned kClone = 0x80000000u;

bool Selected(const Task& task, const ThreadGroup& child, const WaitArgs& args) {
  switch (args.which) {
    case WaitArgs::Which::kAny:
      break;
    case WaitArgs::Which::kPid:
      if (child.tgid() != args.id) return false;
      break;
    case WaitArgs::Which::kGroup:
      if (child.process_group->id != args.id) return false;
      break;
  }
  if ((args.options & kNoThread) && child.parent_task != &task) return false;
  if (args.options & kAll) return true;
  // A "clone" child is one that does not signal its parent with SIGCHLD.
  const bool wants_clone = (static_cast<unsigned>(args.options) & kClone) != 0;
  return wants_clone == (child.exit_signal != SIGCHLD);
}

void Describe(ThreadGroup& child, WaitStatus* out) {
  out->pid = child.tgid();
  out->uid = child.leader->creds()->uid;
}

void DescribeExit(ThreadGroup& child, WaitStatus* out) {
  Describe(child, out);
  int status = 0;
  {
    MutexLock lock(child.signal_mutex());
    status = child.exit_status;
  }
  out->raw_status = status;
  if (WIFEXITED(status)) {
    out->code = CLD_EXITED;
    out->status = WEXITSTATUS(status);
  } else {
    out->code = WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
    out->status = WTERMSIG(status);
  }
  out->usage = child.dead_threads;
  out->usage.Add(child.waited_children);
}

bool SelectedTracee(Task& tracee, const WaitArgs& args) {
  switch (args.which) {
    case WaitArgs::Which::kAny:
      return true;
    case WaitArgs::Which::kPid:
      return tracee.tid() == args.id;
    case WaitArgs::Which::kGroup:
      return tracee.group().process_group->id == args.id;
  }
  return false;
}

// One look at one child: fills in `out` and consumes the event unless WNOWAIT. tasks held.
bool Consume(ThreadGroup& child, int options, WaitStatus* out, bool* reap) {
  const bool keep = (options & WNOWAIT) != 0;
  if ((options & WEXITED) && child.zombie) {
    DescribeExit(child, out);
    *reap = !keep;
    return true;
  }
  if (child.zombie) return false;
  using Notice = ThreadGroup::JobNotice;
  if ((options & WSTOPPED) && child.job_notice == Notice::kStopped) {
    Describe(child, out);
    out->code = CLD_STOPPED;
    out->status = child.job_signal;
    out->raw_status = child.job_signal << 8 | 0x7f;
    if (!keep) child.job_notice = Notice::kNone;
    return true;
  }
  if ((options & WCONTINUED) && child.job_notice == Notice::kContinued) {
    Describe(child, out);
    out->code = CLD_CONTINUED;
    out->status = SIGCONT;
    out->raw_status = 0xffff;
    if (!keep) child.job_notice = Notice::kNone;
    return true;
  }
  return false;
}

}  // namespace

// Tracees of the caller's threads. `*any`: there is one that fits.
bool Kernel::WaitForTracee(Task& task, const WaitArgs& args, WaitStatus* out, bool* any) {
  ThreadGroup& group = task.group();
  TraceeWait wait;
  bool found = false;
  {
    MutexLock lock(tasks_mutex_);
    for (Task* tracer : group.tasks) {
      if (!tracer->trace() || ((args.options & kNoThread) && tracer != &task)) continue;
      for (Task* tracee : tracer->trace()->tracees) {
        if (!SelectedTracee(*tracee, args)) continue;
        *any = true;
        found = ConsumeTraceeLocked(*tracee, group, args.options, out, &wait);
        if (found) break;
        *out = WaitStatus{};
      }
      if (found) break;
    }
  }
  Send(wait.notices);
  return found;
}

Result<WaitStatus> Wait(Task& task, const WaitArgs& args) {
  ThreadGroup& group = task.group();
  Kernel& kernel = task.kernel();
  const auto attempt = [&]() -> Result<WaitStatus> {
    WaitStatus status;
    bool any = false;
    if (kernel.WaitForTracee(task, args, &status, &any)) return status;
    RefPtr<Task> reaped;  // dropped after the lock
    RefPtr<ThreadGroup> reaped_group;
    RefPtr<ProcessGroup> reaped_process_group;
    MutexLock lock(kernel.tasks_mutex());
    for (ThreadGroup* child : group.children) {
      if (!Selected(task, *child, args)) continue;
      any = true;
      // A tracer of ours has been asked above; another process's comes first.
      if (kernel.TracedLocked(*child->leader) &&
          (child->zombie || !kernel.TracedByStrangerLocked(*child->leader))) {
        continue;
      }
      bool reap = false;
      if (!Consume(*child, args.options, &status, &reap)) continue;
      if (reap) {
        reaped_group = RefPtr<ThreadGroup>(child);
        reaped_process_group = child->process_group;
        group.waited_children.Add(status.usage);
        reaped = kernel.ReapLocked(*child);
      }
      return status;
    }
    if (!any) return Errno::kECHILD;
    if (args.options & WNOHANG) return status;
    return Errno::kEAGAIN;
  };
  return task.BlockOn(group.child_events, sched::kIn, sched::kNever, attempt);
}

}  // namespace msentry::kernel
