#include "sentry/sched/wait_queue.h"

#include "sentry/base/check.h"

namespace msentry::sched {

WaitQueue::~WaitQueue() { DCHECK(first_ == nullptr); }

void WaitQueue::Add(Waiter* waiter) {
  DCHECK(waiter->queue_ == nullptr);
  MutexLock lock(mutex_);
  waiter->queue_ = this;
  if (waiter->exclusive) {
    waiter->prev_ = last_;
    waiter->next_ = nullptr;
  } else {
    waiter->prev_ = nullptr;
    waiter->next_ = first_;
  }
  (waiter->prev_ ? waiter->prev_->next_ : first_) = waiter;
  (waiter->next_ ? waiter->next_->prev_ : last_) = waiter;
  count_.fetch_add(1, std::memory_order_seq_cst);
}

void WaitQueue::Remove(Waiter* waiter) {
  if (waiter->queue_ == nullptr) return;
  DCHECK(waiter->queue_ == this);
  MutexLock lock(mutex_);
  (waiter->prev_ ? waiter->prev_->next_ : first_) = waiter->next_;
  (waiter->next_ ? waiter->next_->prev_ : last_) = waiter->prev_;
  waiter->queue_ = nullptr;
  waiter->next_ = waiter->prev_ = nullptr;
  count_.fetch_sub(1, std::memory_order_seq_cst);
}

void WaitQueue::Notify(EventMask events) {
  // Read-modify-write, as a fence: what the caller changed before is visible to whoever adds itself
  // after we found the queue empty.
  if (count_.fetch_add(0, std::memory_order_seq_cst) == 0) return;
  MutexLock lock(mutex_);
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->next_) {
    if ((waiter->mask_ & events) == 0) continue;
    waiter->callback_(events);
    if (waiter->exclusive) return;
  }
}

}  // namespace msentry::sched
