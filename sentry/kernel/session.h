// Sessions and process groups (setsid(2), setpgid(2)). Both live as long as a thread group refers
// to them; everything in them is guarded by Kernel::tasks_mutex().
#pragma once

#include <vector>

#include "sentry/base/ref_ptr.h"

namespace msentry::vfs {
class Terminal;
}

namespace msentry::kernel {

class ThreadGroup;

struct Session : RefCounted<Session> {
  explicit Session(int id) : id(id) {}
  const int id;                       // the leader's tgid
  int groups = 0;                     // process groups with members; 0: the id is free
  ThreadGroup* leader = nullptr;      // null once it has exited
  vfs::Terminal* terminal = nullptr;  // controlling terminal; holds a RefTerminal
};

struct ProcessGroup : RefCounted<ProcessGroup> {
  ProcessGroup(int id, RefPtr<Session> session) : id(id), session(std::move(session)) {}
  const int id;
  const RefPtr<Session> session;
  std::vector<ThreadGroup*> members;  // zombies included; none: the id is free
};

}  // namespace msentry::kernel
