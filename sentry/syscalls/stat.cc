// Attributes of files: stat(2) and its family, access(2), readlink(2), statfs(2).
#include "vfs/operations.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/abi/file.h"
#include "sentry/syscalls/calls_stat.h"
#include "sentry/syscalls/util.h"
#include "vfs/mount.h"
#include "vfs/permissions.h"

namespace msentry::syscalls {
namespace {

abi::Timespec ToAbi(const vfs::Timespec& t) { return {t.sec, t.nsec}; }
abi::StatxTimestamp ToStatx(const vfs::Timespec& t) { return {t.sec, t.nsec, 0}; }

abi::Stat ToStat(const vfs::Attributes& in) {
  abi::Stat out{};
  out.dev = in.dev;
  out.ino = in.ino;
  out.nlink = in.nlink;
  out.mode = in.mode;
  out.uid = in.uid;
  out.gid = in.gid;
  out.rdev = in.rdev;
  out.size = static_cast<int64_t>(in.size);
  out.blksize = in.blksize;
  out.blocks = static_cast<int64_t>(in.blocks);
  out.atime = ToAbi(in.atime);
  out.mtime = ToAbi(in.mtime);
  out.ctime = ToAbi(in.ctime);
  return out;
}

abi::Statx ToStatx(const vfs::Attributes& in) {
  abi::Statx out{};
  out.mask = STATX_BASIC_STATS;
  out.blksize = in.blksize;
  out.nlink = in.nlink;
  out.uid = in.uid;
  out.gid = in.gid;
  out.mode = static_cast<uint16_t>(in.mode);
  out.ino = in.ino;
  out.size = in.size;
  out.blocks = in.blocks;
  out.atime = ToStatx(in.atime);
  out.mtime = ToStatx(in.mtime);
  out.ctime = ToStatx(in.ctime);
  if (in.btime != vfs::Timespec{}) {
    out.mask |= STATX_BTIME;
    out.btime = ToStatx(in.btime);
  }
  out.rdev_major = vfs::DevMajor(in.rdev);
  out.rdev_minor = vfs::DevMinor(in.rdev);
  out.dev_major = vfs::DevMajor(in.dev);
  out.dev_minor = vfs::DevMinor(in.dev);
  return out;
}

// The walk flags of AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.
uint32_t WalkFlags(int at_flags) {
  uint32_t walk = 0;
  if (!(at_flags & AT_SYMLINK_NOFOLLOW)) walk |= vfs::kWalkFollow;
  if (at_flags & AT_EMPTY_PATH) walk |= vfs::kWalkEmptyPath;
  return walk;
}

Result<vfs::Attributes> StatFd(Task& t, int fd) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd, /*path_only_too=*/true));
  return vfs::GetAttr(t.FileContext(), *file);
}

Result<vfs::Attributes> StatPath(Task& t, int dirfd, uint64_t path_address, int at_flags) {
  const std::string path = TRY(CopyInPath(t, path_address));
  // An open file may know more than its inode's path does (pipes, sockets).
  if (path.empty() && (at_flags & AT_EMPTY_PATH) && dirfd != AT_FDCWD) return StatFd(t, dirfd);
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  return vfs::Stat(walk.context, path, WalkFlags(at_flags));
}

Result<int64_t> StatTo(Task& t, uint64_t to, const Result<vfs::Attributes>& attributes) {
  TRY(t.memory().CopyOut(GuestPtr<abi::Stat>(to), ToStat(TRY(attributes))));
  return 0;
}

abi::Statfs ToStatfs(const vfs::StatFs& in) {
  abi::Statfs out{};
  out.type = static_cast<int64_t>(in.type);
  out.bsize = out.frsize = static_cast<int64_t>(in.block_size);
  out.blocks = in.blocks;
  out.bfree = in.blocks_free;
  out.bavail = in.blocks_available;
  out.files = in.files;
  out.ffree = in.files_free;
  out.fsid[0] = static_cast<int32_t>(in.fsid);
  out.fsid[1] = static_cast<int32_t>(in.fsid >> 32);
  out.namelen = static_cast<int64_t>(in.name_length);
  constexpr int64_t kValid = 0x20;  // ST_VALID: f_flags is filled in
  out.flags = static_cast<int64_t>(in.flags) | kValid;
  return out;
}

// access(2) checks with the real ids: a copy of the credentials as if they were the effective ones.
auth::CredsRef RealCredentials(const auth::CredsRef& creds) {
  const bool root_fixup = !(creds->securebits & (1 << 2));  // SECBIT_NO_SETUID_FIXUP
  const auth::CapSet effective = !root_fixup       ? creds->effective
                                 : creds->uid == 0 ? creds->permitted
                                                   : 0;
  if (creds->fsuid == creds->uid && creds->fsgid == creds->gid && creds->effective == effective) {
    return creds;
  }
  RefPtr<auth::Credentials> real = creds->Clone();
  real->fsuid = real->uid;
  real->fsgid = real->gid;
  real->effective = effective;
  return real;
}

