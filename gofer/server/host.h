// The host calls of the gofer, one component at a time and never through a link. Everything that
// reaches a host path goes through here. Any thread; no locks. `fd` is an O_PATH fd unless it says
// otherwise; a name is one valid component (p9::IsValidName) and neither "." nor "..".
#pragma once

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

struct statx;

namespace msentry::gofer::host {

// A NUL-terminated copy of a component or link text on the stack's budget (no heap below 256).
class CString {
 public:
  explicit CString(std::string_view text);
  const char* get() const { return heap_.empty() ? inline_ : heap_.c_str(); }

 private:
  char inline_[256];
  std::string heap_;
};

// How the process names its own fds: "/proc/self/fd/N", or "N" once the working directory is that
// directory (the confined gofer: it has no /proc).
class FdPath {
 public:
  explicit FdPath(int fd);
  const char* get() const { return text_; }
  // Called once, by the confinement.
  static void WorkingDirectoryIsFdDirectory();

 private:
  char text_[32];
};

struct Stat {
  uint64_t dev = 0, ino = 0, nlink = 0, rdev = 0, size = 0, blocks = 0;
  uint32_t mode = 0, uid = 0, gid = 0, blksize = 0;
  struct timespec atime {
  }, mtime{}, ctime{}, btime{};
  bool IsDir() const { return S_ISDIR(mode); }
  bool IsRegular() const { return S_ISREG(mode); }
  bool IsSymlink() const { return S_ISLNK(mode); }
};

// Opens an absolute path of the configuration, links followed: before confinement only.
Result<ScopedFd> OpenRoot(const std::string& path);

// O_PATH fd of `name` in `dir`, itself if it is a link.
Result<ScopedFd> OpenChild(int dir, std::string_view name, bool stay_on_device);
Result<Stat> StatFd(int fd);
Result<Stat> StatChild(int dir, std::string_view name);

// Opens the object of an O_PATH fd for I/O. The caller has checked that it is a regular file or a
// directory. O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added.
Result<ScopedFd> Reopen(int fd, int flags);
// open(dir/name, O_CREAT|O_EXCL|O_NOFOLLOW|flags).
Result<ScopedFd> CreateExclusive(int dir, std::string_view name, int flags, uint32_t mode);

Result<> MakeDirectory(int dir, std::string_view name, uint32_t mode);
Result<> MakeSymlink(int dir, std::string_view name, std::string_view target);
Result<> MakeNode(int dir, std::string_view name, uint32_t mode, uint64_t rdev);
Result<> Link(int fd, int dir, std::string_view name);
Result<> Unlink(int dir, std::string_view name, bool directory);
Result<> Rename(int old_dir, std::string_view old_name, int new_dir, std::string_view new_name,
                uint32_t flags);
Result<std::string> ReadLink(int fd);

Result<> Chown(int fd, uint32_t uid, uint32_t gid);
Result<> Chmod(int fd, uint32_t mode);
Result<> SetTimes(int fd, const struct timespec times[2]);
Result<struct statfs> StatFs(int fd);

Result<std::string> GetXattr(int fd, const std::string& name);  // kENODATA when absent
Result<> SetXattr(int fd, const std::string& name, std::span<const uint8_t> value, int flags);
Result<> RemoveXattr(int fd, const std::string& name);
Result<std::string> ListXattr(int fd);

}  // namespace msentry::gofer::host
