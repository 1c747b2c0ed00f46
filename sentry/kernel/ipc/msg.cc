#include "sentry/kernel/ipc/msg.h"

#include "sentry/kernel/task.h"

namespace msentry::kernel {

Result<MsgQueue::Message> MsgQueue::Message::Create(int64_t type, size_t size) {
  Message message;
  message.type = type;
  message.charge = TRY(IpcCharge::Take(sizeof(Message) + 32 + size));
  message.text.resize(size);
  return message;
}

Result<int> MsgQueue::Get(Task& task, int key, int flags) {
  const RefPtr<IpcNamespace> ns = task.ipc();
  const auth::CredsRef creds = task.creds();
  auto make = [&]() -> Result<RefPtr<IpcObject>> {
    return RefPtr<IpcObject>(MakeRef<MsgQueue>(key, static_cast<uint32_t>(flags), *creds,
                                               static_cast<uint64_t>(ns->limits.msgmnb.load())));
  };
  auto check = [](const IpcObject&) -> Result<> { return Ok(); };
  return ns->queues.Get(*creds, key, flags, ns->limits.msgmni, make, check);
}

Result<RefPtr<MsgQueue>> MsgQueue::Find(IpcNamespace& ns, int id) {
  RefPtr<IpcObject> object = TRY(ns.queues.Find(id));
  return RefPtr<MsgQueue>(static_cast<MsgQueue*>(object.get()));
}

Result<> MsgQueue::TrySend(const auth::Credentials& creds, Message& message, int pid) {
  {
    MutexLock lock(mutex());
    TRY(CheckAlive());
    TRY(CheckAccess(creds, 0222));
    // Messages without text count as well.
    if (message.text.size() + bytes_ > max_bytes_ || messages_.size() + 1 > max_bytes_) {
      return Errno::kEAGAIN;
    }
    bytes_ += message.text.size();
    messages_.push_back(std::move(message));
    last_sender_ = pid;
    stime_ = IpcNow();
  }
  wait_queue_.Notify(sched::kIn);
  return Ok();
}

std::list<MsgQueue::Message>::iterator MsgQueue::Choose(const Wanted& wanted) {
  auto best = messages_.end();
  int64_t place = 0;
  for (auto m = messages_.begin(); m != messages_.end(); ++m, ++place) {
    if (wanted.copy) {
      if (place == wanted.type) return m;
    } else if (wanted.type == 0) {
      return m;
    } else if (wanted.type > 0) {
      if ((m->type == wanted.type) != wanted.except) return m;
    } else {
      // The lowest type up to |type|; the first of those.
      const int64_t bound = wanted.type == INT64_MIN ? INT64_MAX : -wanted.type;
      if (m->type <= bound && (best == messages_.end() || m->type < best->type)) best = m;
    }
  }
  return best;
}

Result<MsgQueue::Message> MsgQueue::TryReceive(const auth::Credentials& creds, const Wanted& wanted,
                                               int pid) {
  Message message;
  {
    MutexLock lock(mutex());
    TRY(CheckAlive());
    TRY(CheckAccess(creds, 0444));
    auto chosen = Choose(wanted);
    if (chosen == messages_.end()) return Errno::kENOMSG;
    if (chosen->text.size() > wanted.max && !wanted.cut) return Errno::kE2BIG;
    if (wanted.copy) {
      message.type = chosen->type;
      message.text = chosen->text;
      return message;
    }
    message = std::move(*chosen);
    messages_.erase(chosen);
    bytes_ -= message.text.size();
    last_receiver_ = pid;
    rtime_ = IpcNow();
  }
  wait_queue_.Notify(sched::kOut);
  return message;
}

abi::Msqid64Ds MsgQueue::StatLocked() const {
  abi::Msqid64Ds s{};
  s.perm = Permissions();
  s.stime = stime_;
  s.rtime = rtime_;
  s.ctime = ctime;
  s.cbytes = bytes_;
  s.qnum = messages_.size();
  s.qbytes = max_bytes_;
  s.lspid = last_sender_;
  s.lrpid = last_receiver_;
  return s;
}

Result<abi::Msqid64Ds> MsgQueue::Stat(const auth::Credentials& creds, bool any) const {
  MutexLock lock(mutex());
  if (!any) TRY(CheckAccess(creds, 0444));
  TRY(CheckAlive());
  return StatLocked();
}

Result<> MsgQueue::SetPermissions(const auth::Credentials& creds, const abi::Msqid64Ds& to,
                                  int msgmnb) {
  {
    MutexLock lock(mutex());
    TRY(CheckAlive());
    TRY(CheckOwner(creds));
    if (to.qbytes > static_cast<uint64_t>(msgmnb) && !creds.HasCap(auth::Cap::kSysResource)) {
      return Errno::kEPERM;
    }
    TRY(SetOwner(to.perm));
    max_bytes_ = to.qbytes;
    ctime = IpcNow();
  }
  // Receivers may have lost the right to wait, senders may have room now.
  wait_queue_.Notify(sched::kAllEvents);
  return Ok();
}

Result<> MsgQueue::Destroy(IpcNamespace& ns, MsgQueue& queue, const auth::Credentials& creds) {
  std::list<Message> messages;  // dropped after the lock
  {
    MutexLock lock(queue.mutex());
    TRY(queue.CheckAlive());
    TRY(queue.CheckOwner(creds));
    queue.MarkRemovedLocked();
    messages.swap(queue.messages_);
    queue.bytes_ = 0;
  }
  ns.queues.Remove(queue);
  queue.wait_queue_.Notify(sched::kAllEvents);
  return Ok();
}

}  // namespace msentry::kernel
