// fcntl(2), ioctl(2), flock(2).
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "fsimpl/devpts/devpts.h"
#include "fsimpl/pipefs/pipe_file.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/abi/file.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_fd.h"
#include "sentry/syscalls/util.h"
#include "vfs/locks.h"
#include "vfs/operations.h"

namespace msentry::syscalls {
namespace {

// ---- record locks ----

// struct flock as a range of the file. EINVAL, EOVERFLOW.
Result<vfs::RecordLock> DecodeLock(Task& t, FileDescription& file, const abi::Flock& in) {
  int64_t base = 0;
  switch (in.whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = file.position();
      break;
    case SEEK_END:
      base = static_cast<int64_t>(TRY(vfs::GetAttr(t.FileContext(), file)).size);
      break;
    default:
      return Errno::kEINVAL;
  }
  int64_t start, end;
  if (__builtin_add_overflow(base, in.start, &start)) return Errno::kEOVERFLOW;
  if (start < 0) return Errno::kEINVAL;
  vfs::RecordLock lock;
  if (in.len == 0) {
    lock.end = UINT64_MAX;
  } else if (in.len > 0) {
    if (__builtin_add_overflow(start, in.len - 1, &end)) return Errno::kEOVERFLOW;
    lock.end = static_cast<uint64_t>(end) + 1;
  } else {  // a negative length counts backwards from the start
    lock.end = static_cast<uint64_t>(start);
    if (__builtin_add_overflow(start, in.len, &start) || start < 0) return Errno::kEINVAL;
  }
  lock.start = static_cast<uint64_t>(start);
  switch (in.type) {
    case F_RDLCK:
      lock.type = vfs::LockType::kRead;
      return lock;
    case F_WRLCK:
      lock.type = vfs::LockType::kWrite;
      return lock;
    case F_UNLCK:
      lock.type = vfs::LockType::kUnlock;
      return lock;
  }
  return Errno::kEINVAL;
}

vfs::LockOwner OwnerOf(Task& t, FileDescription& file, bool ofd) {
  if (ofd) return {&file, -1};
  return {&t.fd_table(), t.tgid()};
}

Result<int64_t> GetLock(Task& t, FileDescription& file, uint64_t address, bool ofd) {
  auto flock = TRY(t.memory().CopyIn(GuestPtr<abi::Flock>(address)));
  if (ofd && flock.pid != 0) return Errno::kEINVAL;
  if (flock.type != F_RDLCK && flock.type != F_WRLCK) return Errno::kEINVAL;
  vfs::RecordLock lock = TRY(DecodeLock(t, file, flock));
  lock.owner = OwnerOf(t, file, ofd);
  const vfs::RecordLock found = file.inode().locks().TestRecord(lock);
  if (found.type == vfs::LockType::kUnlock) {
    flock.type = F_UNLCK;
  } else {
    flock.type = found.type == vfs::LockType::kRead ? F_RDLCK : F_WRLCK;
    flock.whence = SEEK_SET;
    flock.start = static_cast<int64_t>(found.start);
    flock.len = found.end == UINT64_MAX ? 0 : static_cast<int64_t>(found.end - found.start);
    flock.pid = found.owner.pid;
  }
  TRY(t.memory().CopyOut(GuestPtr<abi::Flock>(address), flock));
  return 0;
}

Result<int64_t> SetLock(Task& t, FileDescription& file, uint64_t address, bool ofd, bool wait) {
  const auto flock = TRY(t.memory().CopyIn(GuestPtr<abi::Flock>(address)));
  if (ofd && flock.pid != 0) return Errno::kEINVAL;
  vfs::RecordLock lock = TRY(DecodeLock(t, file, flock));
  lock.owner = OwnerOf(t, file, ofd);
  if (lock.type == vfs::LockType::kRead && !file.readable()) return Errno::kEBADF;
  if (lock.type == vfs::LockType::kWrite && !file.writable()) return Errno::kEBADF;
  vfs::FileLocks& locks = file.inode().locks();
  Result<> result = locks.SetRecord(lock);
  if (result.ok() || result.error() != Errno::kEAGAIN || !wait) {
    TRY(result);
    return 0;
  }
  result = t.BlockOn(locks.wait_queue(), sched::kAllEvents, sched::kNever, [&]() -> Result<> {
    Result<> attempt = locks.SetRecord(lock);
    // Whoever waits is on record, so that the next in a circle can see it.
    if (!attempt.ok() && attempt.error() == Errno::kEAGAIN && !ofd) TRY(locks.BlockedOn(lock));
    return attempt;
  });
  if (!ofd) vfs::FileLocks::Unblocked(lock.owner);
  TRY(result);
  return 0;
}

// ---- owner ----

Result<int64_t> SetOwner(Task& t, FileDescription& file, vfs::AsyncOwner::Type type, int id) {
  if (id != 0) {
    // The id must name something; who may be signalled is decided when the signal is sent.
    const bool known = type == vfs::AsyncOwner::kThread    ? bool(t.kernel().FindTask(id))
                       : type == vfs::AsyncOwner::kProcess ? bool(t.kernel().FindThreadGroup(id))
                                                           : true;
    if (!known) return Errno::kESRCH;
  } else {
    type = vfs::AsyncOwner::kNobody;
  }
  vfs::AsyncOwner owner = file.async_owner();
  owner.type = type;
  owner.id = id;
  owner.uid = t.creds()->uid;
  owner.euid = t.creds()->euid;
  file.SetAsyncOwner(owner);
  return 0;
}

Result<int64_t> SetOwnerEx(Task& t, FileDescription& file, uint64_t address) {
  const auto in = TRY(t.memory().CopyIn(GuestPtr<abi::FOwnerEx>(address)));
  switch (in.type) {
    case F_OWNER_TID:
      return SetOwner(t, file, vfs::AsyncOwner::kThread, in.pid);
    case F_OWNER_PID:
      return SetOwner(t, file, vfs::AsyncOwner::kProcess, in.pid);
    case F_OWNER_PGRP:
      return SetOwner(t, file, vfs::AsyncOwner::kProcessGroup, in.pid);
  }
  return Errno::kEINVAL;
}

Result<int64_t> GetOwnerEx(Task& t, FileDescription& file, uint64_t address) {
  const vfs::AsyncOwner owner = file.async_owner();
  abi::FOwnerEx out{F_OWNER_PID, owner.id};
  if (owner.type == vfs::AsyncOwner::kThread) out.type = F_OWNER_TID;
  if (owner.type == vfs::AsyncOwner::kProcessGroup) out.type = F_OWNER_PGRP;
  TRY(t.memory().CopyOut(GuestPtr<abi::FOwnerEx>(address), out));
  return 0;
}

// ---- the rest ----

Result<int64_t> DupFrom(Task& t, RefPtr<FileDescription> file, int lowest, bool close_on_exec) {
  if (lowest < 0) return Errno::kEINVAL;
  return TRY(
      t.fd_table().Install(std::move(file), {.close_on_exec = close_on_exec,
                                             .lowest = lowest,
                                             .limit = t.group().limits().Soft(RLIMIT_NOFILE)}));
}

Result<int64_t> PipeSize(Task& t, FileDescription& file, int command, uint64_t argument) {
  auto* pipe = vfs::FileCast<pipefs::PipeFile>(file);
  if (pipe == nullptr) return Errno::kEBADF;
  if (command == F_GETPIPE_SZ) return static_cast<int64_t>(pipe->pipe().capacity());
  const size_t size = static_cast<uint32_t>(argument);
  if (size == 0) return Errno::kEINVAL;
  return static_cast<int64_t>(
      TRY(pipe->pipe().SetCapacity(size, t.HasCap(auth::Cap::kSysResource))));
}

Result<int64_t> Fcntl(Task& t, RefPtr<FileDescription> file, int fd, int command,
                      uint64_t argument) {
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return DupFrom(t, std::move(file), static_cast<int>(argument), command == F_DUPFD_CLOEXEC);
    case F_GETFD:
      return TRY(t.fd_table().CloseOnExec(fd)) ? FD_CLOEXEC : 0;
    case F_SETFD:
      TRY(t.fd_table().SetCloseOnExec(fd, argument & FD_CLOEXEC));
      return 0;
    case F_GETFL:
      return file->flags();
  }
  if (file->is_path_only()) return Errno::kEBADF;
  switch (command) {
    case F_SETFL:
      TRY(file->SetStatusFlags(t.FileContext(), static_cast<int>(argument)));
      return 0;
    case F_GETLK:
      return GetLock(t, *file, argument, false);
    case F_SETLK:
      return SetLock(t, *file, argument, false, false);
    case F_SETLKW:
      return SetLock(t, *file, argument, false, true);
    case F_OFD_GETLK:
      return GetLock(t, *file, argument, true);
    case F_OFD_SETLK:
      return SetLock(t, *file, argument, true, false);
    case F_OFD_SETLKW:
      return SetLock(t, *file, argument, true, true);
    case F_SETOWN: {
      const int id = static_cast<int>(argument);
      if (id == INT32_MIN) return Errno::kEINVAL;
      return SetOwner(t, *file, id < 0 ? vfs::AsyncOwner::kProcessGroup : vfs::AsyncOwner::kProcess,
                      id < 0 ? -id : id);
    }
    case F_GETOWN: {
      const vfs::AsyncOwner owner = file->async_owner();
      return owner.type == vfs::AsyncOwner::kProcessGroup ? -owner.id : owner.id;
    }
    case F_SETOWN_EX:
      return SetOwnerEx(t, *file, argument);
    case F_GETOWN_EX:
      return GetOwnerEx(t, *file, argument);
    case F_SETSIG: {
      if (argument > kernel::kMaxSignal) return Errno::kEINVAL;
      vfs::AsyncOwner owner = file->async_owner();
      owner.signal = static_cast<int>(argument);
      file->SetAsyncOwner(owner);
      return 0;
    }
    case F_GETSIG:
      return file->async_owner().signal;
    case F_GETLEASE:
      return F_UNLCK;
    case F_SETLEASE:  // as a file system without lease support answers
      return static_cast<int>(argument) == F_UNLCK ? Errno::kEAGAIN : Errno::kEINVAL;
    case F_GET_SEALS:
      return static_cast<int64_t>(TRY(tmpfs::GetSeals(*file)));
    case F_ADD_SEALS:
      TRY(tmpfs::AddSeals(*file, static_cast<uint32_t>(argument)));
      return 0;
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ:
      return PipeSize(t, *file, command, argument);
  }
  return Errno::kEINVAL;
}

Result<int64_t> BytesToRead(Task& t, FileDescription& file, uint64_t argument) {
  const auto attributes = TRY(vfs::GetAttr(t.FileContext(), file));
  const int64_t left = static_cast<int64_t>(attributes.size) - file.position();
  TRY(t.memory().CopyOut(GuestPtr<int32_t>(argument), static_cast<int32_t>(left)));
  return 0;
}

Result<int64_t> SetFlag(Task& t, FileDescription& file, uint64_t argument, int flag) {
  const int on = TRY(t.memory().CopyIn(GuestPtr<int32_t>(argument)));
  TRY(file.SetStatusFlags(t.FileContext(), on ? file.flags() | flag : file.flags() & ~flag));
  return 0;
}

}  // namespace

