// Wait queues: how anything with a readiness (file, child, futex-like object) tells its waiters.
//
//   WaitQueue queue;                       // in the object
//   Waiter waiter(kIn, [&](EventMask) { sched::Unpark(fiber); });
//   queue.Add(&waiter);  ... check readiness, Park ...  queue.Remove(&waiter);
//   queue.Notify(kIn);                     // by whoever makes it ready; any thread
//
// Register first, then check readiness, then wait: no wake-up is lost. Callbacks run under the
// queue's lock: they must not block, nor touch the same queue. Remove() returns only when no
// callback of that waiter runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "sentry/base/mutex.h"

namespace msentry::sched {

// The bits of poll(2).
using EventMask = uint32_t;
inline constexpr EventMask kIn = 0x001, kPri = 0x002, kOut = 0x004, kErr = 0x008, kHup = 0x010,
                           kRdNorm = 0x040, kRdBand = 0x080, kWrNorm = 0x100, kWrBand = 0x200,
                           kRdHup = 0x2000, kAllEvents = 0xffffffff;

class Waiter {
 public:
  Waiter(EventMask mask, absl::AnyInvocable<void(EventMask)> callback)
      : mask_(mask), callback_(std::move(callback)) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  bool exclusive = false;  // Notify stops after one exclusive waiter whose mask matches

 private:
  friend class WaitQueue;
  EventMask mask_;
  absl::AnyInvocable<void(EventMask)> callback_;
  Waiter* next_ = nullptr;
  Waiter* prev_ = nullptr;
  class WaitQueue* queue_ = nullptr;
};

class WaitQueue {
 public:
  WaitQueue() = default;
  ~WaitQueue();
  void Add(Waiter* waiter);     // exclusive waiters go last, as in Linux
  void Remove(Waiter* waiter);  // harmless when it is not queued
  void Notify(EventMask events);
  bool empty() const { return count_.load(std::memory_order_seq_cst) == 0; }

 private:
  Mutex mutex_;
  Waiter* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Waiter* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::atomic<int> count_{0};  // lets Notify skip the lock when nobody waits
};

}  // namespace msentry::sched
