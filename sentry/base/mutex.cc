#include "sentry/base/mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace msentry {
namespace {

thread_local int locks_held = 0;

void Futex(std::atomic<uint32_t>* word, int op, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), op | FUTEX_PRIVATE_FLAG, value, nullptr,
          nullptr, 0);
}

}  // namespace

void Mutex::LockSlow() {
  for (int i = 0; i < 40; ++i) {
    uint32_t expected = 0;
    if (state_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) return;
    __builtin_ia32_pause();
  }
  while (state_.exchange(2, std::memory_order_acquire) != 0) Futex(&state_, FUTEX_WAIT, 2);
}

void Mutex::Wake() { Futex(&state_, FUTEX_WAKE, 1); }

#ifndef NDEBUG
void Mutex::NoteLocked() { ++locks_held; }
void Mutex::NoteUnlocked() { --locks_held; }
#endif

int LocksHeld() { return locks_held; }

}  // namespace msentry
