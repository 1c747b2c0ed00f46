// clone(2), fork(2), vfork(2): new tasks.
#include <sched.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"
#include "vfs/file_description.h"

namespace msentry::kernel {
namespace {

constexpr uint64_t kCloneNewTime = 0x80;
constexpr uint64_t kClonePidfd = 0x1000;
constexpr uint64_t kCloneClearSighand = 0x100000000;
constexpr uint64_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                     CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | kCloneNewTime;

Result<> CheckFlags(const Task& task, const CloneArgs& args) {
  const uint64_t f = args.flags;
  if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND)) return Errno::kEINVAL;
  if ((f & CLONE_SIGHAND) && !(f & CLONE_VM)) return Errno::kEINVAL;
  if ((f & kCloneClearSighand) && (f & CLONE_SIGHAND)) return Errno::kEINVAL;
  if ((f & kClonePidfd) && (f & (CLONE_THREAD | CLONE_DETACHED))) return Errno::kEINVAL;
  if ((f & CLONE_NEWNS) && (f & CLONE_FS)) return Errno::kEINVAL;
  if (args.exit_signal != 0 && !ValidSignal(args.exit_signal)) return Errno::kEINVAL;
  if (f & kNamespaceFlags) {
    if ((f & kNamespacesHere) && !task.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
    if (f & kNamespaceFlags & ~kNamespacesHere) return Errno::kEINVAL;  // configured out
  }
  return Ok();
}

}  // namespace

// The child with its memory, files and signal state; not yet known to anybody.
Result<RefPtr<Task>> Task::MakeChild(const CloneArgs& args) {
  const uint64_t f = args.flags;
  RefPtr<FsContext> child_fs = f & CLONE_FS ? fs_ : fs_->Copy();
  NamespacesRef child_namespaces = TRY(NewNamespaces(f, *child_fs));
  RefPtr<mm::MemoryManager> child_mm;
  std::unique_ptr<platform::GuestThread> child_thread;
  if (f & CLONE_VM) {
    child_thread = TRY(thread_->NewThread());
    child_mm = mm_;
  } else {
    mm::MemoryManager::Forked forked = TRY(mm_->Fork(*thread_));
    child_mm = std::move(forked.mm);
    child_thread = std::move(forked.thread);
  }

  RefPtr<ThreadGroup> child_group = group_;
  if (!(f & CLONE_THREAD)) {
    RefPtr<SignalHandlers> handlers = group_->handlers();
    if (!(f & CLONE_SIGHAND)) handlers = handlers->Copy();
    if (f & kCloneClearSighand) handlers->ResetForExec();
    child_group =
        MakeRef<ThreadGroup>(kernel_, std::move(handlers), MakeRef<Limits>(group_->limits()));
    child_group->exit_signal = args.exit_signal;
    child_group->oom_score_adj = group_->oom_score_adj.load();
    child_group->proc.CopyFrom(group_->proc);
  }

  auto child = RefPtr<Task>::Adopt(new Task(kernel_, std::move(child_group)));
  child->mm_ = std::move(child_mm);
  child->thread_ = std::move(child_thread);
  child->fd_table_ = f & CLONE_FILES ? fd_table_ : fd_table_->Copy();
  child->fd_table_->AddUser();
  child->fs_ = std::move(child_fs);
  child->InheritIpc(*this, (f & CLONE_SYSVSEM) != 0);
  {
    MutexLock lock(info_mutex_);
    MutexLock child_lock(child->info_mutex_);
    child->creds_ = creds_;
    child->comm_ = comm_;
    child->namespaces_ = std::move(child_namespaces);
    child->executable_ = executable_;
    child->scheduling_ = scheduling_;
    if (scheduling_.reset_on_fork) {
      child->scheduling_.policy = SCHED_OTHER;
      child->scheduling_.priority = 0;
      child->scheduling_.nice = std::max(0, scheduling_.nice);
      child->scheduling_.reset_on_fork = false;
    }
  }

  child->registers_ = registers_;
  child->registers_.rax = 0;
  child->registers_.orig_rax = ~uint64_t{0};
  if (args.stack != 0) child->registers_.rsp = args.stack;
  if (f & CLONE_SETTLS) child->registers_.fs_base = args.tls;
  // The alternate stack cannot be used by two threads at once; vfork's child may have it, the
  // parent sleeps.
  if (!(f & CLONE_VM) || (f & CLONE_VFORK)) child->alt_stack = alt_stack;
  if (f & CLONE_CHILD_CLEARTID) child->clear_child_tid = args.child_tid;
  child->personality = personality;
  child->timer_slack_ns = timer_slack_ns.load();
  child->thread_->set_signal_mask(signal_mask());
  return child;
}

