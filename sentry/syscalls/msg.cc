// System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include <sys/msg.h>

#include "sentry/kernel/ipc/msg.h"
#include "sentry/syscalls/calls_ipc.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::IpcNamespace;
using kernel::MsgQueue;

constexpr int kMsgStatAny = 13;

// Waits between attempts unless IPC_NOWAIT; a signal restarts the call if no handler runs.
template <typename Attempt>
auto Repeat(Task& t, MsgQueue& queue, sched::EventMask events, Attempt attempt)
    -> decltype(attempt()) {
  auto result = t.BlockOn(queue.wait_queue(), events, sched::kNever, attempt);
  if (!result.ok() && result.error() == Errno::kERESTARTSYS) return Errno::kERESTARTNOHAND;
  return result;
}

Result<int64_t> Information(Task& t, IpcNamespace& ns, int command, uint64_t to) {
  constexpr int kSegmentSize = 16;  // MSGSSZ, and MSGSEG below: of no meaning any more
  abi::Msginfo info{};
  info.msgmni = ns.limits.msgmni;
  info.msgmax = ns.limits.msgmax;
  info.msgmnb = ns.limits.msgmnb;
  info.msgssz = kSegmentSize;
  info.msgseg = 0xffff;
  if (command == MSG_INFO) {
    info.msgpool = ns.queues.count();
    for (const auto& object : ns.queues.All()) {
      MutexLock lock(object->mutex());
      const abi::Msqid64Ds stat = static_cast<MsgQueue&>(*object).StatLocked();
      info.msgmap += static_cast<int>(stat.qnum);
      info.msgtql += static_cast<int>(stat.cbytes);
    }
  } else {
    info.msgmap = info.msgtql = info.msgmnb;
    info.msgpool = static_cast<int>(int64_t{info.msgmni} * info.msgmnb / 1024);
  }
  TRY(t.memory().CopyOut(GuestPtr<abi::Msginfo>(to), info));
  return ns.queues.last_index();
}

Result<int64_t> Stat(Task& t, IpcNamespace& ns, MsgQueue& queue, int command, uint64_t to) {
  abi::Msqid64Ds stat = TRY(queue.Stat(*t.creds(), command == kMsgStatAny));
  stat.perm.key = ns.queues.KeyOf(queue);
  TRY(t.memory().CopyOut(GuestPtr<abi::Msqid64Ds>(to), stat));
  return command == IPC_STAT ? 0 : queue.id();
}

}  // namespace

Result<int64_t> SysMsgget(Task& t, const SyscallArgs& a) {
  return TRY(MsgQueue::Get(t, a.Int(0), a.Int(1)));
}

Result<int64_t> SysMsgsnd(Task& t, const SyscallArgs& a) {
  const int id = a.Int(0), flags = a.Int(3);
  const uint64_t address = a[1], size = a[2];
  const RefPtr<IpcNamespace> ns = t.ipc();
  const auto type = TRY(t.memory().CopyIn(GuestPtr<int64_t>(address)));
  if (size > static_cast<uint64_t>(ns->limits.msgmax.load()) || id < 0 || type < 1) {
    return Errno::kEINVAL;
  }
  auto message = TRY(MsgQueue::Message::Create(type, size));
  TRY(t.memory().CopyInBytes(address + sizeof(type), message.text));
  const RefPtr<MsgQueue> queue = TRY(MsgQueue::Find(*ns, id));
  auto attempt = [&] { return queue->TrySend(*t.creds(), message, t.tgid()); };
  if (flags & IPC_NOWAIT) {
    TRY(attempt());
  } else {
    TRY(Repeat(t, *queue, sched::kOut, attempt));
  }
  return 0;
}

Result<int64_t> SysMsgrcv(Task& t, const SyscallArgs& a) {
  const int id = a.Int(0), flags = a.Int(4);
  const uint64_t address = a[1];
  if (id < 0 || a.Long(2) < 0) return Errno::kEINVAL;
  MsgQueue::Wanted wanted;
  wanted.type = a.Long(3);
  wanted.max = a[2];
  wanted.except = (flags & MSG_EXCEPT) != 0;
  wanted.copy = (flags & MSG_COPY) != 0;
  wanted.cut = (flags & MSG_NOERROR) != 0;
  if (wanted.copy && (wanted.except || !(flags & IPC_NOWAIT))) return Errno::kEINVAL;
  const RefPtr<IpcNamespace> ns = t.ipc();
  const RefPtr<MsgQueue> queue = TRY(MsgQueue::Find(*ns, id));
  auto attempt = [&] { return queue->TryReceive(*t.creds(), wanted, t.tgid()); };
  auto waiting_attempt = [&] {
    auto result = attempt();
    if (!result.ok() && result.error() == Errno::kENOMSG) result = Errno::kEAGAIN;
    return result;
  };
  const MsgQueue::Message message =
      flags & IPC_NOWAIT ? TRY(attempt()) : TRY(Repeat(t, *queue, sched::kIn, waiting_attempt));
  const size_t size = std::min(message.text.size(), wanted.max);
  TRY(t.memory().CopyOut(GuestPtr<int64_t>(address), message.type));
  TRY(t.memory().CopyOutBytes(address + sizeof(int64_t),
                              std::span<const std::byte>(message.text).first(size)));
  return static_cast<int64_t>(size);
}

Result<int64_t> SysMsgctl(Task& t, const SyscallArgs& a) {
  const int id = a.Int(0), command = a.Int(1);
  if (id < 0 || command < 0) return Errno::kEINVAL;
  const RefPtr<IpcNamespace> ns = t.ipc();
  switch (command) {
    case IPC_INFO:
    case MSG_INFO:
      return Information(t, *ns, command, a[2]);
    case MSG_STAT:
    case kMsgStatAny: {
      const RefPtr<kernel::IpcObject> object = TRY(ns->queues.FindIndex(id));
      return Stat(t, *ns, static_cast<MsgQueue&>(*object), command, a[2]);
    }
    case IPC_STAT:
      return Stat(t, *ns, *TRY(MsgQueue::Find(*ns, id)), command, a[2]);
    case IPC_SET: {
      const auto to = TRY(t.memory().CopyIn(GuestPtr<abi::Msqid64Ds>(a[2])));
      TRY(TRY(MsgQueue::Find(*ns, id))->SetPermissions(*t.creds(), to, ns->limits.msgmnb));
      return 0;
    }
    case IPC_RMID:
      TRY(MsgQueue::Destroy(*ns, *TRY(MsgQueue::Find(*ns, id)), *t.creds()));
      return 0;
    default:
      return Errno::kEINVAL;
  }
}

}  // namespace msentry::syscalls
