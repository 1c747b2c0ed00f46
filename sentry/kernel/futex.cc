#include "sentry/kernel/futex.h"

#include <linux/futex.h>

#include "absl/hash/hash.h"
#include "sentry/abi/process.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {
namespace {

constexpr int kMaxRobustEntries = 2048;  // ROBUST_LIST_LIMIT: a list may be a circle

Result<uint32_t> ReadWord(Task& task, uint64_t address) {
  return task.memory().CopyIn(mm::GuestPtr<uint32_t>(address));
}

// FUTEX_OP(op, oparg, cmp, cmparg) as futex(2) packs it.
struct WakeOperation {
  int op, comparison;
  int32_t operand, compared;
};
WakeOperation DecodeWakeOp(uint32_t encoded) {
  WakeOperation w;
  w.op = static_cast<int>(encoded >> 28 & 7);
  w.comparison = static_cast<int>(encoded >> 24 & 15);
  w.operand = static_cast<int32_t>(encoded << 8) >> 20;  // 12 bits, signed
  w.compared = static_cast<int32_t>(encoded << 20) >> 20;
  if (encoded >> 31) w.operand = static_cast<int32_t>(1u << (w.operand & 31));
  return w;
}

Result<uint32_t> Apply(const WakeOperation& w, uint32_t old) {
  const uint32_t operand = static_cast<uint32_t>(w.operand);
  switch (w.op) {
    case FUTEX_OP_SET:
      return operand;
    case FUTEX_OP_ADD:
      return old + operand;
    case FUTEX_OP_OR:
      return old | operand;
    case FUTEX_OP_ANDN:
      return old & ~operand;
    case FUTEX_OP_XOR:
      return old ^ operand;
    default:
      return Errno::kENOSYS;
  }
}

Result<bool> Compare(const WakeOperation& w, uint32_t old) {
  const int32_t value = static_cast<int32_t>(old);
  switch (w.comparison) {
    case FUTEX_OP_CMP_EQ:
      return value == w.compared;
    case FUTEX_OP_CMP_NE:
      return value != w.compared;
    case FUTEX_OP_CMP_LT:
      return value < w.compared;
    case FUTEX_OP_CMP_GE:
      return value >= w.compared;
    case FUTEX_OP_CMP_LE:
      return value <= w.compared;
    case FUTEX_OP_CMP_GT:
      return value > w.compared;
    default:
      return Errno::kENOSYS;
  }
}

}  // namespace

struct FutexManager::Waiter {
  FutexKey key;
  uint32_t bitset = 0;
  sched::Fiber* fiber = nullptr;
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
  std::atomic<Bucket*> bucket{nullptr};  // changed by a requeue, under both buckets' locks
  std::atomic<bool> woken{false};        // set under the bucket's lock
};

FutexManager::Bucket& FutexManager::BucketOf(const FutexKey& key) {
  return buckets_[absl::HashOf(key.object, key.device, key.offset) % kBuckets];
}

Result<FutexKey> FutexManager::KeyOf(Task& task, uint64_t address, bool shared) {
  if (address % sizeof(uint32_t) != 0) return Errno::kEINVAL;
  if (address >= arch::kTaskSize) return Errno::kEFAULT;
  if (shared) {
    if (auto key = task.mm().SharedKeyAt(address)) {
      return FutexKey{key->object, key->device | uint64_t{1} << 63, key->offset};
    }
  }
  return FutexKey{reinterpret_cast<uint64_t>(&task.mm()), 0, address};
}

void FutexManager::Append(Bucket& bucket, Waiter* waiter) {
  waiter->bucket.store(&bucket, std::memory_order_relaxed);
  waiter->next = nullptr;
  waiter->previous = bucket.last;
  (bucket.last ? bucket.last->next : bucket.first) = waiter;
  bucket.last = waiter;
}

void FutexManager::Unlink(Bucket& bucket, Waiter* waiter) {
  (waiter->previous ? waiter->previous->next : bucket.first) = waiter->next;
  (waiter->next ? waiter->next->previous : bucket.last) = waiter->previous;
}

int FutexManager::WakeLocked(Bucket& bucket, const FutexKey& key, int count, uint32_t bitset) {
  int woken = 0;
  for (Waiter* w = bucket.first; w != nullptr && woken < count;) {
    Waiter* next = w->next;
    if (w->key == key && (w->bitset & bitset)) {
      Unlink(bucket, w);
      w->woken.store(true, std::memory_order_release);
      sched::Unpark(w->fiber);  // under the lock: the waiter takes it before it goes
      ++woken;
    }
    w = next;
  }
  return woken;
}

bool FutexManager::Leave(Waiter* waiter) {
  for (;;) {
    Bucket* bucket = waiter->bucket.load(std::memory_order_acquire);
    MutexLock lock(bucket->mutex);
    if (waiter->bucket.load(std::memory_order_relaxed) != bucket) continue;
    if (waiter->woken.load(std::memory_order_relaxed)) return true;
    Unlink(*bucket, waiter);
    return false;
  }
}

Result<> FutexManager::Wait(Task& task, uint64_t address, bool shared, uint32_t expected,
                            uint32_t bitset, int64_t deadline_ns) {
  if (bitset == 0) return Errno::kEINVAL;
  Waiter waiter;
  waiter.key = TRY(KeyOf(task, address, shared));
  waiter.bitset = bitset;
  waiter.fiber = task.fiber();
  {
    Bucket& bucket = BucketOf(waiter.key);
    MutexLock lock(bucket.mutex);
    Append(bucket, &waiter);
  }
  const Result<uint32_t> word = ReadWord(task, address);
  if (!word.ok() || *word != expected) {
    // Somebody may have counted us as woken meanwhile: then we were.
    if (Leave(&waiter)) return Ok();
    return word.ok() ? Errno::kEAGAIN : word.error();
  }
  for (;;) {
    const Task::Wake wake = task.Block(deadline_ns);
    if (waiter.woken.load(std::memory_order_acquire)) {
      Leave(&waiter);
      return Ok();
    }
    if (wake == Task::Wake::kEvent) continue;
    if (Leave(&waiter)) return Ok();
    return wake == Task::Wake::kTimedOut ? Errno::kETIMEDOUT : Errno::kEINTR;
  }
}

