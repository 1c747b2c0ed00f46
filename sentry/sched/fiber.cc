#include "sentry/sched/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>

#include "sentry/base/check.h"
#include "sentry/base/mutex.h"
#include "sentry/sched/core.h"

#if defined(__has_feature)
#define MSENTRY_FEATURE(x) __has_feature(x)
#else
#define MSENTRY_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || MSENTRY_FEATURE(address_sanitizer)
#define MSENTRY_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || MSENTRY_FEATURE(thread_sanitizer)
#define MSENTRY_TSAN 1
#include <sanitizer/tsan_interface.h>
#endif

namespace msentry::sched {
namespace internal {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// Instrumented frames are several times larger, and so are those of -O0.
#if defined(MSENTRY_ASAN) || defined(MSENTRY_TSAN)
constexpr size_t kStackFactor = 4;
#elif !defined(NDEBUG)
constexpr size_t kStackFactor = 2;
#else
constexpr size_t kStackFactor = 1;
#endif

constexpr size_t kPage = 4096;
constexpr size_t kMaxFreeStacks = 64;

// Never destroyed: fibers may end while the process exits.
struct StackPool {
  Mutex mutex;
  std::vector<Stack> free ABSL_GUARDED_BY(mutex);
};
StackPool& Pool() {
  static StackPool* pool = new StackPool;
  return *pool;
}

// What both sides of a switch do on arrival: `t.data` is the Context that was left.
void Arrive(transfer_t t, void* own_fake_stack) {
  Context* left = static_cast<Context*>(t.data);
  left->fcontext = t.fctx;
#ifdef MSENTRY_ASAN
  __sanitizer_finish_switch_fiber(own_fake_stack, &left->stack_bottom, &left->stack_size);
#else
  (void)own_fake_stack;
#endif
}

[[noreturn]] void FiberEntry(transfer_t t) {
  Arrive(t, nullptr);
  Fiber* fiber = CurrentFiber();
  fiber->RunBody();
  LeaveFiber(AfterSwitch::kEnd);
  __builtin_unreachable();
}

}  // namespace

void SwitchContext(Context& from, Context& to, bool from_ends) {
  DCHECK(LocksHeld() == 0);
#ifdef MSENTRY_ASAN
  __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.fake_stack, to.stack_bottom,
                                 to.stack_size);
#else
  (void)from_ends;
#endif
#ifdef MSENTRY_TSAN
  if (from.tsan_fiber == nullptr) from.tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
  Arrive(jump_fcontext(to.fcontext, &from), from.fake_stack);
}

Stack AllocateStack(size_t usable_bytes) {
  size_t size = (usable_bytes * kStackFactor + kPage - 1) / kPage * kPage + kPage;
  {
    StackPool& pool = Pool();
    MutexLock lock(pool.mutex);
    if (!pool.free.empty() && pool.free.back().size == size) {
      Stack stack = pool.free.back();
      pool.free.pop_back();
      return stack;
    }
  }
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  CHECK(base != MAP_FAILED);
  CHECK(mprotect(base, kPage, PROT_NONE) == 0);
  return {static_cast<std::byte*>(base), size};
}

void FreeStack(Stack stack) {
#ifdef MSENTRY_ASAN
  ASAN_UNPOISON_MEMORY_REGION(stack.base + kPage, stack.size - kPage);
#endif
  {
    StackPool& pool = Pool();
    MutexLock lock(pool.mutex);
    if (pool.free.size() < kMaxFreeStacks) {
      pool.free.push_back(stack);
      return;
    }
  }
  munmap(stack.base, stack.size);
}

}  // namespace internal

Fiber::Fiber(internal::Core& core_in, std::string_view name_in, size_t stack_bytes,
             absl::AnyInvocable<void()> body)
    : core(core_in),
      name(name_in),
      stack_(internal::AllocateStack(stack_bytes)),
      body_(std::move(body)) {
  park_timer.fiber = this;
  context.stack_bottom = stack_.base + internal::kPage;
  context.stack_size = stack_.size - internal::kPage;
  context.fcontext =
      internal::make_fcontext(stack_.base + stack_.size, context.stack_size, internal::FiberEntry);
#ifdef MSENTRY_TSAN
  context.tsan_fiber = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  DCHECK(!park_timer.queued());
#ifdef MSENTRY_TSAN
  __tsan_destroy_fiber(context.tsan_fiber);
#endif
  internal::FreeStack(stack_);
}

bool Fiber::Wake(uint32_t bit) {
  uint32_t old = word_.load(std::memory_order_relaxed);
  for (;;) {
    uint32_t phase = old & kPhase;
    bool ready = (phase == kParked || phase == kParkedInternal) && (bit & WakeBits(phase));
    uint32_t wanted = (ready ? (old & ~kPhase) | kQueued : old) | bit;
    if (word_.compare_exchange_weak(old, wanted, std::memory_order_acq_rel)) return ready;
  }
}

bool Fiber::FinishPark(uint32_t phase) {
  uint32_t old = word_.load(std::memory_order_relaxed);
  for (;;) {
    bool ready = old & WakeBits(phase);
    if (word_.compare_exchange_weak(old, old | (ready ? kQueued : phase),
                                    std::memory_order_acq_rel)) {
      return ready;
    }
  }
}

void Fiber::RunBody() {
  body_();
  body_ = nullptr;
}

}  // namespace msentry::sched
