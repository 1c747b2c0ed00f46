#include "sentry/kernel/pid_table.h"

#include "sentry/kernel/task.h"

namespace msentry::kernel {

PidTable::PidTable() = default;
PidTable::~PidTable() = default;

Result<int> PidTable::Allocate() {
  constexpr int kReserved = 300;  // after the first round, low numbers stay with daemons
  int candidate = last_ + 1;
  for (int tries = 0; tries < max_; ++tries, ++candidate) {
    if (candidate >= max_) candidate = kReserved;
    if (!entries_.contains(candidate)) {
      last_ = candidate;
      entries_[candidate];
      return candidate;
    }
  }
  return Errno::kEAGAIN;
}

void PidTable::Forget(int pid) {
  auto it = entries_.find(pid);
  if (it == entries_.end()) return;
  const Entry& e = it->second;
  if (e.task == nullptr && e.group == nullptr && e.session == nullptr) entries_.erase(it);
}

void PidTable::SetTask(int pid, RefPtr<Task> task) {
  Entry& entry = entries_[pid];
  CHECK(entry.task == nullptr);
  entry.task = task.Release();
  ++tasks_;
}

RefPtr<Task> PidTable::RemoveTask(int pid) {
  auto it = entries_.find(pid);
  if (it == entries_.end()) return nullptr;
  auto task = RefPtr<Task>::Adopt(std::exchange(it->second.task, nullptr));
  if (task) --tasks_;
  Forget(pid);
  return task;
}

void PidTable::SetGroup(int pid, ProcessGroup* group) {
  entries_[pid].group = group;
  Forget(pid);
}

void PidTable::SetSession(int pid, Session* session) {
  entries_[pid].session = session;
  Forget(pid);
}

Task* PidTable::FindTask(int tid) const {
  auto it = entries_.find(tid);
  return it == entries_.end() ? nullptr : it->second.task;
}

ThreadGroup* PidTable::FindThreadGroup(int tgid) const {
  Task* task = FindTask(tgid);
  return task != nullptr && task->tgid() == tgid ? &task->group() : nullptr;
}

ProcessGroup* PidTable::FindGroup(int pgid) const {
  auto it = entries_.find(pgid);
  return it == entries_.end() ? nullptr : it->second.group;
}

Session* PidTable::FindSession(int sid) const {
  auto it = entries_.find(sid);
  return it == entries_.end() ? nullptr : it->second.session;
}

}  // namespace msentry::kernel
