// Opening and closing: open(2), openat2(2), close(2), close_range(2).
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include "fsimpl/pipefs/pipe_file.h"
#include "sentry/syscalls/calls_fd.h"
#include "sentry/syscalls/util.h"
#include "vfs/file_io.h"
#include "vfs/operations.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

namespace msentry::syscalls {
namespace {

constexpr int kTmpfile = vfs::kOTmpfileBit;
// Flags that open(2) knows; it ignores others, openat2(2) refuses them.
constexpr uint64_t kKnownFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                                 O_NONBLOCK | O_SYNC | O_DSYNC | O_ASYNC | O_DIRECT |
                                 vfs::kOLargeFile | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
                                 O_CLOEXEC | O_PATH | O_TMPFILE;
constexpr uint64_t kPathFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// A FIFO opened for one direction waits for the other (fifo(7)); nothing else waits in open(2).
Result<> WaitForPeer(Task& t, FileDescription& file) {
  auto* fifo = vfs::FileCast<pipefs::PipeFile>(file);
  if (fifo == nullptr || fifo->is_nonblocking()) return Ok();
  return t.BlockOn(fifo->wait_queue(), sched::kAllEvents, sched::kNever, [&]() -> Result<> {
    if (fifo->HasPeer()) return Ok();
    return Errno::kEAGAIN;
  });
}

Result<int64_t> OpenPath(Task& t, int dirfd, uint64_t path_address, const vfs::OpenHow& how) {
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  RefPtr<FileDescription> file = TRY(vfs::Open(walk.context, path, how));
  if (file->inode().type() == S_IFIFO) [[unlikely]]
    TRY(WaitForPeer(t, *file));
  return TRY(t.InstallFile(std::move(file), how.flags & O_CLOEXEC));
}

// open(2) and openat(2): what is not known is dropped, O_PATH keeps only its companions.
vfs::OpenHow ForgivingHow(uint64_t flags, uint32_t mode) {
  flags &= kKnownFlags;
  if (flags & O_PATH) {
    flags &= kPathFlags;
  } else {
    flags |= vfs::kOLargeFile;
  }
  return {.flags = static_cast<int>(flags), .mode = mode & vfs::kModeBits};
}

// CLOSE_RANGE_CLOEXEC and close(2) share what happens to a removed file.
Result<int64_t> CloseOne(Task& t, int fd) {
  TRY(t.CloseFile(TRY(t.fd_table().Remove(fd))));
  return 0;
}

}  // namespace

Result<int64_t> SysOpen(Task& t, const SyscallArgs& a) {
  return OpenPath(t, AT_FDCWD, a[0], ForgivingHow(a.Uint(1), a.Uint(2)));
}

Result<int64_t> SysOpenat(Task& t, const SyscallArgs& a) {
  return OpenPath(t, a.Int(0), a[1], ForgivingHow(a.Uint(2), a.Uint(3)));
}

Result<int64_t> SysCreat(Task& t, const SyscallArgs& a) {
  return OpenPath(t, AT_FDCWD, a[0], ForgivingHow(O_CREAT | O_WRONLY | O_TRUNC, a.Uint(1)));
}

Result<int64_t> SysOpenat2(Task& t, const SyscallArgs& a) {
  if (a[3] < abi::kOpenHowSizeVer0) return Errno::kEINVAL;
  if (a[3] > 4096) return Errno::kE2BIG;
  const auto how = TRY(t.memory().CopyInVersioned(GuestPtr<abi::OpenHow>(a[2]), a[3]));
  if (how.flags & ~kKnownFlags) return Errno::kEINVAL;
  const bool creates = how.flags & (O_CREAT | kTmpfile);
  if (how.mode & ~uint64_t{vfs::kModeBits} || (how.mode != 0 && !creates)) return Errno::kEINVAL;
  if ((how.flags & O_PATH) && (how.flags & ~kPathFlags)) return Errno::kEINVAL;
  if ((how.resolve & RESOLVE_CACHED) && (how.flags & (O_TRUNC | O_CREAT | kTmpfile))) {
    return Errno::kEAGAIN;
  }
  vfs::OpenHow open{.flags = static_cast<int>(how.flags), .mode = static_cast<uint32_t>(how.mode)};
  open.walk = TRY(vfs::WalkFlagsOfResolve(how.resolve));
  if (!(how.flags & O_PATH)) open.flags |= vfs::kOLargeFile;
  return OpenPath(t, a.Int(0), a[1], open);
}

Result<int64_t> SysClose(Task& t, const SyscallArgs& a) {
  Result<int64_t> result = CloseOne(t, a.Int(0));
  // The descriptor is gone whatever the flush said: a restart would close somebody else's.
  if (!result.ok() && result.error() >= Errno::kERESTARTSYS) return Errno::kEINTR;
  return result;
}

Result<int64_t> SysCloseRange(Task& t, const SyscallArgs& a) {
  const uint32_t first = a.Uint(0), last = a.Uint(1), flags = a.Uint(2);
  if (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) return Errno::kEINVAL;
  if (first > last) return Errno::kEINVAL;
  if (flags & CLOSE_RANGE_UNSHARE) t.UnshareFdTable();
  t.fd_table().CloseRange(
      first, last, flags & CLOSE_RANGE_CLOEXEC,
      [&](RefPtr<FileDescription> file) { (void)t.CloseFile(std::move(file)); });
  return 0;
}

Result<int64_t> SysDup(Task& t, const SyscallArgs& a) {
  return TRY(t.InstallFile(TRY(t.GetFile(a.Int(0), /*path_only_too=*/true)), false));
}

namespace {

Result<int64_t> DupTo(Task& t, int from, int to, bool close_on_exec) {
  RefPtr<FileDescription> file = TRY(t.GetFile(from, /*path_only_too=*/true));
  RefPtr<FileDescription> old = TRY(t.fd_table().Replace(to, std::move(file), close_on_exec,
                                                         t.group().limits().Soft(RLIMIT_NOFILE)));
  // It is closed as close(2) would, but its errors are nobody's.
  if (old) (void)t.CloseFile(std::move(old));
  return to;
}

}  // namespace

Result<int64_t> SysDup2(Task& t, const SyscallArgs& a) {
  if (a.Int(0) == a.Int(1)) {
    TRY(t.GetFile(a.Int(0), /*path_only_too=*/true));
    return a.Int(1);
  }
  return DupTo(t, a.Int(0), a.Int(1), false);
}

Result<int64_t> SysDup3(Task& t, const SyscallArgs& a) {
  if (a.Int(2) & ~O_CLOEXEC) return Errno::kEINVAL;
  if (a.Int(0) == a.Int(1)) return Errno::kEINVAL;
  return DupTo(t, a.Int(0), a.Int(1), a.Int(2) & O_CLOEXEC);
}

}  // namespace msentry::syscalls
