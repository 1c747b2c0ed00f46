// Changing attributes: chmod(2), chown(2), utimensat(2), and extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "sentry/abi/file.h"
#include "sentry/syscalls/calls_stat.h"
#include "sentry/syscalls/util.h"
#include "vfs/operations.h"

namespace msentry::syscalls {
namespace {

using vfs::SetAttributes;

constexpr size_t kXattrNameMax = 255, kXattrSizeMax = 65536;

Result<int64_t> ChangePath(Task& t, int dirfd, uint64_t path_address, int at_flags,
                           const SetAttributes& attributes) {
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  TRY(walk.StartAt(t, dirfd, path));
  const uint32_t flags = (at_flags & AT_SYMLINK_NOFOLLOW ? 0u : vfs::kWalkFollow) |
                         (at_flags & AT_EMPTY_PATH ? vfs::kWalkEmptyPath : 0u);
  TRY(vfs::SetAttr(walk.context, path, flags, attributes));
  return 0;
}

Result<int64_t> ChangeFd(Task& t, int fd, const SetAttributes& attributes) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  TRY(vfs::SetAttr(t.FileContext(), file->location(), attributes));
  return 0;
}

SetAttributes Mode(uint32_t mode) {
  return {.set = SetAttributes::kMode, .mode = mode & vfs::kModeBits};
}

SetAttributes Owner(uint32_t uid, uint32_t gid) {
  SetAttributes attributes{.uid = uid, .gid = gid};
  if (uid != ~0u) attributes.set |= SetAttributes::kUid;
  if (gid != ~0u) attributes.set |= SetAttributes::kGid;
  // chown(-1, -1) still touches ctime.
  if (attributes.set == 0) attributes.set = SetAttributes::kCtime;
  return attributes;
}

// ---- times ----

SetAttributes TimesNow() {
  SetAttributes attributes{.set = SetAttributes::kAtime | SetAttributes::kMtime |
                                  SetAttributes::kAtimeNow | SetAttributes::kMtimeNow};
  attributes.atime = attributes.mtime = vfs::FileTimeNow();
  return attributes;
}

Result<SetAttributes> TimesOf(const abi::Timespec (&times)[2]) {
  SetAttributes attributes;
  const vfs::Timespec now = vfs::FileTimeNow();
  struct {
    uint32_t set, set_now;
    vfs::Timespec* field;
  } const fields[2] = {{SetAttributes::kAtime, SetAttributes::kAtimeNow, &attributes.atime},
                       {SetAttributes::kMtime, SetAttributes::kMtimeNow, &attributes.mtime}};
  for (int i = 0; i < 2; i++) {
    if (times[i].nsec == UTIME_OMIT) continue;
    attributes.set |= fields[i].set;
    if (times[i].nsec == UTIME_NOW) {
      attributes.set |= fields[i].set_now;
      *fields[i].field = now;
    } else if (times[i].nsec < 0 || times[i].nsec >= abi::kNsPerSec) {
      return Errno::kEINVAL;
    } else {
      *fields[i].field = {times[i].sec, static_cast<uint32_t>(times[i].nsec)};
    }
  }
  return attributes;
}

// Two timevals (utimes, futimesat), null: now.
Result<SetAttributes> TimesFromTimevals(Task& t, uint64_t address) {
  if (address == 0) return TimesNow();
  abi::Timeval in[2];
  TRY(t.memory().CopyInArray(GuestPtr<abi::Timeval>(address), std::span<abi::Timeval>(in)));
  abi::Timespec times[2];
  for (int i = 0; i < 2; i++) {
    if (in[i].usec < 0 || in[i].usec >= 1000000) return Errno::kEINVAL;
    times[i] = {in[i].sec, in[i].usec * 1000};
  }
  return TimesOf(times);
}

// ---- extended attributes ----

// What a call works on: a path, followed or not, or an open file.
Result<vfs::Location> LocationOfPath(Task& t, uint64_t path_address, bool follow) {
  const std::string path = TRY(CopyInPath(t, path_address));
  Walk walk(t);
  return vfs::PathWalker(walk.context, follow ? vfs::kWalkFollow : 0u).Resolve(path);
}
Result<vfs::Location> LocationOfFd(Task& t, int fd) { return TRY(t.GetFile(fd))->location(); }

Result<std::string> CopyInName(Task& t, uint64_t address) {
  Result<std::string> name = t.memory().CopyInString(GuestPtr<char>(address), kXattrNameMax + 1);
  if (!name.ok()) return name.error() == Errno::kENAMETOOLONG ? Errno::kERANGE : name.error();
  if (name->empty()) return Errno::kERANGE;
  return name;
}

Result<int64_t> SetXattrOn(Task& t, const Result<vfs::Location>& at, const SyscallArgs& a) {
  const int flags = a.Int(4);
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Errno::kEINVAL;
  const std::string name = TRY(CopyInName(t, a[1]));
  if (a[3] > kXattrSizeMax) return Errno::kE2BIG;
  std::string value(a[3], '\0');
  TRY(t.memory().CopyInBytes(a[2], std::as_writable_bytes(std::span(value))));
  TRY(vfs::SetXattr(t.FileContext(), TRY(at), name, value, flags));
  return 0;
}

// A value or list to (buffer, size); size 0 asks for the length only.
Result<int64_t> Answer(Task& t, std::string_view value, uint64_t buffer, uint64_t size) {
  if (size == 0) return static_cast<int64_t>(value.size());
  if (value.size() > size) return Errno::kERANGE;
  TRY(t.memory().CopyOutBytes(buffer, std::as_bytes(std::span(value))));
  return static_cast<int64_t>(value.size());
}

Result<int64_t> GetXattrOn(Task& t, const Result<vfs::Location>& at, const SyscallArgs& a) {
  const std::string name = TRY(CopyInName(t, a[1]));
  return Answer(t, TRY(vfs::GetXattr(t.FileContext(), TRY(at), name)), a[2], a[3]);
}

Result<int64_t> ListXattrOn(Task& t, const Result<vfs::Location>& at, const SyscallArgs& a) {
  std::string list;
  for (const std::string& name : TRY(vfs::ListXattr(t.FileContext(), TRY(at)))) {
    list.append(name).push_back('\0');
  }
  return Answer(t, list, a[1], a[2]);
}

Result<int64_t> RemoveXattrOn(Task& t, const Result<vfs::Location>& at, const SyscallArgs& a) {
  const std::string name = TRY(CopyInName(t, a[1]));
  TRY(vfs::RemoveXattr(t.FileContext(), TRY(at), name));
  return 0;
}

}  // namespace

