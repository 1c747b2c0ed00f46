// Core: workers, run queue, polling and sleeping. Internal to sentry/sched.
//
// A worker loops: look at the slots, take a fiber, run it until it parks; nothing to do: sleep.
//
// Looking at the slots (SpinSource::Poll) needs the *role*, a try-lock; whoever has it may spin.
// `armed` tells the stubs that no worker is awake, so that a request must ring the doorbell.
// Invariant:
//   all workers sleep  =>  armed, or no guest thread runs
// Whoever has the role and finds nothing to do arms and scans again before it gives the role up.
// One that found work gives the role up unarmed: it looks again before it sleeps. A guest thread is
// started by a worker, which looks at the slots afterwards, unless the role is taken; the holder
// then sees that guest thread when it looks once more after it has given the role up (both sides
// are sequentially consistent). A fiber that keeps its worker for long says so (ExpectDelay), which
// arms. In case one does not, a stub that has spun in vain rings whether armed or not. So a call
// costs one scan by the spinning worker: no arming, no other worker. `rung` is a ring of the
// doorbell that no scan has followed yet: the worker that took the event out of epoll may find the
// role held by one whose scan was too early, who looks at `rung` after it has given the role up.
//
// Idle workers all sleep in one epoll_wait; the kernel wakes the last that went to sleep, so the
// work stays on a warm worker. A sleeper waits until the earliest timer only if no other sleeper's
// timeout is as early. A worker that leaves fibers on the queue wakes another one if there is a CPU
// for it (WakeForRest), if none spins and no wake-up is under way; Unpark() from within a worker
// never does so itself, since that worker comes by the queue soon.
//
// Locks: timer mutex -> queue mutex. Nothing else is taken under them; no callback runs under them.
#pragma once

#include <sched.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/fiber.h"
#include "sentry/sched/host_fd.h"
#include "sentry/sched/scheduler.h"
#include "sentry/sched/timer_heap.h"

namespace msentry::sched::internal {

// First in, first out, linked through Fiber::next.
class FiberList {
 public:
  bool empty() const { return first_ == nullptr; }
  void Push(Fiber* fiber);
  Fiber* Pop();  // null when empty

 private:
  Fiber* first_ = nullptr;
  Fiber* last_ = nullptr;
};

enum class AfterSwitch { kPark, kParkInternal, kYield, kEnd };

// One host thread that runs fibers. Its own thread's only, except the counters.
struct Worker {
  explicit Worker(Core& c) : core(c) {}
  Core& core;
  Context context;
  Fiber* fiber = nullptr;
  AfterSwitch after = AfterSwitch::kPark;
  FiberList batch;            // found by Poll(), not yet on the shared queue
  bool polling = false;       // inside Poll()
  bool crowded_wake = false;  // see NoteWake; until it sleeps
  int64_t moved_ns = 0;       // when it last chose its CPUs
  uint64_t parks = 0;
  int left_behind = 0;  // how often in a row it left fibers on the queue
  uint64_t passes = 0;
  // Counters for stats(): written by the owner only.
  std::atomic<uint64_t> switches{0}, sleeps{0}, wakes{0}, spins{0}, spins_paid{0};
};

// Null on a thread that is not a worker.
Worker* CurrentWorker();
// Leaves the current fiber; returns when it runs again, maybe on another worker.
void LeaveFiber(AfterSwitch after);

// What a Timer and a worker that is calling it share.
struct TimerState : std::enable_shared_from_this<TimerState> {
  Core* core = nullptr;
  TimerNode node;
  absl::AnyInvocable<void()> callback;
  Worker* running_on = nullptr;  // guarded by the core's timer mutex
};

class Core {
 public:
  static Result<std::unique_ptr<Core>> Create(const Scheduler::Options& options);
  ~Core();

