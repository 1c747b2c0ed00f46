// Process groups and sessions: membership, orphans, setsid(2), setpgid(2) and their queries.
#include "sentry/kernel/kernel.h"

namespace msentry::kernel {

void Kernel::JoinProcessGroupLocked(ThreadGroup& group, RefPtr<ProcessGroup> to) {
  if (to->members.empty()) {
    pids_.SetGroup(to->id, to.get());
    if (to->session->groups++ == 0) pids_.SetSession(to->session->id, to->session.get());
  }
  to->members.push_back(&group);
  group.process_group.swap(to);
}

void Kernel::LeaveProcessGroupLocked(ThreadGroup& group) {
  ProcessGroup& from = *group.process_group;
  std::erase(from.members, &group);
  if (!from.members.empty()) return;
  pids_.SetGroup(from.id, nullptr);
  if (--from.session->groups == 0) pids_.SetSession(from.session->id, nullptr);
}

bool Kernel::OrphanedLocked(const ProcessGroup& group, const ThreadGroup* ignoring) {
  for (const ThreadGroup* member : group.members) {
    const ThreadGroup* parent = member->parent;
    if (member == ignoring || member->zombie || parent == nullptr) continue;
    // init of a container may well be a shell with job control: it counts as a parent here when it
    // shares the session.
    if (parent->process_group.get() != &group && parent->session() == group.session.get()) {
      return false;
    }
  }
  return true;
}

void Kernel::NoticeGroupLocked(const ProcessGroup& group, int signo, std::vector<Notice>* notices) {
  for (ThreadGroup* member : group.members) {
    notices->push_back({RefPtr<ThreadGroup>(member), KernelSignal(signo), false});
  }
}

// `relative` is the parent (or child) whose end may orphan `member`'s group.
void Kernel::HangUpIfOrphanedLocked(ThreadGroup& member, const ThreadGroup& relative,
                                    const ThreadGroup* ignoring, std::vector<Notice>* notices) {
  const ProcessGroup& group = *member.process_group;
  if (relative.process_group.get() == &group || relative.session() != group.session.get()) return;
  bool any_stopped = false;
  for (ThreadGroup* other : group.members) {
    if (other->zombie) continue;
    MutexLock lock(other->signal_mutex());
    any_stopped |= other->stopped;
  }
  if (!any_stopped || !OrphanedLocked(group, ignoring)) return;
  NoticeGroupLocked(group, SIGHUP, notices);
  NoticeGroupLocked(group, SIGCONT, notices);
}

void Kernel::CheckOrphanedLocked(ThreadGroup& leaving, std::vector<Notice>* notices) {
  if (leaving.parent != nullptr) {
    HangUpIfOrphanedLocked(leaving, *leaving.parent, &leaving, notices);
  }
  for (ThreadGroup* child : leaving.children) {
    if (child->zombie) continue;
    // As if the child had left this parent already.
    ThreadGroup* parent = std::exchange(child->parent, nullptr);
    HangUpIfOrphanedLocked(*child, leaving, nullptr, notices);
    child->parent = parent;
  }
}

void Kernel::LeaveSessionLocked(ThreadGroup& group, std::vector<Notice>* notices) {
  Session& session = *group.session();
  if (session.leader != &group) return;
  session.leader = nullptr;
  vfs::Terminal* terminal = std::exchange(session.terminal, nullptr);
  if (terminal == nullptr) return;
  if (const ProcessGroup* foreground = pids_.FindGroup(terminal->foreground.load())) {
    NoticeGroupLocked(*foreground, SIGHUP, notices);
    NoticeGroupLocked(*foreground, SIGCONT, notices);
  }
  terminal->session.store(0);
  terminal->foreground.store(0);
  released_terminals_.push_back(terminal);
}

void Kernel::Send(const std::vector<Notice>& notices) {
  for (const Notice& notice : notices) {
    if (notice.info.signo != 0) (void)Task::SendGroupSignal(*notice.group, notice.info);
    if (notice.child_event) notice.group->child_events.Notify(sched::kIn);
  }
  // A terminal's last reference may run its destructor: not under tasks_mutex_.
  std::vector<vfs::Terminal*> terminals;
  {
    MutexLock lock(tasks_mutex_);
    terminals.swap(released_terminals_);
  }
  for (vfs::Terminal* terminal : terminals) terminal->UnrefTerminal();
}

Result<int64_t> Kernel::SetSid(Task& task) {
  RefPtr<ProcessGroup> old;
  MutexLock lock(tasks_mutex_);
  ThreadGroup& group = task.group();
  const int id = group.tgid();
  // A leader already, or the id still names somebody's group.
  if (pids_.FindGroup(id) != nullptr || pids_.FindSession(id) != nullptr) return Errno::kEPERM;
  auto session = MakeRef<Session>(id);
  session->leader = &group;
  old = group.process_group;
  LeaveProcessGroupLocked(group);
  JoinProcessGroupLocked(group, MakeRef<ProcessGroup>(id, std::move(session)));
  return id;
}

Result<> Kernel::SetPgid(Task& task, int pid, int pgid) {
  if (pgid < 0) return Errno::kEINVAL;
  RefPtr<ProcessGroup> old;
  MutexLock lock(tasks_mutex_);
  ThreadGroup& caller = task.group();
  if (pid == 0) pid = caller.tgid();
  if (pgid == 0) pgid = pid;
  ThreadGroup* target = pids_.FindThreadGroup(pid);
  if (target == nullptr || target->reaped) return Errno::kESRCH;
  if (target != &caller) {
    if (target->parent != &caller) return Errno::kESRCH;
    if (target->session() != caller.session()) return Errno::kEPERM;
    if (target->executed) return Errno::kEACCES;
  }
  if (target->session()->leader == target) return Errno::kEPERM;
  if (target->process_group->id == pgid) return Ok();
  RefPtr<ProcessGroup> to;
  if (ProcessGroup* existing = pids_.FindGroup(pgid)) {
    if (existing->session.get() != caller.session()) return Errno::kEPERM;
    to = RefPtr<ProcessGroup>(existing);
  } else {
    if (pgid != pid) return Errno::kEPERM;
    to = MakeRef<ProcessGroup>(pgid, target->process_group->session);
  }
  old = target->process_group;
  // Joined before the old one is left: the session must not be forgotten in between.
  std::erase(old->members, target);
  JoinProcessGroupLocked(*target, std::move(to));
  if (old->members.empty()) {
    pids_.SetGroup(old->id, nullptr);
    --old->session->groups;
  }
  return Ok();
}

Result<int64_t> Kernel::GetPgid(Task& task, int pid) {
  MutexLock lock(tasks_mutex_);
  if (pid == 0) return task.group().process_group->id;
  Task* target = pids_.FindTask(pid);
  if (target == nullptr || !target->group().process_group) return Errno::kESRCH;
  return target->group().process_group->id;
}

Result<int64_t> Kernel::GetSid(Task& task, int pid) {
  MutexLock lock(tasks_mutex_);
  if (pid == 0) return task.group().session()->id;
  Task* target = pids_.FindTask(pid);
  if (target == nullptr || !target->group().process_group) return Errno::kESRCH;
  return target->group().session()->id;
}

Result<> Kernel::SignalProcessGroup(int pgid, const SigInfo& info, Task* sender) {
  std::vector<RefPtr<Task>> targets;
  RefPtr<ProcessGroup> sender_group;  // keeps the session
  {
    MutexLock lock(tasks_mutex_);
    if (sender != nullptr) sender_group = sender->group().process_group;
    const ProcessGroup* group = pids_.FindGroup(pgid);
    if (group == nullptr) return Errno::kESRCH;
    for (ThreadGroup* member : group->members) targets.push_back(RefPtr<Task>(member->leader));
  }
  return SignalTargets(targets, info, sender, sender_group.get());
}

Result<> Kernel::SignalEveryone(const SigInfo& info, Task* sender) {
  std::vector<RefPtr<Task>> targets;
  RefPtr<ProcessGroup> sender_group;
  {
    MutexLock lock(tasks_mutex_);
    if (sender != nullptr) sender_group = sender->group().process_group;
    for (const auto& [pid, entry] : pids_.entries()) {
      if (entry.task == nullptr || entry.task->tgid() != pid || &entry.task->group() == init_ ||
          (sender != nullptr && &entry.task->group() == &sender->group())) {
        continue;
      }
      targets.push_back(RefPtr<Task>(entry.task));
    }
  }
  if (targets.empty()) return Errno::kESRCH;
  return SignalTargets(targets, info, sender, sender_group.get());
}

// kEPERM only when none of them could be signalled.
Result<> Kernel::SignalTargets(const std::vector<RefPtr<Task>>& targets, const SigInfo& info,
                               Task* sender, const ProcessGroup* sender_group) {
  const auth::CredsRef creds = sender != nullptr ? sender->creds() : nullptr;
  bool any = false;
  for (const RefPtr<Task>& target : targets) {
    if (sender != nullptr && &sender->group() != &target->group() &&
        !target->MaySignal(*creds, sender_group->session.get(), info.signo)) {
      continue;
    }
    any = true;
    if (info.signo != 0) (void)Task::SendGroupSignal(target->group(), info);
  }
  if (!any) return Errno::kEPERM;
  return Ok();
}

}  // namespace msentry::kernel
