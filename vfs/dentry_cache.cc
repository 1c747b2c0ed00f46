#include "vfs/dentry_cache.h"

namespace msentry::vfs {

namespace {
constexpr int kMaxSteps = 64;  // of the hand, for one insertion
constexpr size_t kBatch = 8;   // dentries evicted at once
}  // namespace

DentryCache& DentryCache::Get() {
  static DentryCache* cache = new DentryCache;
  return *cache;
}

void DentryCache::SetLimit(size_t dentries) {
  MutexLock lock(mutex_);
  limit_ = dentries;
}

size_t DentryCache::size() const {
  MutexLock lock(mutex_);
  return size_;
}

void DentryCache::Insert(Dentry* d) {
  MutexLock lock(mutex_);
  d->referenced_.store(true, std::memory_order_relaxed);
  if (!hand_) {
    hand_ = d->lru_prev_ = d->lru_next_ = d;
  } else {  // just behind the hand: the last to be looked at
    d->lru_next_ = hand_;
    d->lru_prev_ = hand_->lru_prev_;
    d->lru_prev_->lru_next_ = d;
    hand_->lru_prev_ = d;
  }
  ++size_;
}

void DentryCache::Remove(Dentry* d) {
  MutexLock lock(mutex_);
  if (hand_ == d) hand_ = d->lru_next_ == d ? nullptr : d->lru_next_;
  d->lru_prev_->lru_next_ = d->lru_next_;
  d->lru_next_->lru_prev_ = d->lru_prev_;
  d->lru_prev_ = d->lru_next_ = nullptr;
  --size_;
}

void DentryCache::Shrink() {
  RefPtr<Dentry> victims[kBatch];
  size_t n = 0;
  {
    MutexLock lock(mutex_);
    for (int step = 0; step < kMaxSteps && hand_ && n < kBatch && size_ > limit_ + n; ++step) {
      Dentry* d = hand_;
      hand_ = d->lru_next_;
      if (d->referenced_.exchange(false, std::memory_order_relaxed)) continue;
      // In the ring means hashed, so the table's reference keeps it alive while we look.
      if (d->ref_count() == 1) victims[n++] = RefPtr<Dentry>(d);
    }
  }
  for (size_t i = 0; i < n; ++i) {
    RefPtr<Dentry> parent = victims[i]->parent();
    if (!parent) continue;
    Dentry* d = victims[i].get();
    {
      MutexLock lock(parent->mutex_);
      // The table's reference and ours: no user, no child, no mount. New ones come through the
      // table only, which we hold locked.
      if (d->ref_count() != 2 || !d->hashed_.load(std::memory_order_relaxed)) continue;
      if (!parent->children_ || parent->children_->erase(d) == 0) continue;
      if (parent->children_->empty()) parent->children_.reset();
      d->hashed_.store(false, std::memory_order_release);
      Remove(d);
    }
    d->Unref();
  }
}

}  // namespace msentry::vfs