Result<int64_t> FutexManager::Wake(Task& task, uint64_t address, bool shared, int count,
                                   uint32_t bitset) {
  if (bitset == 0) return Errno::kEINVAL;
  const FutexKey key = TRY(KeyOf(task, address, shared));
  Bucket& bucket = BucketOf(key);
  MutexLock lock(bucket.mutex);
  return WakeLocked(bucket, key, std::max(count, 1), bitset);
}

Result<int64_t> FutexManager::Requeue(Task& task, uint64_t from, uint64_t to, bool shared, int wake,
                                      int requeue, const uint32_t* expected) {
  if (wake < 0 || requeue < 0) return Errno::kEINVAL;
  const FutexKey from_key = TRY(KeyOf(task, from, shared));
  const FutexKey to_key = TRY(KeyOf(task, to, shared));
  // Read before the locks: a change after this is as if it came after the call.
  if (expected != nullptr && TRY(ReadWord(task, from)) != *expected) return Errno::kEAGAIN;
  Bucket& source = BucketOf(from_key);
  Bucket& target = BucketOf(to_key);
  if (&source == &target) {
    MutexLock lock(source.mutex);
    int64_t done = WakeLocked(source, from_key, wake, FUTEX_BITSET_MATCH_ANY);
    for (Waiter* w = source.first; w != nullptr && requeue > 0; w = w->next) {
      if (!(w->key == from_key)) continue;
      w->key = to_key;
      --requeue;
      ++done;
    }
    return done;
  }
  return RequeueAcross(source, target, from_key, to_key, wake, requeue);
}

// The two locks are taken in the order of their addresses, which the annotations cannot follow.
int64_t FutexManager::RequeueAcross(Bucket& source, Bucket& target, const FutexKey& from,
                                    const FutexKey& to, int wake,
                                    int requeue) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  MutexLock first(&source < &target ? source.mutex : target.mutex);
  MutexLock second(&source < &target ? target.mutex : source.mutex);
  int64_t done = WakeLocked(source, from, wake, FUTEX_BITSET_MATCH_ANY);
  for (Waiter* w = source.first; w != nullptr && requeue > 0;) {
    Waiter* next = w->next;
    if (w->key == from) {
      Unlink(source, w);
      w->key = to;
      Append(target, w);
      --requeue;
      ++done;
    }
    w = next;
  }
  return done;
}

Result<int64_t> FutexManager::WakeOp(Task& task, uint64_t first, uint64_t second, bool shared,
                                     int wake1, int wake2, uint32_t op) {
  const FutexKey key1 = TRY(KeyOf(task, first, shared));
  const FutexKey key2 = TRY(KeyOf(task, second, shared));
  const WakeOperation operation = DecodeWakeOp(op);
  const uint32_t old = TRY(ReadWord(task, second));
  const bool wake_second = TRY(Compare(operation, old));
  TRY(task.shared_memory().CopyOut(mm::GuestPtr<uint32_t>(second), TRY(Apply(operation, old))));
  int64_t woken = 0;
  {
    Bucket& bucket = BucketOf(key1);
    MutexLock lock(bucket.mutex);
    woken += WakeLocked(bucket, key1, wake1, FUTEX_BITSET_MATCH_ANY);
  }
  if (wake_second) {
    Bucket& bucket = BucketOf(key2);
    MutexLock lock(bucket.mutex);
    woken += WakeLocked(bucket, key2, wake2, FUTEX_BITSET_MATCH_ANY);
  }
  return woken;
}

void FutexManager::HandleOwnerDeath(Task& task, uint64_t address) {
  const Result<uint32_t> word = ReadWord(task, address);
  if (!word.ok() || (*word & FUTEX_TID_MASK) != static_cast<uint32_t>(task.tid())) return;
  const uint32_t dead = (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
  if (!task.shared_memory().CopyOut(mm::GuestPtr<uint32_t>(address), dead).ok()) return;
  // Robust mutexes may be private or shared between processes: wake either kind.
  (void)Wake(task, address, true, 1, FUTEX_BITSET_MATCH_ANY);
  (void)Wake(task, address, false, 1, FUTEX_BITSET_MATCH_ANY);
}

void FutexManager::ReleaseRobustList(Task& task, uint64_t head) {
  const mm::GuestMemory memory = task.memory();
  const auto list = memory.CopyIn(mm::GuestPtr<abi::RobustListHead>(head));
  if (!list.ok()) return;
  const uint64_t offset = static_cast<uint64_t>(list->futex_offset);
  // Bit 0 of an entry marks a priority-inheriting futex.
  const uint64_t pending = list->list_op_pending & ~uint64_t{1};
  uint64_t entry = list->list & ~uint64_t{1};
  for (int n = 0; n < kMaxRobustEntries && entry != head && entry != 0; ++n) {
    const auto next = memory.CopyIn(mm::GuestPtr<uint64_t>(entry));
    if (entry != pending) HandleOwnerDeath(task, entry + offset);
    if (!next.ok()) return;
    entry = *next & ~uint64_t{1};
  }
  if (pending != 0) HandleOwnerDeath(task, pending + offset);
}

}  // namespace msentry::kernel
