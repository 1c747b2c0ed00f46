// System V semaphores: semget(2), semop(2), semtimedop(2), semctl(2).
#include <sys/sem.h>

#include "sentry/abi/time.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/syscalls/calls_ipc.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::IpcNamespace;
using kernel::SemSet;

constexpr int kSemStatAny = 20;

// Without `timeout_ns` (kNever) it waits as long as it takes.
Result<int64_t> Operate(Task& t, int id, uint64_t address, uint32_t count, uint64_t timeout) {
  const RefPtr<IpcNamespace> ns = t.ipc();
  if (count < 1 || id < 0) return Errno::kEINVAL;
  if (count > static_cast<uint32_t>(ns->limits.semopm.load())) return Errno::kE2BIG;
  std::vector<abi::Sembuf> operations(count);
  TRY(t.memory().CopyInArray(GuestPtr<abi::Sembuf>(address), std::span(operations)));
  const int64_t deadline = DeadlineAfter(TRY(CopyInTimeout(t, timeout)));
  const RefPtr<SemSet> set = TRY(SemSet::Find(*ns, id));
  TRY(set->Operate(t, operations, deadline));
  return 0;
}

// IPC_INFO, SEM_INFO.
Result<int64_t> Information(Task& t, IpcNamespace& ns, int command, uint64_t to) {
  abi::Seminfo info{};
  info.semmni = ns.limits.semmni;
  info.semmns = info.semmap = info.semmnu = ns.limits.semmns;
  info.semmsl = ns.limits.semmsl;
  info.semopm = info.semume = ns.limits.semopm;
  info.semvmx = kernel::kSemMaxValue;
  info.semusz = command == SEM_INFO ? ns.semaphores.count() : 20;
  info.semaem =
      command == SEM_INFO ? static_cast<int>(ns.semaphores_used.load()) : kernel::kSemMaxValue;
  TRY(t.memory().CopyOut(GuestPtr<abi::Seminfo>(to), info));
  return ns.semaphores.last_index();
}

Result<int64_t> Stat(Task& t, IpcNamespace& ns, SemSet& set, int command, uint64_t to) {
  abi::Semid64Ds stat = TRY(set.Stat(*t.creds(), command == kSemStatAny));
  stat.perm.key = ns.semaphores.KeyOf(set);
  TRY(t.memory().CopyOut(GuestPtr<abi::Semid64Ds>(to), stat));
  return command == IPC_STAT ? 0 : set.id();
}

Result<int64_t> GetAll(Task& t, SemSet& set, uint64_t to) {
  const std::vector<uint16_t> values = TRY(set.GetAll(*t.creds()));
  TRY(t.memory().CopyOutArray(GuestPtr<uint16_t>(to), std::span<const uint16_t>(values)));
  return 0;
}

Result<int64_t> SetAll(Task& t, SemSet& set, uint64_t from) {
  std::vector<uint16_t> values(static_cast<size_t>(set.count));
  TRY(t.memory().CopyInArray(GuestPtr<uint16_t>(from), std::span(values)));
  TRY(set.SetAll(*t.creds(), values, t.tgid()));
  return 0;
}

Result<int64_t> OfOne(Task& t, IpcNamespace& ns, SemSet& set, int number, int command,
                      uint64_t argument) {
  const auth::CredsRef creds = t.creds();
  switch (command) {
    case GETVAL:
      return TRY(set.Get(*creds, number)).value;
    case GETPID:
      return TRY(set.Get(*creds, number)).pid;
    case GETNCNT:
      return TRY(set.Waiting(*creds, number, false));
    case GETZCNT:
      return TRY(set.Waiting(*creds, number, true));
    case SETVAL:
      TRY(set.Set(*creds, number, static_cast<int>(argument), t.tgid()));
      return 0;
    case GETALL:
      return GetAll(t, set, argument);
    case SETALL:
      return SetAll(t, set, argument);
    case IPC_RMID:
      TRY(SemSet::Destroy(ns, set, *creds));
      return 0;
    case IPC_SET: {
      const auto to = TRY(t.memory().CopyIn(GuestPtr<abi::Semid64Ds>(argument)));
      TRY(set.SetPermissions(*creds, to.perm));
      return 0;
    }
    default:
      return Stat(t, ns, set, command, argument);
  }
}

}  // namespace

Result<int64_t> SysSemget(Task& t, const SyscallArgs& a) {
  return TRY(SemSet::Get(t, a.Int(0), a.Int(1), a.Int(2)));
}

Result<int64_t> SysSemop(Task& t, const SyscallArgs& a) {
  return Operate(t, a.Int(0), a[1], a.Uint(2), 0);
}

Result<int64_t> SysSemtimedop(Task& t, const SyscallArgs& a) {
  return Operate(t, a.Int(0), a[1], a.Uint(2), a[3]);
}

Result<int64_t> SysSemctl(Task& t, const SyscallArgs& a) {
  const int id = a.Int(0), command = a.Int(2);
  if (id < 0) return Errno::kEINVAL;
  const RefPtr<IpcNamespace> ns = t.ipc();
  switch (command) {
    case IPC_INFO:
    case SEM_INFO:
      return Information(t, *ns, command, a[3]);
    case SEM_STAT:
    case kSemStatAny: {
      const RefPtr<kernel::IpcObject> object = TRY(ns->semaphores.FindIndex(id));
      return Stat(t, *ns, static_cast<SemSet&>(*object), command, a[3]);
    }
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
    case SETVAL:
    case GETALL:
    case SETALL:
    case IPC_STAT:
    case IPC_SET:
    case IPC_RMID: {
      const RefPtr<SemSet> set = TRY(SemSet::Find(*ns, id));
      return OfOne(t, *ns, *set, a.Int(1), command, a[3]);
    }
    default:
      return Errno::kEINVAL;
  }
}

}  // namespace msentry::syscalls
