// Fiber: an execution context with its own stack. Internal to sentry/sched.
//
// The state word says where the fiber is and which wake-ups are pending; every transition is one
// compare-and-swap, so Unpark() needs no lock:
//
//   running --Park, no bit pending--> parked --Unpark (sets a bit)--> queued --a worker--> running
//
// A fiber becomes `parked` only after it has left its stack (the worker that ran it does it), so no
// other worker can resume it too early.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/any_invocable.h"
#include "sentry/sched/timer_heap.h"

namespace msentry::sched {
namespace internal {

class Core;

// A suspended execution: a fiber's, or a worker thread's own.
struct Context {
  void* fcontext = nullptr;
  const void* stack_bottom = nullptr;  // lowest address; known for a worker after its first switch
  size_t stack_size = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* tsan_fiber = nullptr;  // ThreadSanitizer's
};

// The only place where the stack pointer changes. Returns when something switches back to `from`;
// never when `from_ends`.
void SwitchContext(Context& from, Context& to, bool from_ends = false);

// A mapping with a guard page below it. Free ones are pooled per process.
struct Stack {
  std::byte* base = nullptr;  // the guard page
  size_t size = 0;            // guard page included
};
// Pre: usable_bytes > 0. Aborts when the host has no memory for it.
Stack AllocateStack(size_t usable_bytes);
void FreeStack(Stack stack);

}  // namespace internal

class Fiber {
 public:
  // Phase, in the low bits of `word`. kParkedInternal ignores tokens and timeouts (Completion).
  static constexpr uint32_t kRunning = 0, kParked = 1, kParkedInternal = 2, kQueued = 3, kPhase = 3;
  // Pending wake-ups.
  static constexpr uint32_t kToken = 4, kTimeout = 8, kInternal = 16;
  static constexpr uint32_t WakeBits(uint32_t phase) {
    return phase == kParkedInternal ? kInternal : kToken | kTimeout;
  }

  Fiber(internal::Core& core, std::string_view name, size_t stack_bytes,
        absl::AnyInvocable<void()> body);
  ~Fiber();

  // Sets a wake-up bit; true when the caller must put the fiber on the run queue.
  bool Wake(uint32_t bit);
  // The worker, once the fiber has left its stack. True: it must be queued again at once.
  bool FinishPark(uint32_t phase);
  void MarkRunning() { word_.fetch_and(~kPhase, std::memory_order_acq_rel); }
  void MarkQueued() { word_.fetch_or(kQueued, std::memory_order_acq_rel); }
  // Takes the pending bits of `mask`.
  uint32_t TakeBits(uint32_t mask) {
    return word_.fetch_and(~mask, std::memory_order_acq_rel) & mask;
  }

  bool HasToken() const { return word_.load(std::memory_order_acquire) & kToken; }

  void RunBody();

  internal::Core& core;
  internal::Context context;
  Fiber* next = nullptr;           // the run queue's
  internal::TimerNode park_timer;  // of the Park() it is in
  const std::string name;
  void* local = nullptr;  // FiberLocal()

 private:
  std::atomic<uint32_t> word_{kQueued};
  internal::Stack stack_;
  absl::AnyInvocable<void()> body_;
};

}  // namespace msentry::sched
