// What a task holds of System V IPC: its namespace and its list of semaphore adjustments.
#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {

RefPtr<IpcNamespace> Task::ipc() const {
  MutexLock lock(info_mutex_);
  return ipc_;
}

void Task::SetIpc(RefPtr<IpcNamespace> ipc) {
  LeaveSemUndo();
  MutexLock lock(info_mutex_);
  ipc_.swap(ipc);
}

SemUndoList& Task::sem_undo() {
  if (!sem_undo_) sem_undo_ = MakeRef<SemUndoList>();
  return *sem_undo_;
}

void Task::LeaveSemUndo() {
  if (!sem_undo_) return;
  sem_undo_->RemoveUser(tgid());
  sem_undo_.Reset();
}

void Task::InheritIpc(Task& parent, bool share_undo) {
  {
    RefPtr<IpcNamespace> ns = parent.ipc();
    MutexLock lock(info_mutex_);
    ipc_.swap(ns);
  }
  if (!share_undo) return;
  sem_undo_ = RefPtr<SemUndoList>(&parent.sem_undo());
  sem_undo_->AddUser();
}

}  // namespace msentry::kernel
