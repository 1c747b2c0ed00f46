#include "fsimpl/p9/fd_cache.h"

#include <sys/resource.h>

#include <algorithm>

#include "fsimpl/p9/inode.h"

namespace msentry::p9 {
namespace {

size_t DefaultLimit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 256;
  return std::clamp<size_t>(limit.rlim_cur / 2, 64, 8192);
}

}  // namespace

FdCache::FdCache() : limit_(DefaultLimit()) {}

FdCache& FdCache::Get() {
  static FdCache* cache = new FdCache;
  return *cache;
}

size_t FdCache::size() const {
  MutexLock lock(mutex_);
  return total_;
}

void FdCache::Unlink(FdCacheHook& hook) {
  if (hook.next == nullptr) return;
  total_ -= hook.fds;
  hook.fds = 0;
  if (hook.next == &hook) {
    hand_ = nullptr;
  } else {
    if (hand_ == &hook) hand_ = hook.next;
    hook.prev->next = hook.next;
    hook.next->prev = hook.prev;
  }
  hook.next = hook.prev = nullptr;
}

void FdCache::Shrink(std::vector<RefPtr<P9Inode>>& victims) {
  // Two rounds clear every mark; what is left over then is taken whatever its mark.
  for (size_t steps = 2 * total_ + 2; total_ > limit_ && hand_ != nullptr && steps > 0; --steps) {
    FdCacheHook& hook = *hand_;
    if (hook.referenced.exchange(false, std::memory_order_relaxed)) {
      hand_ = hook.next;
      continue;
    }
    Unlink(hook);
    // An inode that is being destroyed drops its fds itself.
    if (hook.inode->TryRef()) victims.push_back(RefPtr<P9Inode>::Adopt(hook.inode));
  }
}

void FdCache::SetLimit(size_t fds) {
  std::vector<RefPtr<P9Inode>> victims;
  {
    MutexLock lock(mutex_);
    limit_ = fds;
    Shrink(victims);
  }
  for (RefPtr<P9Inode>& victim : victims) victim->DropFds();
}

void FdCache::Add(FdCacheHook& hook) {
  std::vector<RefPtr<P9Inode>> victims;
  {
    MutexLock lock(mutex_);
    if (hook.next == nullptr) {
      if (hand_ == nullptr) {
        hook.next = hook.prev = &hook;
        hand_ = &hook;
      } else {
        // Before the hand: the last to be looked at.
        hook.next = hand_;
        hook.prev = hand_->prev;
        hook.prev->next = &hook;
        hand_->prev = &hook;
      }
    }
    ++hook.fds;
    ++total_;
    Shrink(victims);
  }
  for (RefPtr<P9Inode>& victim : victims) victim->DropFds();
}

void FdCache::Remove(FdCacheHook& hook) {
  MutexLock lock(mutex_);
  Unlink(hook);
}

}  // namespace msentry::p9
