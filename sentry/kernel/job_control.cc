#include "sentry/kernel/job_control.h"

namespace msentry::kernel {

using vfs::Terminal;

void Kernel::JobControlImpl::AttachLocked(ThreadGroup& leader, Terminal& terminal) {
  terminal.RefTerminal();
  leader.session()->terminal = &terminal;
  terminal.session.store(leader.session()->id);
  terminal.foreground.store(leader.process_group->id);
}

void Kernel::JobControlImpl::OpenedTerminal(Terminal& terminal) {
  Task* task = Task::Current();
  if (task == nullptr) return;
  MutexLock lock(kernel_.tasks_mutex());
  ThreadGroup& group = task->group();
  Session& session = *group.session();
  if (session.leader != &group || session.terminal != nullptr || terminal.session.load() != 0) {
    return;
  }
  AttachLocked(group, terminal);
}

Result<> Kernel::JobControlImpl::SetControlling(Terminal& terminal, bool steal) {
  Task* task = Task::Current();
  if (task == nullptr) return Errno::kENOTTY;
  const bool may_steal = steal && task->HasCap(auth::Cap::kSysAdmin);
  Terminal* dropped = nullptr;
  {
    MutexLock lock(kernel_.tasks_mutex());
    ThreadGroup& group = task->group();
    Session& session = *group.session();
    if (session.leader == &group && session.terminal == &terminal) return Ok();
    if (session.leader != &group || session.terminal != nullptr) return Errno::kEPERM;
    if (const int other = terminal.session.load(); other != 0) {
      if (!may_steal) return Errno::kEPERM;
      if (Session* robbed = kernel_.pids_.FindSession(other)) {
        dropped = std::exchange(robbed->terminal, nullptr);
      }
    }
    AttachLocked(group, terminal);
  }
  if (dropped != nullptr) dropped->UnrefTerminal();
  return Ok();
}

Result<> Kernel::JobControlImpl::GiveUpControlling(Terminal& terminal) {
  Task* task = Task::Current();
  if (task == nullptr) return Errno::kENOTTY;
  std::vector<Notice> notices;
  {
    MutexLock lock(kernel_.tasks_mutex());
    ThreadGroup& group = task->group();
    Session& session = *group.session();
    if (session.terminal != &terminal) return Errno::kENOTTY;
    // Only the leader gives it up for the session; for others Linux forgets it per process, which
    // is not kept here.
    if (session.leader != &group) return Ok();
    session.terminal = nullptr;
    if (const ProcessGroup* foreground = kernel_.pids_.FindGroup(terminal.foreground.load())) {
      kernel_.NoticeGroupLocked(*foreground, SIGHUP, &notices);
      kernel_.NoticeGroupLocked(*foreground, SIGCONT, &notices);
    }
    terminal.session.store(0);
    terminal.foreground.store(0);
    kernel_.released_terminals_.push_back(&terminal);
  }
  kernel_.Send(notices);
  return Ok();
}

Result<int> Kernel::JobControlImpl::ForegroundGroup(Terminal& terminal, bool master) {
  Task* task = Task::Current();
  MutexLock lock(kernel_.tasks_mutex());
  if (!master && (task == nullptr || task->group().session()->terminal != &terminal)) {
    return Errno::kENOTTY;
  }
  return terminal.foreground.load();
}

Result<> Kernel::JobControlImpl::SetForegroundGroup(Terminal& terminal, int pgid) {
  Task* task = Task::Current();
  if (task == nullptr) return Errno::kENOTTY;
  if (pgid < 0) return Errno::kEINVAL;
  TRY(CheckBackground(terminal, SIGTTOU));
  MutexLock lock(kernel_.tasks_mutex());
  Session& session = *task->group().session();
  if (session.terminal != &terminal || terminal.session.load() != session.id) {
    return Errno::kENOTTY;
  }
  const ProcessGroup* group = kernel_.pids_.FindGroup(pgid);
  if (group == nullptr) return Errno::kESRCH;
  if (group->session.get() != &session) return Errno::kEPERM;
  terminal.foreground.store(pgid);
  return Ok();
}

Result<int> Kernel::JobControlImpl::SessionOf(Terminal& terminal, bool master) {
  Task* task = Task::Current();
  MutexLock lock(kernel_.tasks_mutex());
  if (!master && (task == nullptr || task->group().session()->terminal != &terminal)) {
    return Errno::kENOTTY;
  }
  const int session = terminal.session.load();
  if (session == 0) return Errno::kENOTTY;
  return session;
}

Result<> Kernel::JobControlImpl::CheckBackground(Terminal& terminal, int signo) {
  Task* task = Task::Current();
  if (task == nullptr) return Ok();
  ThreadGroup& group = task->group();
  const bool held_off =
      (task->signal_mask() & SigBit(signo)) != 0 || group.handlers()->Get(signo).handler == 1;
  int pgid = 0;
  {
    MutexLock lock(kernel_.tasks_mutex());
    if (group.session()->terminal != &terminal) return Ok();
    pgid = group.process_group->id;
    const int foreground = terminal.foreground.load();
    if (foreground == 0 || foreground == pgid) return Ok();
    // Blocked or ignored: a reader gets an error, a writer goes on.
    if (held_off) {
      if (signo == SIGTTIN) return Errno::kEIO;
      return Ok();
    }
    if (kernel_.OrphanedLocked(*group.process_group, nullptr)) return Errno::kEIO;
  }
  TRY(kernel_.SignalProcessGroup(pgid, KernelSignal(signo), nullptr));
  return Errno::kERESTARTSYS;
}

void Kernel::JobControlImpl::SignalForeground(Terminal& terminal, int signo) {
  const int pgid = terminal.foreground.load();
  if (pgid != 0) (void)kernel_.SignalProcessGroup(pgid, KernelSignal(signo), nullptr);
}

void Kernel::JobControlImpl::Hangup(Terminal& terminal) {
  std::vector<Notice> notices;
  {
    MutexLock lock(kernel_.tasks_mutex());
    const int id = terminal.session.exchange(0);
    const int pgid = terminal.foreground.exchange(0);
    Session* session = kernel_.pids_.FindSession(id);
    if (session != nullptr && session->terminal == &terminal) {
      session->terminal = nullptr;
      kernel_.released_terminals_.push_back(&terminal);
      if (session->leader != nullptr) {
        const RefPtr<ThreadGroup> leader(session->leader);
        notices.push_back({leader, KernelSignal(SIGHUP), false});
        notices.push_back({leader, KernelSignal(SIGCONT), false});
      }
    }
    if (const ProcessGroup* foreground = kernel_.pids_.FindGroup(pgid)) {
      kernel_.NoticeGroupLocked(*foreground, SIGHUP, &notices);
      kernel_.NoticeGroupLocked(*foreground, SIGCONT, &notices);
    }
  }
  kernel_.Send(notices);
}

Terminal* Kernel::JobControlImpl::ControllingTerminal() {
  Task* task = Task::Current();
  if (task == nullptr) return nullptr;
  MutexLock lock(kernel_.tasks_mutex());
  Terminal* terminal = task->group().session()->terminal;
  if (terminal != nullptr) terminal->RefTerminal();
  return terminal;
}

}  // namespace msentry::kernel
