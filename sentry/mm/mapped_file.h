// MappedFile: what mm must know of a file to map it. vfs implements it (mm lies below vfs).
#pragma once

#include <cstdint>
#include <string>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"

namespace msentry::mm {

// One open file that is, or is about to be, mapped. A mapping holds a reference as long as it
// lives, so the implementation holds the file (and with it the write-deny or lease state).
class MappedFile : public RefCounted<MappedFile> {
 public:
  virtual ~MappedFile() = default;

  struct Backing {
    int host_fd = -1;     // borrowed: valid while the MappedFile lives. -1: anonymous memory does
                          // (/dev/zero).
    uint64_t offset = 0;  // of the file's byte 0 in the host fd, page aligned
  };
  // The host fd to map. `shared_writable`: a MAP_SHARED mapping that the guest may make writable
  // now or later. When it is false the fd must be one opened O_RDONLY (or sealed against writing):
  // the stub is hostile, and the host checks nothing but the fd's own mode when it remaps.
  // kENODEV for a file that cannot be mapped, kEACCES for one that forbids it.
  virtual Result<Backing> HostBacking(bool shared_writable) = 0;

  // Open modes of the guest's file description: what mmap(2) and mprotect(2) check.
  virtual bool readable() const = 0;
  virtual bool writable() const = 0;
  virtual bool no_exec() const = 0;  // on a mount with MS_NOEXEC

  // Identity: two mappings with the same pair show the same bytes (futex keys, merging, maps).
  virtual uint64_t device() const = 0;  // as st_dev
  virtual uint64_t inode() const = 0;
  // What futexes in shared mappings compare besides device().
  virtual uint64_t identity() const { return inode(); }
  // With VmaLabel::kSysvShared: a mapping came into being (+1) or is gone (-1). Called under mm's
  // list lock: it must neither park nor copy.
  virtual void CountMapping(int /*sign*/) {}
  // Path for /proc/PID/maps, "(deleted)" included, for a reader with the sandbox's root.
  virtual std::string MapsPath() const = 0;
};

}  // namespace msentry::mm
