// Reading, writing, seeking, flushing.
#include <fcntl.h>
#include <linux/fs.h>

#include "sentry/syscalls/calls_io.h"
#include "sentry/syscalls/util.h"
#include "vfs/file_io.h"
#include "vfs/file_system.h"
#include "vfs/operations.h"

namespace msentry::syscalls {
namespace {

// MAX_RW_COUNT: a longer request is cut, not refused. A negative length is huge and meets EFAULT.
Result<mm::IoSequence> BufferArgument(Task& t, uint64_t address, uint64_t length) {
  if (static_cast<int64_t>(length) < 0) return Errno::kEINVAL;
  return mm::IoSequence(t.memory(), address, std::min<uint64_t>(length, abi::kRwMax));
}

void CountCall(std::atomic<uint64_t>& calls) { calls.fetch_add(1, std::memory_order_relaxed); }

Result<int64_t> ReadAt(Task& t, int fd, mm::IoSequence& to, int64_t offset) {
  if (offset < 0) return Errno::kEINVAL;
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  CountCall(t.group().io.read_calls);
  const vfs::OpContext ctx = t.FileContext();
  const size_t n = TRY(vfs::ReadFileAt(ctx, *file, to, offset));
  t.group().io.read_bytes.fetch_add(n, std::memory_order_relaxed);
  return static_cast<int64_t>(n);
}

Result<int64_t> WriteAt(Task& t, int fd, mm::IoSequence& from, int64_t offset) {
  if (offset < 0) return Errno::kEINVAL;
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  CountCall(t.group().io.write_calls);
  const vfs::OpContext ctx = t.FileContext();
  Result<size_t> n = vfs::WriteFileAt(ctx, *file, from, offset);
  if (!n.ok()) {
    if (ctx.fsize_exceeded) {
      (void)t.SendSignal(kernel::UserSignal(SIGXFSZ, SI_USER, t.tgid(), t.creds()->uid));
    }
    return n.error();
  }
  CountWritten(t, *file, *n);
  return static_cast<int64_t>(*n);
}

Result<int64_t> ReadHere(Task& t, int fd, mm::IoSequence& to) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  CountCall(t.group().io.read_calls);
  return ReadBlocking(t, *file, to);
}

Result<int64_t> WriteHere(Task& t, int fd, mm::IoSequence& from) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  CountCall(t.group().io.write_calls);
  return WriteBlocking(t, *file, from);
}

// RWF_* of preadv2 and pwritev2. What cannot be promised is refused, as file systems do.
Result<> CheckRwFlags(FileDescription& file, int flags, bool write) {
  constexpr int kKnown = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;
  if (flags & ~kKnown) return Errno::kEOPNOTSUPP;
  if (flags & RWF_NOWAIT) return Errno::kEOPNOTSUPP;
  if ((flags & RWF_APPEND) && (!write || !(file.flags() & O_APPEND))) return Errno::kEOPNOTSUPP;
  return Ok();
}

Result<int64_t> SyncFile(Task& t, int fd, bool data_only) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  TRY(file->Fsync(t.FileContext(), data_only));
  return 0;
}

}  // namespace

Result<int64_t> SysRead(Task& t, const SyscallArgs& a) {
  mm::IoSequence to = TRY(BufferArgument(t, a[1], a[2]));
  return ReadHere(t, a.Int(0), to);
}

Result<int64_t> SysWrite(Task& t, const SyscallArgs& a) {
  mm::IoSequence from = TRY(BufferArgument(t, a[1], a[2]));
  return WriteHere(t, a.Int(0), from);
}

Result<int64_t> SysPread64(Task& t, const SyscallArgs& a) {
  mm::IoSequence to = TRY(BufferArgument(t, a[1], a[2]));
  return ReadAt(t, a.Int(0), to, a.Long(3));
}

Result<int64_t> SysPwrite64(Task& t, const SyscallArgs& a) {
  mm::IoSequence from = TRY(BufferArgument(t, a[1], a[2]));
  return WriteAt(t, a.Int(0), from, a.Long(3));
}

Result<int64_t> SysReadv(Task& t, const SyscallArgs& a) {
  mm::IoSequence to = TRY(t.memory().CopyInIovec(a[1], a[2]));
  return ReadHere(t, a.Int(0), to);
}

Result<int64_t> SysWritev(Task& t, const SyscallArgs& a) {
  mm::IoSequence from = TRY(t.memory().CopyInIovec(a[1], a[2]));
  return WriteHere(t, a.Int(0), from);
}

// The offset is split in two registers for the sake of 32-bit machines; here the low one has all.
Result<int64_t> SysPreadv(Task& t, const SyscallArgs& a) {
  mm::IoSequence to = TRY(t.memory().CopyInIovec(a[1], a[2]));
  return ReadAt(t, a.Int(0), to, a.Long(3));
}

