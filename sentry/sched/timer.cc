// Deadlines: of parked fibers and of Timer objects.
#include <sched.h>
#include <time.h>

#include "sentry/sched/core.h"

namespace msentry::sched {

int64_t NowNs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

namespace internal {

void Core::Arm(TimerNode* node, int64_t deadline_ns) {
  bool wake = false;
  {
    MutexLock lock(timer_mutex_);
    if (node->queued()) timers_.Remove(node);
    node->deadline_ns = deadline_ns;
    timers_.Push(node);
    next_deadline_.store(timers_.first()->deadline_ns, std::memory_order_relaxed);
    wake = deadline_ns < watched_deadline_;
  }
  // A worker comes by Sleep() before it would miss the deadline; another thread does not.
  Worker* worker = CurrentWorker();
  if (wake && (worker == nullptr || &worker->core != this)) WakeOne();
}

void Core::Disarm(TimerNode* node) {
  MutexLock lock(timer_mutex_);
  if (!node->queued()) return;
  timers_.Remove(node);
  next_deadline_.store(timers_.empty() ? kNever : timers_.first()->deadline_ns,
                       std::memory_order_relaxed);
}

void Core::Cancel(TimerState& state) {
  Disarm(&state.node);
  for (;;) {
    {
      MutexLock lock(timer_mutex_);
      if (state.node.queued()) {  // the callback armed it again
        timers_.Remove(&state.node);
        next_deadline_.store(timers_.empty() ? kNever : timers_.first()->deadline_ns,
                             std::memory_order_relaxed);
      }
      if (state.running_on == nullptr) return;
      if (state.running_on == CurrentWorker() && CurrentFiber() == nullptr) return;
    }
    sched_yield();
  }
}

void Core::FireTimers() {
  int64_t next = next_deadline_.load(std::memory_order_relaxed);
  if (next == kNever) return;
  int64_t now = NowNs();
  if (next > now) return;
  for (;;) {
    std::shared_ptr<TimerState> state;
    {
      MutexLock lock(timer_mutex_);
      TimerNode* first = timers_.first();
      next_deadline_.store(first ? first->deadline_ns : kNever, std::memory_order_relaxed);
      if (first == nullptr || first->deadline_ns > now) return;
      // One callback of a timer at a time; whoever runs it looks at the heap again afterwards.
      if (first->timer != nullptr && first->timer->running_on != nullptr) return;
      timers_.Remove(first);
      if (first->fiber != nullptr) {
        // Under the lock, so that after Disarm() no late timeout can come.
        if (first->fiber->Wake(Fiber::kTimeout)) Enqueue(first->fiber);
        continue;
      }
      state = first->timer->shared_from_this();
      state->running_on = CurrentWorker();
    }
    state->callback();
    MutexLock lock(timer_mutex_);
    state->running_on = nullptr;
  }
}

}  // namespace internal

struct Timer::Impl {
  std::shared_ptr<internal::TimerState> state;
};

Timer::Timer(Scheduler& scheduler, absl::AnyInvocable<void()> callback)
    : impl_(std::make_unique<Impl>()) {
  impl_->state = std::make_shared<internal::TimerState>();
  impl_->state->core = scheduler.impl_->core.get();
  impl_->state->node.timer = impl_->state.get();
  impl_->state->callback = std::move(callback);
}

Timer::~Timer() { Cancel(); }

void Timer::Arm(int64_t deadline_ns) {
  if (deadline_ns == kNever) return Cancel();
  impl_->state->core->Arm(&impl_->state->node, deadline_ns);
}

void Timer::Cancel() { impl_->state->core->Cancel(*impl_->state); }

}  // namespace msentry::sched