  void Run();
  void Stop();
  Fiber* Spawn(std::string_view name, absl::AnyInvocable<void()> body);
  // Puts a fiber whose phase is kQueued on the run queue.
  void Enqueue(Fiber* fiber);
  // Wakes a sleeping worker unless one spins or is being woken.
  void WakeOne();
  void ExpectDelay();
  bool NothingElseToRun() const {
    return queued_.load(std::memory_order_relaxed) == 0 &&
           (source_ == nullptr || source_->Running() == 0);
  }
  // The current fiber is about to park. True: it has been unparked already.
  bool PollBriefly(Fiber& fiber);
  void NoteWake(Worker& worker, int cpu);  // see spin_hint.h

  // A node that is queued already moves. Any thread.
  void Arm(TimerNode* node, int64_t deadline_ns);
  void Disarm(TimerNode* node);
  // Disarms and waits until the callback runs on no other thread.
  void Cancel(TimerState& state);

  HostFdTable& host_fds() { return host_fds_; }
  int doorbell_fd() const { return doorbell_.get(); }
  int epoll_fd() const { return epoll_.get(); }
  void set_source(SpinSource* source) { source_ = source; }
  // The public face of this core.
  Scheduler* owner() const { return owner_; }
  void set_owner(Scheduler* owner) { owner_ = owner; }
  Scheduler::Stats stats() const;

 private:
  explicit Core(const Scheduler::Options& options);
  Result<> Init();

  void WorkerLoop(Worker& worker);
  Fiber* Next(Worker& worker);
  void RunFiber(Worker& worker, Fiber* fiber);
  Fiber* TakeNext(Worker& worker);
  void Push(Fiber* fiber);

  void WakeForRest(Worker& worker);

  // Slots: all with the role held.
  bool TryTakeRole();
  void ReleaseRole(Worker& worker);  // armed
  void Disarm();
  void PollSlots(Worker& worker);
  void CoverGuests(Worker& worker);
  bool HaveWork(const Worker& worker) const;
  void Spin(Worker& worker);
  bool SpinOnce(Worker& worker);
  bool MaySpin();
  bool Contended();
  void NoteContention(int64_t now);
  bool SpinningHelps() const { return options_.spin_ns > 0 && cpus_ > 1; }

  void Sleep(Worker& worker);
  void WaitForEvents(Worker& worker, int64_t deadline_ns);
  int64_t ChooseDeadline();
  void GiveUpDeadline(int64_t deadline_ns);
  void FireTimers();

  const Scheduler::Options options_;
  Scheduler* owner_ = nullptr;
  cpu_set_t allowed_cpus_;
  int cpus_ = 1;
  ScopedFd epoll_, doorbell_, wake_fd_;
  SpinSource* source_ = nullptr;  // set before Run()
  HostFdTable host_fds_;
  std::vector<std::unique_ptr<Worker>> workers_;  // fixed after Create

  std::atomic<bool> stopping_{false};
  std::atomic<bool> role_{false};
  std::atomic<bool> armed_{false};     // written with the role held
  std::atomic<bool> rung_{false};      // see above
  std::atomic<bool> spinning_{false};  // written with the role held
  std::atomic<int> sleepers_{0};
  std::atomic<bool> wake_pending_{false};

  // Spin adaptation, role holder's (atomics because the role passes between workers).
  std::atomic<int> failed_spins_{0};  // in a row
  std::atomic<int> skip_spins_{0};    // idle periods still to pass without spinning
  std::atomic<bool> contended_{false};
  std::atomic<int64_t> contended_until_{0}, contention_ns_{0};

  Mutex queue_mutex_;
  FiberList queue_ ABSL_GUARDED_BY(queue_mutex_);
  std::atomic<int> queued_{0};  // on queue_

  Mutex timer_mutex_ ABSL_ACQUIRED_BEFORE(queue_mutex_);
  TimerHeap timers_ ABSL_GUARDED_BY(timer_mutex_);
  // The earliest timeout of a sleeping worker.
  int64_t watched_deadline_ ABSL_GUARDED_BY(timer_mutex_) = kNever;
  std::atomic<int64_t> next_deadline_{kNever};  // timers_' first
};

}  // namespace msentry::sched::internal

namespace msentry::sched {
struct Scheduler::Impl {
  std::unique_ptr<internal::Core> core;
};
}  // namespace msentry::sched
