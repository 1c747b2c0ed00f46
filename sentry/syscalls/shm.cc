// System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <sys/resource.h>
#include <sys/shm.h>

#include "sentry/arch/registers.h"
#include "sentry/kernel/ipc/shm.h"
#include "sentry/syscalls/calls_ipc.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::IpcNamespace;
using kernel::ShmSegment;

constexpr int kShmStatAny = 15;

Result<int64_t> Limits(Task& t, IpcNamespace& ns, uint64_t to) {
  abi::Shminfo64 info{};
  info.shmmax = ns.limits.shmmax;
  info.shmmin = 1;
  info.shmmni = info.shmseg = static_cast<uint64_t>(ns.limits.shmmni.load());
  info.shmall = ns.limits.shmall;
  TRY(t.memory().CopyOut(GuestPtr<abi::Shminfo64>(to), info));
  return ns.segments.last_index();
}

Result<int64_t> Figures(Task& t, IpcNamespace& ns, uint64_t to) {
  abi::ShmInfo info{};
  info.used_ids = ns.segments.count();
  info.shm_tot = ns.shared_pages.load();
  for (const auto& object : ns.segments.All()) {
    info.shm_rss += static_cast<ShmSegment&>(*object).ResidentPages();
  }
  TRY(t.memory().CopyOut(GuestPtr<abi::ShmInfo>(to), info));
  return ns.segments.last_index();
}

Result<int64_t> Stat(Task& t, IpcNamespace& ns, ShmSegment& segment, int command, uint64_t to) {
  abi::Shmid64Ds stat;
  const int key = ns.segments.KeyOf(segment);
  {
    MutexLock lock(segment.mutex());
    if (command != kShmStatAny) TRY(segment.CheckAccess(*t.creds(), 0444));
    TRY(segment.CheckAlive());
    stat = segment.StatLocked();
  }
  stat.perm.key = key;
  TRY(t.memory().CopyOut(GuestPtr<abi::Shmid64Ds>(to), stat));
  return command == IPC_STAT ? 0 : segment.id();
}

Result<int64_t> SetPermissions(Task& t, ShmSegment& segment, uint64_t from) {
  const auto to = TRY(t.memory().CopyIn(GuestPtr<abi::Shmid64Ds>(from)));
  MutexLock lock(segment.mutex());
  TRY(segment.CheckAlive());
  TRY(segment.CheckOwner(*t.creds()));
  TRY(segment.SetOwner(to.perm));
  segment.ctime = kernel::IpcNow();
  return 0;
}

Result<int64_t> SetLocked(Task& t, ShmSegment& segment, bool locked) {
  MutexLock lock(segment.mutex());
  TRY(segment.CheckAlive());
  if (!t.HasCap(auth::Cap::kIpcLock)) {
    // No capability helps but this one: the others must own it, and be allowed to lock something.
    const abi::Ipc64Perm perm = segment.Permissions();
    const uint32_t euid = t.creds()->euid;
    if (euid != perm.uid && euid != perm.cuid) return Errno::kEPERM;
    if (locked && t.group().limits().Soft(RLIMIT_MEMLOCK) == 0) return Errno::kEPERM;
  }
  segment.SetLockedLocked(locked);
  return 0;
}

}  // namespace

Result<int64_t> SysShmget(Task& t, const SyscallArgs& a) {
  return TRY(ShmSegment::Get(t, a.Int(0), a[1], a.Int(2)));
}

Result<int64_t> SysShmat(Task& t, const SyscallArgs& a) {
  return static_cast<int64_t>(TRY(kernel::AttachSegment(t, a.Int(0), a[1], a.Int(2))));
}

Result<int64_t> SysShmdt(Task& t, const SyscallArgs& a) {
  TRY(kernel::DetachSegment(t, a[0]));
  return 0;
}

Result<int64_t> SysShmctl(Task& t, const SyscallArgs& a) {
  const int id = a.Int(0), command = a.Int(1);
  if (id < 0 || command < 0) return Errno::kEINVAL;
  const RefPtr<IpcNamespace> ns = t.ipc();
  RefPtr<kernel::IpcObject> object;
  switch (command) {
    case IPC_INFO:
      return Limits(t, *ns, a[2]);
    case SHM_INFO:
      return Figures(t, *ns, a[2]);
    case SHM_STAT:
    case kShmStatAny:
      object = TRY(ns->segments.FindIndex(id));
      break;
    case IPC_STAT:
    case IPC_SET:
    case IPC_RMID:
    case SHM_LOCK:
    case SHM_UNLOCK:
      object = TRY(ns->segments.Find(id));
      break;
    default:
      return Errno::kEINVAL;
  }
  ShmSegment& segment = static_cast<ShmSegment&>(*object);
  switch (command) {
    case IPC_SET:
      return SetPermissions(t, segment, a[2]);
    case IPC_RMID: {
      {
        MutexLock lock(segment.mutex());
        TRY(segment.CheckAlive());
        TRY(segment.CheckOwner(*t.creds()));
      }
      ShmSegment::Destroy(*ns, segment);
      return 0;
    }
    case SHM_LOCK:
    case SHM_UNLOCK:
      return SetLocked(t, segment, command == SHM_LOCK);
    default:
      return Stat(t, *ns, segment, command, a[2]);
  }
}

}  // namespace msentry::syscalls
