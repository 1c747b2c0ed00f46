#include "gofer/server/host.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <charconv>

namespace msentry::gofer::host {
namespace {

bool working_directory_is_fd_directory = false;  // set before the first thread starts

constexpr size_t kMaxXattrBytes = 65536;  // XATTR_SIZE_MAX and XATTR_LIST_MAX

// Calls `call` until it ends with something else than EINTR.
template <typename F>
auto Retry(F call) {
  for (;;) {
    auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

Result<> Done(long result) {
  if (result < 0) return FromHost(errno);
  return Ok();
}

Result<ScopedFd> Fd(long result) {
  if (result < 0) return FromHost(errno);
  return ScopedFd(static_cast<int>(result));
}

struct timespec ToTimespec(const struct statx_timestamp& t) {
  return {.tv_sec = t.tv_sec, .tv_nsec = static_cast<long>(t.tv_nsec)};
}

Result<Stat> CallStatx(int dir, const char* name, int flags) {
  struct statx sx;
  if (Retry([&] {
        return syscall(SYS_statx, dir, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
                       STATX_BASIC_STATS | STATX_BTIME, &sx);
      }) < 0) {
    return FromHost(errno);
  }
  return Stat{.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor),
              .ino = sx.stx_ino,
              .nlink = sx.stx_nlink,
              .rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor),
              .size = sx.stx_size,
              .blocks = sx.stx_blocks,
              .mode = sx.stx_mode,
              .uid = sx.stx_uid,
              .gid = sx.stx_gid,
              .blksize = sx.stx_blksize,
              .atime = ToTimespec(sx.stx_atime),
              .mtime = ToTimespec(sx.stx_mtime),
              .ctime = ToTimespec(sx.stx_ctime),
              .btime = ToTimespec(sx.stx_btime)};
}

}  // namespace

CString::CString(std::string_view text) {
  if (text.size() < sizeof inline_) {
    std::memcpy(inline_, text.data(), text.size());
    inline_[text.size()] = 0;
  } else {
    heap_ = text;
  }
}

FdPath::FdPath(int fd) {
  char* at = text_;
  if (!working_directory_is_fd_directory) {
    constexpr std::string_view kPrefix = "/proc/self/fd/";
    std::memcpy(at, kPrefix.data(), kPrefix.size());
    at += kPrefix.size();
  }
  *std::to_chars(at, text_ + sizeof text_ - 1, fd).ptr = 0;
}

void FdPath::WorkingDirectoryIsFdDirectory() { working_directory_is_fd_directory = true; }

Result<ScopedFd> OpenRoot(const std::string& path) {
  return Fd(Retry([&] { return open(path.c_str(), O_PATH | O_CLOEXEC); }));
}

Result<ScopedFd> OpenChild(int dir, std::string_view name, bool stay_on_device) {
  CString text(name);
  struct open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                (stay_on_device ? RESOLVE_NO_XDEV : 0);
  // EAGAIN: a rename raced with the check of RESOLVE_BENEATH.
  for (int attempt = 0;; ++attempt) {
    long fd = syscall(SYS_openat2, dir, text.get(), &how, sizeof how);
    if (fd >= 0) return ScopedFd(static_cast<int>(fd));
    if (errno == EINTR || (errno == EAGAIN && attempt < 100)) continue;
    return FromHost(errno);
  }
}

Result<Stat> StatFd(int fd) { return CallStatx(fd, "", AT_EMPTY_PATH); }

Result<Stat> StatChild(int dir, std::string_view name) {
  return CallStatx(dir, CString(name).get(), 0);
}

Result<ScopedFd> Reopen(int fd, int flags) {
  return Fd(
      Retry([&] { return open(FdPath(fd).get(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); }));
}

Result<ScopedFd> CreateExclusive(int dir, std::string_view name, int flags, uint32_t mode) {
  CString text(name);
  return Fd(Retry([&] {
    return openat(dir, text.get(),
                  flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
  }));
}

Result<> MakeDirectory(int dir, std::string_view name, uint32_t mode) {
  return Done(mkdirat(dir, CString(name).get(), mode));
}

Result<> MakeSymlink(int dir, std::string_view name, std::string_view target) {
  return Done(symlinkat(CString(target).get(), dir, CString(name).get()));
}

Result<> MakeNode(int dir, std::string_view name, uint32_t mode, uint64_t rdev) {
  return Done(mknodat(dir, CString(name).get(), mode, rdev));
}

Result<> Link(int fd, int dir, std::string_view name) {
  return Done(linkat(AT_FDCWD, FdPath(fd).get(), dir, CString(name).get(), AT_SYMLINK_FOLLOW));
}

Result<> Unlink(int dir, std::string_view name, bool directory) {
  return Done(unlinkat(dir, CString(name).get(), directory ? AT_REMOVEDIR : 0));
}

Result<> Rename(int old_dir, std::string_view old_name, int new_dir, std::string_view new_name,
                uint32_t flags) {
  return Done(syscall(SYS_renameat2, old_dir, CString(old_name).get(), new_dir,
                      CString(new_name).get(), flags));
}

Result<std::string> ReadLink(int fd) {
  char buffer[4096];
  ssize_t n = readlinkat(fd, "", buffer, sizeof buffer);
  if (n < 0) return FromHost(errno);
  return std::string(buffer, static_cast<size_t>(n));
}

Result<> Chown(int fd, uint32_t uid, uint32_t gid) {
  return Done(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

Result<> Chmod(int fd, uint32_t mode) { return Done(chmod(FdPath(fd).get(), mode)); }

Result<> SetTimes(int fd, const struct timespec times[2]) {
  return Done(utimensat(AT_FDCWD, FdPath(fd).get(), times, 0));
}

Result<struct statfs> StatFs(int fd) {
  struct statfs st;
  if (Retry([&] { return fstatfs(fd, &st); }) < 0) return FromHost(errno);
  return st;
}

Result<std::string> GetXattr(int fd, const std::string& name) {
  char small[256];
  FdPath path(fd);
  ssize_t n = getxattr(path.get(), name.c_str(), small, sizeof small);
  if (n >= 0) return std::string(small, static_cast<size_t>(n));
  if (errno != ERANGE) return FromHost(errno);
  std::string value(kMaxXattrBytes, 0);
  n = getxattr(path.get(), name.c_str(), value.data(), value.size());
  if (n < 0) return FromHost(errno);
  value.resize(static_cast<size_t>(n));
  return value;
}

Result<> SetXattr(int fd, const std::string& name, std::span<const uint8_t> value, int flags) {
  return Done(setxattr(FdPath(fd).get(), name.c_str(), value.data(), value.size(), flags));
}

Result<> RemoveXattr(int fd, const std::string& name) {
  return Done(removexattr(FdPath(fd).get(), name.c_str()));
}

Result<std::string> ListXattr(int fd) {
  std::string names(4096, 0);
  FdPath path(fd);
  ssize_t n = listxattr(path.get(), names.data(), names.size());
  if (n < 0 && errno == ERANGE) {
    names.resize(kMaxXattrBytes);
    n = listxattr(path.get(), names.data(), names.size());
  }
  if (n < 0) return FromHost(errno);
  names.resize(static_cast<size_t>(n));
  return names;
}

}  // namespace msentry::gofer::host
