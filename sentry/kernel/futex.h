// Futexes (futex(2)): wait queues found by the address of a word in guest memory.
//
// The key of a private futex is (address space, address); of a shared one the identity of the
// mapped object and the offset in it. The protocol that loses no wake-up: enqueue under the
// bucket's lock, then read the word, leave at once when it has changed, else park.
//
// FUTEX_WAKE_OP and the owner-died mark read and then write the word: the sentry has no atomic
// access to guest memory. Their users (old glibc condition variables, robust mutexes of a dead
// owner) leave the word to whoever does that; a waiter that adds its bit meanwhile sees the word
// change and retries. Priority-inheriting futexes could not bear it: they are configured out
// (ENOSYS).
//
// Any fiber. Bucket locks are not held while guest memory is read.
#pragma once

#include <array>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"

namespace msentry::kernel {

class Task;

struct FutexKey {
  // Private: {address of the MemoryManager, 0, address}. Shared: mm::SharedKey.
  uint64_t object = 0, device = 0, offset = 0;
  bool operator==(const FutexKey&) const = default;
};

class FutexManager {
 public:
  // FUTEX_WAIT(_BITSET): waits until woken, `deadline_ns` (sched::NowNs time), or a signal.
  // kEAGAIN when the word is not `expected`, kETIMEDOUT, kEINTR (the handler picks the restart
  // code).
  Result<> Wait(Task& task, uint64_t address, bool shared, uint32_t expected, uint32_t bitset,
                int64_t deadline_ns);
  // FUTEX_WAKE(_BITSET): wakes at most `count` waiters, returns how many.
  Result<int64_t> Wake(Task& task, uint64_t address, bool shared, int count, uint32_t bitset);
  // FUTEX_(CMP_)REQUEUE. `expected` null: no comparison.
  Result<int64_t> Requeue(Task& task, uint64_t from, uint64_t to, bool shared, int wake,
                          int requeue, const uint32_t* expected);
  Result<int64_t> WakeOp(Task& task, uint64_t first, uint64_t second, bool shared, int wake1,
                         int wake2, uint32_t op);
  // Exit of a thread: the robust list (set_robust_list(2)) at `head`.
  void ReleaseRobustList(Task& task, uint64_t head);

 private:
  struct Waiter;
  struct Bucket {
    Mutex mutex;
    Waiter* first ABSL_GUARDED_BY(mutex) = nullptr;
    Waiter* last ABSL_GUARDED_BY(mutex) = nullptr;
  };
  static constexpr size_t kBuckets = 256;

  Bucket& BucketOf(const FutexKey& key);
  Result<FutexKey> KeyOf(Task& task, uint64_t address, bool shared);
  static void Append(Bucket& bucket, Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  static void Unlink(Bucket& bucket, Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  static int WakeLocked(Bucket& bucket, const FutexKey& key, int count, uint32_t bitset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket.mutex);
  static int64_t RequeueAcross(Bucket& source, Bucket& target, const FutexKey& from,
                               const FutexKey& to, int wake, int requeue);
  // Takes the waiter out of its queue; true when it had been woken.
  static bool Leave(Waiter* waiter);
  void HandleOwnerDeath(Task& task, uint64_t address);

  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace msentry::kernel
