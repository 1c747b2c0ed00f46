#include "sentry/sched/scheduler.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/base/check.h"
#include "sentry/sched/core.h"
#include "sentry/sched/idle.h"

namespace msentry::sched {
namespace {

using internal::AfterSwitch;
using internal::CurrentWorker;
using internal::LeaveFiber;

// The process's only scheduler, for CurrentScheduler() off the workers.
std::atomic<Scheduler*> only_scheduler{nullptr};

}  // namespace

Fiber* CurrentFiber() {
  internal::Worker* worker = CurrentWorker();
  return worker ? worker->fiber : nullptr;
}

ParkResult Park(int64_t deadline_ns) {
  Fiber* fiber = CurrentFiber();
  CHECK(fiber != nullptr);
  if (fiber->TakeBits(Fiber::kToken)) return ParkResult::kUnparked;
  if (deadline_ns == kNever && fiber->core.PollBriefly(*fiber)) {
    fiber->TakeBits(Fiber::kToken);
    return ParkResult::kUnparked;
  }
  if (deadline_ns != kNever) {
    if (deadline_ns <= NowNs()) return ParkResult::kTimedOut;
    fiber->core.Arm(&fiber->park_timer, deadline_ns);
  }
  LeaveFiber(AfterSwitch::kPark);
  if (deadline_ns != kNever) fiber->core.Disarm(&fiber->park_timer);
  uint32_t bits = fiber->TakeBits(Fiber::kToken | Fiber::kTimeout);
  return bits & Fiber::kToken ? ParkResult::kUnparked : ParkResult::kTimedOut;
}

void Unpark(Fiber* fiber) {
  if (fiber->Wake(Fiber::kToken)) fiber->core.Enqueue(fiber);
}

void Yield() {
  CHECK(CurrentFiber() != nullptr);
  LeaveFiber(AfterSwitch::kYield);
}

void SetFiberLocal(void* value) {
  Fiber* fiber = CurrentFiber();
  CHECK(fiber != nullptr);
  fiber->local = value;
}

void* FiberLocal() {
  Fiber* fiber = CurrentFiber();
  return fiber ? fiber->local : nullptr;
}

void ExpectDelay() {
  if (Fiber* fiber = CurrentFiber()) fiber->core.ExpectDelay();
}

bool NothingElseToRun() {
  Fiber* fiber = CurrentFiber();
  return fiber != nullptr && fiber->core.NothingElseToRun();
}

void Completion::Wait() {
  Fiber* fiber = CurrentFiber();
  uintptr_t expected = kPending;
  uintptr_t waiter = fiber ? reinterpret_cast<uintptr_t>(fiber) : kThread;
  if (!state_.compare_exchange_strong(expected, waiter, std::memory_order_acq_rel)) {
    CHECK(expected == kDone);
    return;
  }
  if (fiber != nullptr) {
    LeaveFiber(AfterSwitch::kParkInternal);
    fiber->TakeBits(Fiber::kInternal);
    DCHECK(done());
    return;
  }
  while (!done()) {
    // The low half, little endian.
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&state_), FUTEX_WAIT_PRIVATE, kThread, nullptr,
            nullptr, 0);
  }
}

void Completion::Signal() {
  uintptr_t waiter = state_.exchange(kDone, std::memory_order_acq_rel);
  // From here on the object may be gone; the fiber is not, it waits for the bit we set.
  if (waiter == kPending) return;
  CHECK(waiter != kDone);
  if (waiter == kThread) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&state_), FUTEX_WAKE_PRIVATE, 1, nullptr,
            nullptr, 0);
    return;
  }
  Fiber* fiber = reinterpret_cast<Fiber*>(waiter);
  if (fiber->Wake(Fiber::kInternal)) fiber->core.Enqueue(fiber);
}

struct FiberMutex::Waiter {
  Completion turn;
  Waiter* next = nullptr;
};

FiberMutex::~FiberMutex() { DCHECK(!held_); }

void FiberMutex::Lock() {
  Waiter waiter;
  {
    MutexLock lock(mutex_);
    if (!held_) {
      held_ = true;
      return;
    }
    (last_ ? last_->next : first_) = &waiter;
    last_ = &waiter;
  }
  waiter.turn.Wait();  // Unlock() handed the lock to us
}

void FiberMutex::Unlock() {
  Waiter* next;
  {
    MutexLock lock(mutex_);
    CHECK(held_);
    next = first_;
    if (next == nullptr) {
      held_ = false;
      return;
    }
    first_ = next->next;
    if (first_ == nullptr) last_ = nullptr;
  }
  next->turn.Signal();
}

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Scheduler>> Scheduler::Create(const Options& options) {
  auto impl = std::make_unique<Impl>();
  impl->core = TRY(internal::Core::Create(options));
  std::unique_ptr<Scheduler> scheduler(new Scheduler(std::move(impl)));
  scheduler->impl_->core->set_owner(scheduler.get());
  only_scheduler.store(scheduler.get(), std::memory_order_release);
  return scheduler;
}

Scheduler::~Scheduler() {
  Scheduler* self = this;
  only_scheduler.compare_exchange_strong(self, nullptr);
}

Fiber* Scheduler::Spawn(std::string_view name, absl::AnyInvocable<void()> body) {
  return impl_->core->Spawn(name, std::move(body));
}
void Scheduler::Run() { impl_->core->Run(); }
void Scheduler::Stop() { impl_->core->Stop(); }
void Scheduler::SetSpinSource(SpinSource* source) { impl_->core->set_source(source); }
int Scheduler::doorbell_fd() const { return impl_->core->doorbell_fd(); }
Scheduler::Stats Scheduler::stats() const { return impl_->core->stats(); }

Scheduler& CurrentScheduler() {
  if (internal::Worker* worker = CurrentWorker()) return *worker->core.owner();
  Scheduler* scheduler = only_scheduler.load(std::memory_order_acquire);
  CHECK(scheduler != nullptr);
  return *scheduler;
}

}  // namespace msentry::sched