// Puts the child into the pid table and the family. tasks held.
void Task::LinkChild(const RefPtr<Task>& child, const CloneArgs& args, int tid) {
  ThreadGroup& group = *child->group_;
  child->tid_.store(tid);
  kernel_.pids_.SetTask(tid, child);
  ++kernel_.live_tasks_;
  if (args.flags & CLONE_THREAD) {
    MutexLock lock(group.signal_mutex());
    group.tasks.push_back(child.get());
    group.live_tasks.fetch_add(1);
    // The group may have begun to exit or stop since the caller looked.
    if (group.exiting || group.exec_task != nullptr) child->work_.fetch_or(kWorkKill);
    if (group.stopped) {
      ++group.stop_pending;
      child->work_.fetch_or(kWorkStop);
    }
    return;
  }
  group.tgid_ = tid;
  group.leader = child.get();
  group.tasks.push_back(child.get());
  group.live_tasks.store(1);
  ThreadGroup* parent = group_.get();
  Task* parent_task = this;
  if ((args.flags & CLONE_PARENT) && group_->parent != nullptr) {
    parent = group_->parent;
    parent_task = group_->parent_task;
    group.exit_signal = group_->exit_signal;
  }
  group.parent = parent;
  group.parent_task = parent_task;
  parent->children.push_back(&group);
  kernel_.JoinProcessGroupLocked(group, group_->process_group);
}

Result<int64_t> Task::Clone(const CloneArgs& args) {
  TRY(CheckFlags(*this, args));
  const bool is_thread = (args.flags & CLONE_THREAD) != 0;
  const auth::CredsRef creds = this->creds();
  const bool limited = creds->uid != 0 && !creds->HasCap(auth::Cap::kSysResource) &&
                       !creds->HasCap(auth::Cap::kSysAdmin);
  if (!kernel_.users_.AddProcess(creds->uid,
                                 limited ? group_->limits().Soft(RLIMIT_NPROC) : kUnlimited)) {
    return Errno::kEAGAIN;
  }
  Result<RefPtr<Task>> made = Errno::kEAGAIN;
  if (kernel_.ReserveTask() && kernel_.cgroups_.CanFork(cgroup).ok()) made = MakeChild(args);
  if (!made.ok()) {
    kernel_.users_.RemoveProcess(creds->uid);
    return made.error();
  }
  RefPtr<Task> child = std::move(made).value();
  child->counted_uid_ = creds->uid;

  Result<int> tid = Errno::kEAGAIN;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (!kernel_.shutting_down_ && kernel_.live_tasks_ < kernel_.options_.max_pids &&
        kernel_.cgroups_.Fork(cgroup, &child->cgroup).ok()) {
      tid = kernel_.pids_.Allocate();
      if (tid.ok()) {
        LinkChild(child, args, *tid);
      } else {
        kernel_.cgroups_.Reap(&child->cgroup);
      }
    }
  }
  if (!tid.ok()) {
    kernel_.users_.RemoveProcess(creds->uid);
    if (child->fd_table_->RemoveUser()) child->fd_table_->CloseAll([](auto) {});
    child->LeaveSemUndo();
    return tid.error();
  }
  kernel_.forks.fetch_add(1, std::memory_order_relaxed);
  child->PublishIdentity();
  {
    MutexLock lock(child->group_->signal_mutex());
    child->RecalculateLocked();
  }
  if (!is_thread) child->group_->timers().CheckCpuLimit();

  // A bad address is the program's problem, as in Linux: the child exists already.
  if (args.flags & CLONE_PARENT_SETTID) {
    (void)shared_memory().CopyOut(mm::GuestPtr<int32_t>(args.parent_tid), *tid);
  }
  if (args.flags & CLONE_CHILD_SETTID) {
    (void)child->memory().CopyOut(mm::GuestPtr<int32_t>(args.child_tid), *tid);
  }
  if (args.flags & kClonePidfd) {
    const Result<int> pidfd = InstallFile(MakePidFd(*this, child->group_ref(), 0), true);
    if (pidfd.ok()) (void)memory().CopyOut(mm::GuestPtr<int32_t>(args.pidfd), *pidfd);
  }

  RefPtr<VforkWait> vfork;
  if (args.flags & CLONE_VFORK) {
    vfork = MakeRef<VforkWait>();
    child->vfork_ = vfork;
  }
  // What a tracer is told, and how it asks for it.
  TraceEvent event = TraceEvent::kFork;
  if (args.flags & CLONE_VFORK) {
    event = TraceEvent::kVfork;
  } else if (args.exit_signal != SIGCHLD) {
    event = TraceEvent::kClone;
  }
  const bool report =
      traced() && TraceChild(*child, args.flags, uint32_t{1} << static_cast<int>(event));
  child->Start();
  if (report) TraceReport(event, uint32_t{1} << static_cast<int>(event), *tid);
  if (vfork) {
    sched::Waiter waiter(sched::kIn, [fiber = fiber()](sched::EventMask) { sched::Unpark(fiber); });
    QueueGuard guard(vfork->queue, &waiter);
    while (!vfork->done.load(std::memory_order_acquire)) {
      if (BlockKillable() == Wake::kInterrupted) break;
    }
    TraceReport(TraceEvent::kVforkDone, 1 << static_cast<int>(TraceEvent::kVforkDone), *tid);
  }
  return *tid;
}

}  // namespace msentry::kernel
