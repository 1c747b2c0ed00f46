// Directories and names.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "sentry/abi/file.h"
#include "sentry/syscalls/calls_path.h"
#include "sentry/syscalls/util.h"
#include "vfs/file_io.h"
#include "vfs/mount_namespace.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::syscalls {
namespace {

// Directory entries are packed here and copied out once; a longer request is cut, as Linux may.
constexpr size_t kMaxDirentBuffer = 32768;

constexpr size_t AlignUp8(size_t n) { return (n + 7) & ~size_t{7}; }

// One record of getdents64(2) at `to`.
void PackDirent64(std::byte* to, size_t length, const vfs::Dirent& entry) {
  const abi::Dirent64Header header{entry.ino, entry.next, static_cast<uint16_t>(length),
                                   entry.type};
  std::memset(to, 0, length);
  std::memcpy(to, &header, abi::kDirent64NameOffset);
  std::memcpy(to + abi::kDirent64NameOffset, entry.name.data(), entry.name.size());
}

// One record of getdents(2): the type is the last byte.
void PackDirent(std::byte* to, size_t length, const vfs::Dirent& entry) {
  std::memset(to, 0, length);
  const uint16_t reclen = static_cast<uint16_t>(length);
  std::memcpy(to, &entry.ino, 8);
  std::memcpy(to + 8, &entry.next, 8);
  std::memcpy(to + 16, &reclen, 2);
  std::memcpy(to + abi::kDirentNameOffset, entry.name.data(), entry.name.size());
  to[length - 1] = std::byte{entry.type};
}

Result<int64_t> GetDents(Task& t, const SyscallArgs& a, bool wide) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const size_t size = std::min<size_t>(a.Uint(2), kMaxDirentBuffer);
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  size_t used = 0;
  bool too_small = false;
  const vfs::OpContext ctx = t.FileContext();
  Result<> result = vfs::ReadDirectory(ctx, *file, [&](const vfs::Dirent& entry) {
    const size_t length = wide ? AlignUp8(abi::kDirent64NameOffset + entry.name.size() + 1)
                               : AlignUp8(abi::kDirentNameOffset + entry.name.size() + 2);
    if (used + length > size) {
      too_small = used == 0;
      return false;
    }
    (wide ? PackDirent64 : PackDirent)(buffer.get() + used, length, entry);
    used += length;
    return true;
  });
  if (used == 0) {
    TRY(result);
    if (too_small) return Errno::kEINVAL;
  }
  TRY(t.memory().CopyOutBytes(a[1], {buffer.get(), used}));
  return static_cast<int64_t>(used);
}

Result<int64_t> MkdirAt(Task& t, int dirfd, uint64_t path_address, uint32_t mode) {
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  TRY(vfs::Mkdir(walk.context, path, mode & vfs::kModeBits));
  return 0;
}

Result<int64_t> MknodAt(Task& t, int dirfd, uint64_t path_address, uint32_t mode, uint32_t dev) {
  const std::string path = TRY(CopyInPath(t, path_address));
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      dev = 0;
      break;
    case S_IFCHR:
    case S_IFBLK:
      if (!t.HasCap(auth::Cap::kMknod)) return Errno::kEPERM;
      break;
    case S_IFDIR:
      return Errno::kEPERM;
    default:
      return Errno::kEINVAL;
  }
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  TRY(vfs::Mknod(walk.context, path, mode & (S_IFMT | vfs::kModeBits), dev));
  return 0;
}

Result<int64_t> UnlinkAt(Task& t, int dirfd, uint64_t path_address, bool directory) {
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  TRY(directory ? vfs::Rmdir(walk.context, path) : vfs::Unlink(walk.context, path));
  return 0;
}

Result<int64_t> SymlinkAt(Task& t, uint64_t target_address, int dirfd, uint64_t path_address) {
  const std::string target = TRY(CopyInPath(t, target_address));
  const std::string path = TRY(CopyInPath(t, path_address));
  if (target.empty()) return Errno::kENOENT;
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  TRY(vfs::Symlink(walk.context, target, path));
  return 0;
}

Result<int64_t> LinkAt(Task& t, int from_fd, uint64_t from_address, int to_fd, uint64_t to_address,
                       int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Errno::kEINVAL;
  if ((flags & AT_EMPTY_PATH) && !t.HasCap(auth::Cap::kDacReadSearch)) return Errno::kENOENT;
  const std::string from_path = TRY(CopyInPath(t, from_address));
  const std::string to_path = TRY(CopyInPath(t, to_address));
  Walk from(t), to(t);
  TRY(from.StartAt(t, from_fd, from_path));
  TRY(to.StartAt(t, to_fd, to_path));
  const uint32_t walk = (flags & AT_SYMLINK_FOLLOW ? vfs::kWalkFollow : 0u) |
                        (flags & AT_EMPTY_PATH ? vfs::kWalkEmptyPath : 0u);
  TRY(vfs::Link(from.context, from_path, walk, to.context, to_path));
  return 0;
}