Result<int64_t> AccessPath(Task& t, int dirfd, uint64_t path_address, int mode, int at_flags) {
  if (mode & ~(R_OK | W_OK | X_OK)) return Errno::kEINVAL;
  if (at_flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Errno::kEINVAL;
  const std::string path = TRY(CopyInPath(t, path_address));
  const auth::CredsRef creds = t.creds();
  const auth::CredsRef checked = at_flags & AT_EACCESS ? creds : RealCredentials(creds);
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  vfs::OpContext op(walk.op.vfs, *checked);
  op.umask = walk.op.umask;
  op.tgid = walk.op.tgid;
  op.tid = walk.op.tid;
  op.task = walk.op.task;
  const vfs::WalkContext context{op, walk.root, walk.start};
  // R_OK, W_OK and X_OK are the permission bits' own values.
  TRY(vfs::Access(context, path, mode, WalkFlags(at_flags)));
  return 0;
}

Result<int64_t> ReadLinkAt(Task& t, int dirfd, uint64_t path_address, uint64_t buffer, int size) {
  if (size <= 0) return Errno::kEINVAL;
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  // readlinkat(fd, "") reads the link that fd (O_PATH | O_NOFOLLOW) is.
  std::string target = TRY(vfs::ReadLink(walk.context, path, vfs::kWalkEmptyPath));
  if (target.size() > static_cast<size_t>(size)) target.resize(size);
  TRY(t.memory().CopyOutBytes(buffer, std::as_bytes(std::span(target))));
  return static_cast<int64_t>(target.size());
}

}  // namespace

Result<int64_t> SysStat(Task& t, const SyscallArgs& a) {
  return StatTo(t, a[1], StatPath(t, AT_FDCWD, a[0], 0));
}

Result<int64_t> SysLstat(Task& t, const SyscallArgs& a) {
  return StatTo(t, a[1], StatPath(t, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW));
}

Result<int64_t> SysFstat(Task& t, const SyscallArgs& a) {
  return StatTo(t, a[1], StatFd(t, a.Int(0)));
}

Result<int64_t> SysNewfstatat(Task& t, const SyscallArgs& a) {
  constexpr int kKnown = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
  if (a.Int(3) & ~kKnown) return Errno::kEINVAL;
  return StatTo(t, a[2], StatPath(t, a.Int(0), a[1], a.Int(3)));
}

Result<int64_t> SysStatx(Task& t, const SyscallArgs& a) {
  constexpr int kSyncType = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
  constexpr int kKnown = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | kSyncType;
  constexpr uint32_t kReserved = 0x80000000;  // STATX__RESERVED
  const int flags = a.Int(2);
  if ((flags & ~kKnown) || (flags & kSyncType) == kSyncType) return Errno::kEINVAL;
  if (a.Uint(3) & kReserved) return Errno::kEINVAL;
  const vfs::Attributes attributes = TRY(StatPath(t, a.Int(0), a[1], flags));
  TRY(t.memory().CopyOut(GuestPtr<abi::Statx>(a[4]), ToStatx(attributes)));
  return 0;
}

Result<int64_t> SysStatfs(Task& t, const SyscallArgs& a) {
  const std::string path = TRY(CopyInPath(t, a[0]));
  Walk walk(t);
  const vfs::Location at = TRY(vfs::PathWalker(walk.context, vfs::kWalkFollow).Resolve(path));
  const vfs::StatFs stat = TRY(vfs::GetStatFs(walk.op, at));
  TRY(t.memory().CopyOut(GuestPtr<abi::Statfs>(a[1]), ToStatfs(stat)));
  return 0;
}

Result<int64_t> SysFstatfs(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0), /*path_only_too=*/true));
  const vfs::StatFs stat = TRY(vfs::GetStatFs(t.FileContext(), file->location()));
  TRY(t.memory().CopyOut(GuestPtr<abi::Statfs>(a[1]), ToStatfs(stat)));
  return 0;
}

Result<int64_t> SysAccess(Task& t, const SyscallArgs& a) {
  return AccessPath(t, AT_FDCWD, a[0], a.Int(1), 0);
}
Result<int64_t> SysFaccessat(Task& t, const SyscallArgs& a) {
  return AccessPath(t, a.Int(0), a[1], a.Int(2), 0);
}
Result<int64_t> SysFaccessat2(Task& t, const SyscallArgs& a) {
  return AccessPath(t, a.Int(0), a[1], a.Int(2), a.Int(3));
}

Result<int64_t> SysReadlink(Task& t, const SyscallArgs& a) {
  return ReadLinkAt(t, AT_FDCWD, a[0], a[1], a.Int(2));
}
Result<int64_t> SysReadlinkat(Task& t, const SyscallArgs& a) {
  return ReadLinkAt(t, a.Int(0), a[1], a[2], a.Int(3));
}

}  // namespace msentry::syscalls
