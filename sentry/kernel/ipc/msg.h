// System V message queues (msgget(2), msgop(2), msgctl(2)).
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/ipc/ipc_object.h"
#include "sentry/sched/wait_queue.h"

namespace msentry::kernel {

class Task;

class MsgQueue : public IpcObject {
 public:
  struct Message {
    int64_t type = 0;
    std::vector<std::byte> text;
    IpcCharge charge;
    // ENOMEM when all guests' messages together are too many.
    static Result<Message> Create(int64_t type, size_t size);
  };

  MsgQueue(int key, uint32_t mode, const auth::Credentials& creator, uint64_t max_bytes)
      : IpcObject(key, mode, creator), max_bytes_(max_bytes) {}

  // msgget(2).
  static Result<int> Get(Task& task, int key, int flags);
  static Result<RefPtr<MsgQueue>> Find(IpcNamespace& ns, int id);

  // One attempt each: kEAGAIN when the queue is full, kENOMSG when nothing fits. msgsnd(2) and
  // msgrcv(2) wait on wait_queue() between attempts.
  Result<> TrySend(const auth::Credentials& creds, Message& message, int pid);
  // `copy`: MSG_COPY, `type` is a place in the queue. E2BIG for a message above `max` unless `cut`.
  struct Wanted {
    int64_t type = 0;
    size_t max = 0;
    bool except = false, copy = false, cut = false;
  };
  Result<Message> TryReceive(const auth::Credentials& creds, const Wanted& wanted, int pid);
  sched::WaitQueue& wait_queue() { return wait_queue_; }

  Result<abi::Msqid64Ds> Stat(const auth::Credentials& creds, bool any) const;
  abi::Msqid64Ds StatLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  // IPC_SET. A queue larger than `msgmnb` takes CAP_SYS_RESOURCE: EPERM.
  Result<> SetPermissions(const auth::Credentials& creds, const abi::Msqid64Ds& to, int msgmnb);
  static Result<> Destroy(IpcNamespace& ns, MsgQueue& queue, const auth::Credentials& creds);

 private:
  std::list<Message>::iterator Choose(const Wanted& wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());

  std::list<Message> messages_ ABSL_GUARDED_BY(mutex());
  uint64_t bytes_ ABSL_GUARDED_BY(mutex()) = 0;
  uint64_t max_bytes_ ABSL_GUARDED_BY(mutex());
  int64_t stime_ ABSL_GUARDED_BY(mutex()) = 0, rtime_ ABSL_GUARDED_BY(mutex()) = 0;
  int last_sender_ ABSL_GUARDED_BY(mutex()) = 0, last_receiver_ ABSL_GUARDED_BY(mutex()) = 0;
  sched::WaitQueue wait_queue_;  // kIn: a message came; kOut: room; both: removed or changed
};

}  // namespace msentry::kernel
