// Structs of the file calls (stat(2), statx(2), statfs(2), getdents64(2), fcntl(2), readv(2) ...).
// Constants (O_*, AT_*, F_*, S_IF*, STATX_*) come from the host's headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sentry/abi/time.h"

namespace msentry::abi {

struct Stat {
  uint64_t dev, ino, nlink;
  uint32_t mode, uid, gid, pad0;
  uint64_t rdev;
  int64_t size, blksize, blocks;  // blocks of 512 bytes
  Timespec atime, mtime, ctime;
  int64_t unused[3];
};

struct StatxTimestamp {
  int64_t sec;
  uint32_t nsec;
  int32_t reserved;
};
struct Statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  StatxTimestamp atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mnt_id;
  uint32_t dio_mem_align, dio_offset_align;
  uint64_t spare3[12];
};

struct Statfs {
  int64_t type, bsize;
  uint64_t blocks, bfree, bavail, files, ffree;
  int32_t fsid[2];
  int64_t namelen, frsize, flags, spare[4];
};

// A record of getdents64(2): this header, the name, a NUL, padding to 8.
struct Dirent64Header {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
  // char name[]: at kDirent64NameOffset, before the end of this struct's own padding
};
inline constexpr size_t kDirent64NameOffset = 19;
// getdents(2): ino, off, reclen (18 bytes), name, NUL, padding, and the type in the last byte.
inline constexpr size_t kDirentNameOffset = 18;

struct Iovec {
  uint64_t base, len;
};
inline constexpr int kIovMax = 1024;           // UIO_MAXIOV
inline constexpr int64_t kRwMax = 0x7ffff000;  // MAX_RW_COUNT: no transfer is longer
inline constexpr size_t kPathMax = 4096;       // with the NUL

struct Flock {
  int16_t type, whence;
  int64_t start, len;
  int32_t pid;
};
struct FOwnerEx {
  int32_t type, pid;
};
struct OpenHow {
  uint64_t flags, mode, resolve;
};
inline constexpr size_t kOpenHowSizeVer0 = 24;

struct InotifyEvent {
  int32_t wd;
  uint32_t mask, cookie, len;
};
struct Winsize {
  uint16_t row, col, xpixel, ypixel;
};
struct Termios {  // the kernel's (TCGETS), 19 control characters
  uint32_t iflag, oflag, cflag, lflag;
  uint8_t line;
  uint8_t cc[19];
};
struct Termios2 {  // TCGETS2
  uint32_t iflag, oflag, cflag, lflag;
  uint8_t line;
  uint8_t cc[19];
  uint32_t ispeed, ospeed;
};

}  // namespace msentry::abi