Result<int64_t> SysChmod(Task& t, const SyscallArgs& a) {
  return ChangePath(t, AT_FDCWD, a[0], 0, Mode(a.Uint(1)));
}
Result<int64_t> SysFchmod(Task& t, const SyscallArgs& a) {
  return ChangeFd(t, a.Int(0), Mode(a.Uint(1)));
}
Result<int64_t> SysFchmodat(Task& t, const SyscallArgs& a) {
  return ChangePath(t, a.Int(0), a[1], 0, Mode(a.Uint(2)));
}

Result<int64_t> SysChown(Task& t, const SyscallArgs& a) {
  return ChangePath(t, AT_FDCWD, a[0], 0, Owner(a.Uint(1), a.Uint(2)));
}
Result<int64_t> SysLchown(Task& t, const SyscallArgs& a) {
  return ChangePath(t, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, Owner(a.Uint(1), a.Uint(2)));
}
Result<int64_t> SysFchown(Task& t, const SyscallArgs& a) {
  return ChangeFd(t, a.Int(0), Owner(a.Uint(1), a.Uint(2)));
}
Result<int64_t> SysFchownat(Task& t, const SyscallArgs& a) {
  if (a.Int(4) & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Errno::kEINVAL;
  return ChangePath(t, a.Int(0), a[1], a.Int(4), Owner(a.Uint(2), a.Uint(3)));
}

Result<int64_t> SysUtime(Task& t, const SyscallArgs& a) {
  SetAttributes attributes = TimesNow();
  if (a[1] != 0) {
    const auto in = TRY(t.memory().CopyIn(GuestPtr<abi::Utimbuf>(a[1])));
    attributes = TRY(TimesOf({{in.actime, 0}, {in.modtime, 0}}));
  }
  return ChangePath(t, AT_FDCWD, a[0], 0, attributes);
}
Result<int64_t> SysUtimes(Task& t, const SyscallArgs& a) {
  return ChangePath(t, AT_FDCWD, a[0], 0, TRY(TimesFromTimevals(t, a[1])));
}
Result<int64_t> SysFutimesat(Task& t, const SyscallArgs& a) {
  const SetAttributes attributes = TRY(TimesFromTimevals(t, a[2]));
  if (a[1] == 0) return ChangeFd(t, a.Int(0), attributes);
  return ChangePath(t, a.Int(0), a[1], 0, attributes);
}
Result<int64_t> SysUtimensat(Task& t, const SyscallArgs& a) {
  SetAttributes attributes = TimesNow();
  if (a[2] != 0) {
    abi::Timespec times[2];
    TRY(t.memory().CopyInArray(GuestPtr<abi::Timespec>(a[2]), std::span<abi::Timespec>(times)));
    // Nothing to do: not even the path is looked at.
    if (times[0].nsec == UTIME_OMIT && times[1].nsec == UTIME_OMIT) return 0;
    attributes = TRY(TimesOf(times));
  }
  if (a.Int(3) & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Errno::kEINVAL;
  if (a[1] == 0) {
    if (a.Int(0) == AT_FDCWD) return Errno::kEFAULT;
    if (a.Int(3) != 0) return Errno::kEINVAL;
    return ChangeFd(t, a.Int(0), attributes);
  }
  return ChangePath(t, a.Int(0), a[1], a.Int(3), attributes);
}

Result<int64_t> SysSetxattr(Task& t, const SyscallArgs& a) {
  return SetXattrOn(t, LocationOfPath(t, a[0], true), a);
}
Result<int64_t> SysLsetxattr(Task& t, const SyscallArgs& a) {
  return SetXattrOn(t, LocationOfPath(t, a[0], false), a);
}
Result<int64_t> SysFsetxattr(Task& t, const SyscallArgs& a) {
  return SetXattrOn(t, LocationOfFd(t, a.Int(0)), a);
}
Result<int64_t> SysGetxattr(Task& t, const SyscallArgs& a) {
  return GetXattrOn(t, LocationOfPath(t, a[0], true), a);
}
Result<int64_t> SysLgetxattr(Task& t, const SyscallArgs& a) {
  return GetXattrOn(t, LocationOfPath(t, a[0], false), a);
}
Result<int64_t> SysFgetxattr(Task& t, const SyscallArgs& a) {
  return GetXattrOn(t, LocationOfFd(t, a.Int(0)), a);
}
Result<int64_t> SysListxattr(Task& t, const SyscallArgs& a) {
  return ListXattrOn(t, LocationOfPath(t, a[0], true), a);
}
Result<int64_t> SysLlistxattr(Task& t, const SyscallArgs& a) {
  return ListXattrOn(t, LocationOfPath(t, a[0], false), a);
}
Result<int64_t> SysFlistxattr(Task& t, const SyscallArgs& a) {
  return ListXattrOn(t, LocationOfFd(t, a.Int(0)), a);
}
Result<int64_t> SysRemovexattr(Task& t, const SyscallArgs& a) {
  return RemoveXattrOn(t, LocationOfPath(t, a[0], true), a);
}
Result<int64_t> SysLremovexattr(Task& t, const SyscallArgs& a) {
  return RemoveXattrOn(t, LocationOfPath(t, a[0], false), a);
}
Result<int64_t> SysFremovexattr(Task& t, const SyscallArgs& a) {
  return RemoveXattrOn(t, LocationOfFd(t, a.Int(0)), a);
}

}  // namespace msentry::syscalls