Result<int64_t> SysFcntl(Task& t, const SyscallArgs& a) {
  return Fcntl(t, TRY(t.GetFile(a.Int(0), /*path_only_too=*/true)), a.Int(0), a.Int(1), a[2]);
}

Result<int64_t> SysIoctl(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const uint32_t command = a.Uint(1);
  switch (command) {
    case FIOCLEX:
    case FIONCLEX:
      TRY(t.fd_table().SetCloseOnExec(a.Int(0), command == FIOCLEX));
      return 0;
    case FIONBIO:
      return SetFlag(t, *file, a[2], O_NONBLOCK);
    case FIOASYNC:
      return SetFlag(t, *file, a[2], O_ASYNC);
    case FIONREAD:
      if (file->inode().IsRegular()) return BytesToRead(t, *file, a[2]);
      break;
    case TIOCGPTPEER: {
      auto* master = vfs::FileCast<devpts::MasterFile>(*file);
      if (master == nullptr) return Errno::kENOTTY;
      return TRY(t.InstallFile(TRY(master->OpenPeer(t.FileContext(), static_cast<int>(a[2]))),
                               a[2] & O_CLOEXEC));
    }
    case FIGETBSZ: {
      const auto attributes = TRY(vfs::GetAttr(t.FileContext(), *file));
      TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[2]), static_cast<int32_t>(attributes.blksize)));
      return 0;
    }
  }
  TaskMemory memory(t);
  return file->Ioctl(t.FileContext(), command, a[2], memory);
}

