// DentryCache: bounds how many dentries are cached, over all file systems. Inserting beyond the
// limit evicts others, second chance first: what was found since the hand last passed stays.
//
// One per process. Its lock comes after a dentry's mutex_ in the lock order, and is not taken by
// cache hits.
#pragma once

#include <cstddef>
#include <vector>

#include "sentry/base/mutex.h"
#include "vfs/dentry.h"

namespace msentry::vfs {

class DentryCache {
 public:
  static DentryCache& Get();

  void SetLimit(size_t dentries);
  size_t size() const;

  // For Dentry only.
  void Insert(Dentry* dentry);
  void Remove(Dentry* dentry);
  // Evicts while over the limit, a bounded number of steps. No lock held by the caller.
  void Shrink();

 private:
  mutable Mutex mutex_;
  size_t limit_ ABSL_GUARDED_BY(mutex_) = 65536;
  size_t size_ ABSL_GUARDED_BY(mutex_) = 0;
  Dentry* hand_ ABSL_GUARDED_BY(mutex_) = nullptr;  // a ring
};

}  // namespace msentry::vfs
