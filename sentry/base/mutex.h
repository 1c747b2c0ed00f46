// Mutex: a short-held lock between host threads, with clang's thread-safety annotations.
//
// Never held across a fiber switch, a copy from or to guest memory, or a host call that can block;
// debug builds assert the first (LocksHeld() must be 0 in sched::Park). For locks that must survive
// a switch there is sched::FiberMutex.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"

namespace msentry {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) LockSlow();
    NoteLocked();
  }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) return false;
    NoteLocked();
    return true;
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    NoteUnlocked();
    if (state_.exchange(0, std::memory_order_release) == 2) Wake();
  }
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  void LockSlow();
  void Wake();
#ifdef NDEBUG
  static void NoteLocked() {}
  static void NoteUnlocked() {}
#else
  static void NoteLocked();
  static void NoteUnlocked();
#endif

  std::atomic<uint32_t> state_{0};  // 0 free, 1 held, 2 held and somebody may sleep
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* m) ABSL_EXCLUSIVE_LOCK_FUNCTION(m) : m_(m) { m_->Lock(); }
  explicit MutexLock(Mutex& m) ABSL_EXCLUSIVE_LOCK_FUNCTION(m) : m_(&m) { m_->Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { m_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* m_;
};

// Mutexes the calling host thread holds now; always 0 in release builds.
int LocksHeld();

}  // namespace msentry
