// Root, working directory and umask of a process (shared by CLONE_FS). Any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "vfs/location.h"

namespace msentry::kernel {

class FsContext : public RefCounted<FsContext> {
 public:
  FsContext(vfs::Location root, vfs::Location cwd, uint32_t umask);
  ~FsContext();

  vfs::Location root() const;
  vfs::Location cwd() const;
  uint32_t umask() const { return umask_.load(std::memory_order_relaxed); }
  void set_root(vfs::Location root);
  void set_cwd(vfs::Location cwd);
  uint32_t set_umask(uint32_t umask);  // returns the old one

  RefPtr<FsContext> Copy() const;

 private:
  mutable Mutex mutex_;
  vfs::Location root_ ABSL_GUARDED_BY(mutex_);
  vfs::Location cwd_ ABSL_GUARDED_BY(mutex_);
  std::atomic<uint32_t> umask_;  // every file operation reads it
};

}  // namespace msentry::kernel
