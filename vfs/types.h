// Values that every file operation passes around: attributes, changes of attributes, directory
// entries, file system statistics. Plain data; flag constants are the host's (<fcntl.h>,
// <sys/stat.h>), because host and guest are both Linux on x86-64.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string_view>

namespace msentry::vfs {

inline constexpr size_t kNameMax = 255;   // bytes in one component
inline constexpr size_t kPathMax = 4096;  // bytes of a path with its NUL
inline constexpr int kMaxSymlinks = 40;   // links followed in one resolution, then ELOOP
inline constexpr uint32_t kModeBits = 07777;
inline constexpr int kOLargeFile = 0100000;     // glibc says 0 on 64 bits; F_GETFL shows it
inline constexpr int kOTmpfileBit = 020000000;  // O_TMPFILE without O_DIRECTORY

struct Timespec {
  int64_t sec = 0;
  uint32_t nsec = 0;
  bool operator==(const Timespec&) const = default;
  auto operator<=>(const Timespec&) const = default;
};

// CLOCK_REALTIME now, at the granularity of the host's coarse clock: what Linux stamps files with.
Timespec FileTimeNow();

// Device numbers, packed as makedev(3) does on the guest's side of stat(2).
constexpr uint64_t MakeDev(uint32_t major, uint32_t minor) {
  return (uint64_t{major} & 0xfff) << 8 | (minor & 0xff) | (uint64_t{minor} & ~0xffu) << 12 |
         (uint64_t{major} & ~0xfffu) << 32;
}
constexpr uint32_t DevMajor(uint64_t dev) { return (dev >> 8 & 0xfff) | (dev >> 32 & ~0xfffu); }
constexpr uint32_t DevMinor(uint64_t dev) { return (dev & 0xff) | (dev >> 12 & ~0xffu); }

// The answer to stat(2) and statx(2). `dev` is filled in by vfs::GetAttr from the file system.
struct Attributes {
  uint64_t ino = 0;
  uint64_t dev = 0;
  uint64_t rdev = 0;
  uint64_t size = 0;
  uint64_t blocks = 0;  // of 512 bytes
  uint32_t blksize = 4096;
  uint32_t mode = 0;  // type and permission bits
  uint32_t nlink = 1;
  uint32_t uid = 0, gid = 0;
  Timespec atime, mtime, ctime;
  Timespec btime;  // zero: the file system does not know (statx leaves STATX_BTIME out)
};

// What a GetAttr caller needs; a file system may always fill in more. Cheap implementations ignore
// it; a remote one can skip a message when its cache has the wanted ones.
using AttrMask = uint32_t;
inline constexpr AttrMask kAttrIdentity = 1;  // type, mode, uid, gid, ino, rdev
inline constexpr AttrMask kAttrSize = 2;      // size, blocks
inline constexpr AttrMask kAttrTimes = 4;
inline constexpr AttrMask kAttrNlink = 8;
inline constexpr AttrMask kAttrAll = 15;

// A change of attributes. Permission checks and the set-id rules are done by vfs/operations before
// the file system sees it; the file system stores what is set, and stamps ctime itself.
struct SetAttributes {
  enum : uint32_t {
    kMode = 1,
    kUid = 2,
    kGid = 4,
    kSize = 8,
    kAtime = 16,
    kMtime = 32,
    kAtimeNow = 64,  // utimensat UTIME_NOW; `atime` holds the time to store as well
    kMtimeNow = 128,
    kCtime = 256,  // touch ctime only
  };
  uint32_t set = 0;
  uint32_t mode = 0;  // permission bits only (07777)
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;
  Timespec atime, mtime;
};

// statfs(2).
struct StatFs {
  uint64_t type = 0;  // magic, e.g. 0x01021994 for tmpfs
  uint64_t block_size = 4096;
  uint64_t blocks = 0, blocks_free = 0, blocks_available = 0;
  uint64_t files = 0, files_free = 0;
  uint64_t fsid = 0;
  uint64_t name_length = kNameMax;
  uint64_t flags = 0;  // ST_*; vfs adds those of the mount
};

// One entry of getdents64(2). `next` is the offset to continue after this entry: seeking a
// directory there gives what follows.
struct Dirent {
  uint64_t ino = 0;
  int64_t next = 0;
  uint8_t type = 0;  // DT_*
  std::string_view name;
};

// DT_* of a mode.
constexpr uint8_t DirentType(uint32_t mode) { return (mode & S_IFMT) >> 12; }

}  // namespace msentry::vfs