Result<int64_t> RenameAt(Task& t, int from_fd, uint64_t from_address, int to_fd,
                         uint64_t to_address, uint32_t flags) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) return Errno::kEINVAL;
  if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) {
    return Errno::kEINVAL;
  }
  if ((flags & RENAME_WHITEOUT) && !t.HasCap(auth::Cap::kMknod)) return Errno::kEPERM;
  const std::string from_path = TRY(CopyInPath(t, from_address));
  const std::string to_path = TRY(CopyInPath(t, to_address));
  Walk from(t), to(t);
  TRY(from.StartAt(t, from_fd, from_path));
  TRY(to.StartAt(t, to_fd, to_path));
  TRY(vfs::Rename(from.context, from_path, to.context, to_path, flags));
  return 0;
}

}  // namespace

Result<int64_t> SysGetdents(Task& t, const SyscallArgs& a) { return GetDents(t, a, false); }
Result<int64_t> SysGetdents64(Task& t, const SyscallArgs& a) { return GetDents(t, a, true); }

Result<int64_t> SysGetcwd(Task& t, const SyscallArgs& a) {
  const std::string path = TRY(vfs::PathForGetcwd(t.fs().cwd(), t.fs().root()));
  if (path.size() + 1 > a[1]) return Errno::kERANGE;
  // With its NUL, which the result counts.
  TRY(t.memory().CopyOutBytes(a[0], std::as_bytes(std::span(path.c_str(), path.size() + 1))));
  return static_cast<int64_t>(path.size() + 1);
}

Result<int64_t> SysChdir(Task& t, const SyscallArgs& a) {
  const std::string path = TRY(CopyInPath(t, a[0]));
  Walk walk(t);
  t.fs().set_cwd(TRY(vfs::ResolveDirectory(walk.context, path)));
  return 0;
}

Result<int64_t> SysFchdir(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0), /*path_only_too=*/true));
  if (!file->inode().IsDir()) return Errno::kENOTDIR;
  TRY(vfs::CheckAccess(t.FileContext(), file->inode(), vfs::kMayExec));
  t.fs().set_cwd(file->location());
  return 0;
}

Result<int64_t> SysChroot(Task& t, const SyscallArgs& a) {
  const std::string path = TRY(CopyInPath(t, a[0]));
  Walk walk(t);
  vfs::Location root = TRY(vfs::ResolveDirectory(walk.context, path));
  if (!t.HasCap(auth::Cap::kSysChroot)) return Errno::kEPERM;
  t.fs().set_root(std::move(root));
  return 0;
}

Result<int64_t> SysUmask(Task& t, const SyscallArgs& a) {
  return t.fs().set_umask(a.Uint(0) & 0777);
}

Result<int64_t> SysMkdir(Task& t, const SyscallArgs& a) {
  return MkdirAt(t, AT_FDCWD, a[0], a.Uint(1));
}
Result<int64_t> SysMkdirat(Task& t, const SyscallArgs& a) {
  return MkdirAt(t, a.Int(0), a[1], a.Uint(2));
}
Result<int64_t> SysMknod(Task& t, const SyscallArgs& a) {
  return MknodAt(t, AT_FDCWD, a[0], a.Uint(1), a.Uint(2));
}
Result<int64_t> SysMknodat(Task& t, const SyscallArgs& a) {
  return MknodAt(t, a.Int(0), a[1], a.Uint(2), a.Uint(3));
}
Result<int64_t> SysRmdir(Task& t, const SyscallArgs& a) {
  return UnlinkAt(t, AT_FDCWD, a[0], true);
}
Result<int64_t> SysUnlink(Task& t, const SyscallArgs& a) {
  return UnlinkAt(t, AT_FDCWD, a[0], false);
}
Result<int64_t> SysUnlinkat(Task& t, const SyscallArgs& a) {
  if (a.Int(2) & ~AT_REMOVEDIR) return Errno::kEINVAL;
  return UnlinkAt(t, a.Int(0), a[1], a.Int(2) & AT_REMOVEDIR);
}
Result<int64_t> SysSymlink(Task& t, const SyscallArgs& a) {
  return SymlinkAt(t, a[0], AT_FDCWD, a[1]);
}
Result<int64_t> SysSymlinkat(Task& t, const SyscallArgs& a) {
  return SymlinkAt(t, a[0], a.Int(1), a[2]);
}
Result<int64_t> SysLink(Task& t, const SyscallArgs& a) {
  return LinkAt(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
}
Result<int64_t> SysLinkat(Task& t, const SyscallArgs& a) {
  return LinkAt(t, a.Int(0), a[1], a.Int(2), a[3], a.Int(4));
}
Result<int64_t> SysRename(Task& t, const SyscallArgs& a) {
  return RenameAt(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
}
Result<int64_t> SysRenameat(Task& t, const SyscallArgs& a) {
  return RenameAt(t, a.Int(0), a[1], a.Int(2), a[3], 0);
}
Result<int64_t> SysRenameat2(Task& t, const SyscallArgs& a) {
  return RenameAt(t, a.Int(0), a[1], a.Int(2), a[3], a.Uint(4));
}

}  // namespace msentry::syscalls
