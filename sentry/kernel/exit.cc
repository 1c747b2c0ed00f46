// The end of a task: what it held is let go, its family told (exit(2), wait(2)).
#include <linux/futex.h>
#include <sys/wait.h>

#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"
#include "vfs/file_description.h"

namespace msentry::kernel {

void Task::Exit(int status) {
  exit_status_ = status;
  exiting_ = true;
  work_.fetch_or(kWorkKill, std::memory_order_seq_cst);
}

void Task::ReleaseVfork() {
  RefPtr<VforkWait> vfork = std::exchange(vfork_, nullptr);
  if (!vfork) return;
  vfork->done.store(true, std::memory_order_release);
  vfork->queue.Notify(sched::kIn);
}

// What other tasks of the address space must see before this one lets go of it: robust mutexes and
// the word that pthread_join waits on (which, as in Linux, stays as it is when nobody is left to
// see).
void Task::LeaveMemory() {
  if (robust_list != 0) kernel_.futexes_.ReleaseRobustList(*this, std::exchange(robust_list, 0));
  if (clear_child_tid != 0) {
    const uint64_t address = std::exchange(clear_child_tid, 0);
    const bool seen = mm_->ref_count() > 1;
    if (seen && shared_memory().CopyOut(mm::GuestPtr<int32_t>(address), 0).ok()) {
      (void)kernel_.futexes_.Wake(*this, address, true, 1, FUTEX_BITSET_MATCH_ANY);
      (void)kernel_.futexes_.Wake(*this, address, false, 1, FUTEX_BITSET_MATCH_ANY);
    }
  }
}

// The host forgets a stub process's figures with the process. Memory borrowed from a vfork parent
// is the parent's.
void Task::KeepHostFigures() {
  if (vfork_ != nullptr && mm_->ref_count() > 1) return;
  const mm::HostFigures figures = mm_->Figures();
  group_->gone_minor_faults.fetch_add(static_cast<int64_t>(figures.minor_faults),
                                      std::memory_order_relaxed);
  group_->gone_major_faults.fetch_add(static_cast<int64_t>(figures.major_faults),
                                      std::memory_order_relaxed);
  // Where the host counts pages in batches (Linux since 6.2), only statm is exact.
  const uint64_t resident = std::max(figures.resident, mm_->Resident().resident);
  const int64_t rss_kb = static_cast<int64_t>(resident * arch::kPageSize / 1024);
  if (rss_kb > group_->max_rss_kb.load(std::memory_order_relaxed)) {
    group_->max_rss_kb.store(rss_kb, std::memory_order_relaxed);
  }
}

void Task::DropFiles() {
  if (fd_table_->RemoveUser()) {
    fd_table_->CloseAll([&](RefPtr<vfs::FileDescription> f) { (void)CloseFile(std::move(f)); });
  }
  RefPtr<FdTable> files;
  RefPtr<FsContext> fs;
  NamespacesRef namespaces;
  MutexLock lock(info_mutex_);
  namespaces.swap(namespaces_);
  files.swap(fd_table_);
  fs.swap(fs_);
}

void Task::FinishExit() {
  if (thread_) LeaveMemory();
  if (mm_ && group_->live_tasks.load() == 1) KeepHostFigures();
  LeaveSemUndo();
  DropFiles();

  // The host thread, and with the last one the stub process, ends here.
  {
    std::unique_ptr<platform::GuestThread> thread;
    RefPtr<mm::MemoryManager> memory;
    RefPtr<vfs::FileDescription> executable;
    if (thread_) {
      guest_ns_before_exec_.fetch_add(thread_->cpu_time_ns(), std::memory_order_relaxed);
    }
    {
      MutexLock lock(group_->signal_mutex());
      MutexLock info_lock(info_mutex_);
      thread = std::move(thread_);
      memory.swap(mm_);
      executable.swap(executable_);
    }
    thread.reset();
  }
  ReleaseVfork();
  if (group_->live_tasks.load() == 1) {
    group_->timers().StopIntervals();
    group_->timers().DeleteAll();
  }
  Usage usage = GetUsage();
  if (group_->live_tasks.load() == 1) {
    usage.minor_faults = group_->gone_minor_faults.load(std::memory_order_relaxed);
    usage.major_faults = group_->gone_major_faults.load(std::memory_order_relaxed);
    usage.blocks_out =
        static_cast<int64_t>(group_->io.storage_written.load(std::memory_order_relaxed) / 512);
    usage.max_rss_kb = group_->max_rss_kb.load(std::memory_order_relaxed);
    kernel_.dead_minor_faults.fetch_add(static_cast<uint64_t>(usage.minor_faults));
    kernel_.dead_major_faults.fetch_add(static_cast<uint64_t>(usage.major_faults));
    kernel_.dead_storage_written.fetch_add(group_->io.storage_written.load());
  }
  kernel_.RetireTask(*this, usage);
}

// The rest of the exit: the family. Called last on the fiber.
void Kernel::RetireTask(Task& task, const Usage& usage) {
  ThreadGroup& group = *task.group_;
  dead_user_ns.fetch_add(usage.user_ns, std::memory_order_relaxed);
  dead_system_ns.fetch_add(usage.system_ns, std::memory_order_relaxed);
  users_.RemoveProcess(task.counted_uid_);
  cgroups_.Exit(&task.cgroup, {usage.user_ns, usage.system_ns});

  // Dropped after the lock.
  RefPtr<Task> released;
  std::vector<RefPtr<Task>> reaped, released_tracees;
  std::vector<RefPtr<ThreadGroup>> kept;
  std::vector<Notice> notices;
  bool stopped_now = false;
  bool ended = false;
  {
    MutexLock lock(tasks_mutex_);
    task.exited_ = true;
    group.dead_threads.Add(usage);
    {
      MutexLock signal_lock(group.signal_mutex());
      task.fiber_.store(nullptr);
      std::erase(group.tasks, &task);
      if (group.stopped && !task.stop_reached_ && group.stop_pending > 0 &&
          --group.stop_pending == 0 && !group.tasks.empty()) {
        stopped_now = true;
      }
      if (&task == group.leader && !group.exiting) group.exit_status = task.exit_status_;
    }
    group.live_tasks.fetch_sub(1);
    kept.push_back(RefPtr<ThreadGroup>(&group));
    CollectDeathSignalsLocked(task, &notices);
    ReleaseTraceesLocked(task, &notices, &reaped, &kept, &released_tracees);
    // A traced thread stays until its tracer has waited for it.
    const bool stays = TracedLocked(task);
    if (stays && &task != group.leader) NoticeTracerLocked(task, &notices);
    if (&task != group.leader && !stays) {
      released = pids_.RemoveTask(task.tid());
      cgroups_.Reap(&task.cgroup);
      task.reaped_ = true;
    }
    if (group.tasks.empty()) EndGroupLocked(group, &notices, &reaped, &kept);
    --live_tasks_;
    ended = live_tasks_ == 0;
  }
  group.task_gone.Notify(sched::kIn);
  if (stopped_now) task.NotifyParentOfStop(ThreadGroup::JobNotice::kStopped, group.stop_signal);
  Send(notices);
  if (group.is_zombie.load()) {
    group.exit_event.Notify(sched::kIn);
    if (group.on_end_) group.on_end_(group.exit_status);
  }
  cgroup_control_.RunReleaseAgents();
  if (&group == init_ && group.is_zombie.load()) KillEverybody();
  if (ended) AfterExit();
}

// PR_SET_PDEATHSIG of the children this thread made.
void Kernel::CollectDeathSignalsLocked(Task& task, std::vector<Notice>* notices) {
  ThreadGroup& group = *task.group_;
  for (ThreadGroup* child : group.children) {
    if (child->parent_task != &task) continue;
    if (!group.tasks.empty()) child->parent_task = group.tasks.front();
    if (child->zombie || child->leader == nullptr) continue;
    const int signo = child->leader->parent_death_signal;
    if (signo != 0) {
      notices->push_back({RefPtr<ThreadGroup>(child),
                          UserSignal(signo, SI_USER, group.tgid(), task.creds()->uid), false});
    }
  }
}

SigInfo Kernel::ChildSignalLocked(ThreadGroup& group) {
  SigInfo info;
  info.signo = group.exit_signal;
  int status = 0;
  {
    MutexLock lock(group.signal_mutex());
    status = group.exit_status;
  }
  info.code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
  info.child.pid = group.tgid();
  info.child.uid = group.leader->creds()->uid;
  info.child.status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
  constexpr int64_t kTick = 10'000'000;  // USER_HZ is 100
  info.child.utime = group.dead_threads.user_ns / kTick;
  info.child.stime = group.dead_threads.system_ns / kTick;
  return info;
}

// Tells `group`'s parent that it is a zombie, or reaps it at once when the parent does not care.
void Kernel::NotifyParentLocked(ThreadGroup& group, std::vector<Notice>* notices,
                                std::vector<RefPtr<Task>>* reaped) {
  ThreadGroup* parent = group.parent;
  if (parent == nullptr) return;
  if (TracedByStrangerLocked(*group.leader)) {  // its tracer first
    NoticeTracerLocked(*group.leader, notices);
    return;
  }
  bool ignored = false;
  bool reap = false;
  if (group.exit_signal == SIGCHLD) {
    const SigAction action = parent->handlers()->Get(SIGCHLD);
    ignored = action.handler == 1;
    reap = ignored || (action.flags & static_cast<uint64_t>(SA_NOCLDWAIT)) != 0;
  }
  Notice notice{RefPtr<ThreadGroup>(parent), {}, true};
  if (group.exit_signal != 0 && !ignored) notice.info = ChildSignalLocked(group);
  notices->push_back(std::move(notice));
  if (reap) reaped->push_back(ReapLocked(group));
}

void Kernel::EndGroupLocked(ThreadGroup& group, std::vector<Notice>* notices,
                            std::vector<RefPtr<Task>>* reaped,
                            std::vector<RefPtr<ThreadGroup>>* kept) {
  group.zombie = true;
  group.is_zombie.store(true);
  CheckOrphanedLocked(group, notices);
  LeaveSessionLocked(group, notices);

  // Children go to the nearest ancestor that asked for them, else to init.
  ThreadGroup* heir = init_;
  for (ThreadGroup* p = group.parent; p != nullptr; p = p->parent) {
    if (p->child_subreaper && !p->zombie) {
      heir = p;
      break;
    }
  }
  std::vector<ThreadGroup*> children = std::exchange(group.children, {});
  for (ThreadGroup* child : children) {
    kept->push_back(RefPtr<ThreadGroup>(child));
    child->parent = heir == &group ? nullptr : heir;
    child->parent_task = nullptr;
    if (child->parent == nullptr) {
      // init itself is gone: nobody is left to wait.
      if (child->zombie) reaped->push_back(ReapLocked(*child));
      continue;
    }
    child->parent_task = heir->tasks.empty() ? heir->leader : heir->tasks.front();
    heir->children.push_back(child);
    child->exit_signal = SIGCHLD;
    if (child->zombie) NotifyParentLocked(*child, notices, reaped);
  }

  if (&group == init_) {
    MutexLock lock(group.signal_mutex());
    init_status_.store(group.exit_status);
  }
  if (group.parent == nullptr) {
    if (&group != init_) reaped->push_back(ReapLocked(group));
    return;
  }
  NotifyParentLocked(group, notices, reaped);
}

RefPtr<Task> Kernel::ReapLocked(ThreadGroup& group) {
  CHECK(group.zombie && !group.reaped);
  group.reaped = true;
  if (group.parent != nullptr) std::erase(group.parent->children, &group);
  LeaveProcessGroupLocked(group);
  group.leader->reaped_ = true;
  cgroups_.Reap(&group.leader->cgroup);
  group.leader->UnlinkTracerLocked();
  return pids_.RemoveTask(group.tgid());
}

// Every task of the sandbox dies; init's end does this, and --timeout.
void Kernel::KillEverybody() {
  std::vector<RefPtr<ThreadGroup>> groups;
  {
    MutexLock lock(tasks_mutex_);
    shutting_down_ = true;
    for (const auto& [pid, entry] : pids_.entries()) {
      if (entry.task != nullptr && entry.task->tgid() == pid) {
        groups.push_back(entry.task->group_ref());
      }
    }
  }
  for (const auto& group : groups) Task::ExitGroup(*group, SIGKILL);
}

void Kernel::KillAll(int signo) {
  RefPtr<ThreadGroup> init;
  {
    MutexLock lock(tasks_mutex_);
    if (init_ != nullptr) init = RefPtr<ThreadGroup>(init_);
  }
  if (init) Task::ExitGroup(*init, signo);
  KillEverybody();
}

void Kernel::AfterExit() {
  if (on_end_) {
    on_end_(init_status_.load());
  } else {
    scheduler_.Stop();
  }
}

}  // namespace msentry::kernel
