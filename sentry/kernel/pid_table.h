// Process and thread ids. A number is in use while it names a task (zombies included), a process
// group or a session. Everything is guarded by Kernel::tasks_mutex(), which the caller holds.
#pragma once

#include <map>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/kernel/session.h"

namespace msentry::kernel {

class Task;
class ThreadGroup;

class PidTable {
 public:
  PidTable();
  ~PidTable();

  struct Entry {
    Task* task = nullptr;           // the table holds a reference
    ProcessGroup* group = nullptr;  // not owned: removed by Remove*()
    Session* session = nullptr;
  };
  // The next free number after the last one given (wraps at pid_max to 300, as Linux does).
  Result<int> Allocate();
  void SetTask(int pid, RefPtr<Task> task);
  // Returns the table's reference so that it is dropped without the lock.
  RefPtr<Task> RemoveTask(int pid);
  void SetGroup(int pid, ProcessGroup* group);
  void SetSession(int pid, Session* session);

  Task* FindTask(int tid) const;
  ThreadGroup* FindThreadGroup(int tgid) const;  // by the leader's id only
  ProcessGroup* FindGroup(int pgid) const;
  Session* FindSession(int sid) const;

  const std::map<int, Entry>& entries() const { return entries_; }
  int tasks() const { return tasks_; }
  int last() const { return last_; }
  // kernel.ns_last_pid: the number after which the next is looked for; kernel.pid_max.
  void set_last(int last) { last_ = last; }
  void set_max(int max) { max_ = max; }
  static constexpr int kPidMax = 32768;              // unless set_max said otherwise
  static constexpr int kPidLimit = 4 * 1024 * 1024;  // the most it may say

 private:
  void Forget(int pid);
  std::map<int, Entry> entries_;
  int last_ = 0;
  int max_ = kPidMax;
  int tasks_ = 0;
};

}  // namespace msentry::kernel