Result<int64_t> SysFlock(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  vfs::LockType type;
  switch (a.Int(1) & ~LOCK_NB) {
    case LOCK_SH:
      type = vfs::LockType::kRead;
      break;
    case LOCK_EX:
      type = vfs::LockType::kWrite;
      break;
    case LOCK_UN:
      type = vfs::LockType::kUnlock;
      break;
    default:
      return Errno::kEINVAL;
  }
  vfs::FileLocks& locks = file->inode().locks();
  const vfs::LockOwner owner{file.get(), t.tgid()};
  Result<> result = locks.Flock(owner, type);
  if (!result.ok() && result.error() == Errno::kEAGAIN && !(a.Int(1) & LOCK_NB)) {
    result = t.BlockOn(locks.wait_queue(), sched::kAllEvents, sched::kNever,
                       [&] { return locks.Flock(owner, type); });
  }
  TRY(result);
  return 0;
}

Result<int64_t> SysMemfdCreate(Task& t, const SyscallArgs& a) {
  constexpr size_t kMaxName = 249;  // NAME_MAX without "memfd:"
  const uint32_t flags = a.Uint(1);
  if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING)) return Errno::kEINVAL;
  Result<std::string> name = t.memory().CopyInString(GuestPtr<char>(a[0]), kMaxName + 1);
  if (!name.ok()) {
    return name.error() == Errno::kENAMETOOLONG ? Errno::kEINVAL : name.error();
  }
  // One file system that is never mounted holds them all, as Linux's shm_mnt.
  static vfs::FileSystem* shm = MUST(tmpfs::Create({})).Release();
  return TRY(t.InstallFile(
      TRY(tmpfs::CreateMemfd(t.FileContext(), *shm, *name, flags & MFD_ALLOW_SEALING)),
      flags & MFD_CLOEXEC));
}

Result<int64_t> SysNameToHandleAt(Task&, const SyscallArgs&) { return Errno::kEOPNOTSUPP; }

}  // namespace msentry::syscalls