Result<int64_t> SysPwritev(Task& t, const SyscallArgs& a) {
  mm::IoSequence from = TRY(t.memory().CopyInIovec(a[1], a[2]));
  return WriteAt(t, a.Int(0), from, a.Long(3));
}

Result<int64_t> SysPreadv2(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  TRY(CheckRwFlags(*file, a.Int(5), false));
  mm::IoSequence to = TRY(t.memory().CopyInIovec(a[1], a[2]));
  if (a.Long(3) == -1) return ReadHere(t, a.Int(0), to);
  return ReadAt(t, a.Int(0), to, a.Long(3));
}

Result<int64_t> SysPwritev2(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const int flags = a.Int(5);
  TRY(CheckRwFlags(*file, flags, true));
  mm::IoSequence from = TRY(t.memory().CopyInIovec(a[1], a[2]));
  const int64_t n =
      TRY(a.Long(3) == -1 ? WriteHere(t, a.Int(0), from) : WriteAt(t, a.Int(0), from, a.Long(3)));
  if (n > 0 && (flags & (RWF_DSYNC | RWF_SYNC))) {
    TRY(file->Fsync(t.FileContext(), !(flags & RWF_SYNC)));
  }
  return n;
}

Result<int64_t> SysLseek(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  return file->Seek(t.FileContext(), a.Long(1), a.Int(2));
}

Result<int64_t> SysFsync(Task& t, const SyscallArgs& a) { return SyncFile(t, a.Int(0), false); }
Result<int64_t> SysFdatasync(Task& t, const SyscallArgs& a) { return SyncFile(t, a.Int(0), true); }

Result<int64_t> SysSync(Task& t, const SyscallArgs&) {
  const vfs::Location root = t.fs().root();
  // sync(2) reports no errors.
  (void)root.mount->fs().Sync(t.FileContext());
  return 0;
}

Result<int64_t> SysSyncfs(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  TRY(file->inode().fs().Sync(t.FileContext()));
  return 0;
}

Result<int64_t> SysSyncFileRange(Task& t, const SyscallArgs& a) {
  constexpr uint32_t kKnown =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  if ((a.Uint(3) & ~kKnown) || a.Long(1) < 0 || a.Long(2) < 0) return Errno::kEINVAL;
  const uint32_t type = file->inode().type();
  if (type != S_IFREG && type != S_IFBLK && type != S_IFDIR) return Errno::kESPIPE;
  // Writing back more than asked is allowed; only waiting callers need it.
  if (a.Uint(3) & (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER)) {
    TRY(file->Fsync(t.FileContext(), true));
  }
  return 0;
}

Result<int64_t> SysTruncate(Task& t, const SyscallArgs& a) {
  if (a.Long(1) < 0) return Errno::kEINVAL;
  const std::string path = TRY(CopyInPath(t, a[0]));
  Walk walk(t);
  Result<> result = vfs::Truncate(walk.context, path, a.Long(1));
  if (walk.op.fsize_exceeded) {
    (void)t.SendSignal(kernel::UserSignal(SIGXFSZ, SI_USER, t.tgid(), t.creds()->uid));
  }
  TRY(result);
  return 0;
}

Result<int64_t> SysFtruncate(Task& t, const SyscallArgs& a) {
  if (a.Long(1) < 0) return Errno::kEINVAL;
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const vfs::OpContext ctx = t.FileContext();
  Result<> result = vfs::TruncateFile(ctx, *file, a.Long(1));
  if (ctx.fsize_exceeded) {
    (void)t.SendSignal(kernel::UserSignal(SIGXFSZ, SI_USER, t.tgid(), t.creds()->uid));
  }
  TRY(result);
  return 0;
}

Result<int64_t> SysFallocate(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  if (a.Long(2) < 0 || a.Long(3) <= 0) return Errno::kEINVAL;
  if (a.Long(2) > INT64_MAX - a.Long(3)) return Errno::kEFBIG;
  const vfs::OpContext ctx = t.FileContext();
  TRY(vfs::AllocateFile(ctx, *file, a.Int(1), a[2], a[3]));
  return 0;
}

Result<int64_t> SysFadvise64(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  if (file->inode().type() == S_IFIFO) return Errno::kESPIPE;
  if (a.Long(2) < 0) return Errno::kEINVAL;
  if (a.Int(3) < POSIX_FADV_NORMAL || a.Int(3) > POSIX_FADV_NOREUSE) return Errno::kEINVAL;
  return 0;  // advice: the host's page cache follows the accesses themselves
}

Result<int64_t> SysReadahead(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  if (!file->readable()) return Errno::kEBADF;
  if (!file->inode().IsRegular()) return Errno::kEINVAL;
  return 0;
}

}  // namespace msentry::syscalls
