// FdCache: bounds how many donated host fds the inodes of all p9 file systems keep for their next
// open. Second chance: what was opened since the hand last passed stays.
//
// One per process; its lock is not taken by opens that find their fd. An open file has its own
// reference: forgetting an fd here never closes it under a user.
#pragma once

#include <cstddef>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"

namespace msentry::p9 {

class P9Inode;

// An inode's place in the cache.
struct FdCacheHook {
  FdCacheHook* prev = nullptr;  // all three: FdCache's lock
  FdCacheHook* next = nullptr;
  size_t fds = 0;
  std::atomic<bool> referenced{false};
  P9Inode* inode = nullptr;  // immutable
};

class FdCache {
 public:
  static FdCache& Get();

  void SetLimit(size_t fds);
  // The inode keeps one more fd. May take fds from others. No lock held by the caller.
  void Add(FdCacheHook& hook);
  // It keeps none any more.
  void Remove(FdCacheHook& hook);
  size_t size() const;

 private:
  FdCache();
  void Unlink(FdCacheHook& hook) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Shrink(std::vector<RefPtr<P9Inode>>& victims) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  size_t limit_ ABSL_GUARDED_BY(mutex_);
  size_t total_ ABSL_GUARDED_BY(mutex_) = 0;
  FdCacheHook* hand_ ABSL_GUARDED_BY(mutex_) = nullptr;  // a ring; the oldest is hand_
};

}  // namespace msentry::p9
