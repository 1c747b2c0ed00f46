// Fibers on a small pool of worker threads: the sentry's own scheduling.
//
// Every guest task, and every other activity that must be able to wait, is a fiber
// (Boost.Context; fiber.cc holds the one place that switches, with the sanitizers' hooks).
// A fiber that waits is parked and costs its stack's touched pages; the worker goes on with
// another.
//
//   Scheduler::Options options{.workers = 2};
//   auto scheduler = MUST(Scheduler::Create(options));
//   scheduler->Spawn("init", [&] { ... Park(deadline) ... });
//   scheduler->Run();              // until Stop()
//
// Rules: a fiber may move between workers at any Park(), so no thread_local survives one, and no
// Mutex is held across one (debug builds check). Unpark() may come from any thread, also before
// the Park(): it leaves a token that the next Park() takes. Tokens do not add up, and anybody may
// leave one (a signal does), so a caller of Park() looks at its condition again, in a loop. To wait
// for one particular thing whatever else happens (a reply of the gofer), use Completion.
//
// Idle workers sleep in epoll_wait over the host fds, the doorbell and the timers; the kernel wakes
// one of them, the last that went to sleep. Before it sleeps, at most one of them, the *poller*,
// spins for `spin_ns` over the SpinSource (shared slots of guest threads). Nothing spins when no
// guest thread runs, when guest threads fill the CPUs or when there is one: idle is zero CPU.
// core.h has the protocol.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"

namespace msentry::sched {

class Fiber;
class Scheduler;

inline constexpr int64_t kNever = INT64_MAX;

// Host CLOCK_MONOTONIC in nanoseconds: the unit of every deadline below.
int64_t NowNs();

// The running fiber; null on a thread that is not a worker inside a fiber.
Fiber* CurrentFiber();

enum class ParkResult { kUnparked, kTimedOut };

// Suspends the current fiber until Unpark or the deadline. A pending token returns at once.
ParkResult Park(int64_t deadline_ns = kNever);
// Makes `fiber` runnable (or leaves a token). Any thread. The fiber must not have ended: whoever
// holds the pointer guarantees it (tasks unregister before they end).
void Unpark(Fiber* fiber);
// Lets other runnable fibers go first (sched_yield).
void Yield();

// One pointer that belongs to the current fiber and goes with it between workers: the kernel's
// Task. Null on a new fiber, and on a thread that is not in a fiber.
void SetFiberLocal(void* value);
void* FiberLocal();

// A fiber about to run for long (a large copy) calls this: another worker gets what waits for this
// one. Nothing to do when not on a fiber.
void ExpectDelay();

// Runs `fn` on a helper host thread while the current fiber is parked: for host calls that block
// for long (fsync, a large read from a slow disk). Direct call when not on a fiber.
void Offload(absl::FunctionRef<void()> fn);

// One event, waited for by one fiber (or plain host thread) whatever else unparks it: Unpark()
// tokens that arrive meanwhile are kept for the next Park(). Signal() may come from any thread, at
// most once, before or after Wait(); it does not touch the object after Wait() can return.
class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  void Wait();
  void Signal();
  bool done() const { return state_.load(std::memory_order_acquire) == kDone; }

 private:
  // Else the waiting Fiber's address.
  static constexpr uintptr_t kPending = 0, kDone = 1, kThread = 2;
  std::atomic<uintptr_t> state_{kPending};
};

// Something whose readiness is a shared-memory word: the systrap platform's slots.
class SpinSource {
 public:
  virtual ~SpinSource() = default;
  // Looks at every slot of a running guest thread; unparks the fibers of those with a request.
  // Returns how many. Never called concurrently with itself.
  virtual int Poll() = 0;
  // Guest threads now in guest code: resumed, and their next request not yet seen by Poll(). With
  // none there is nothing to spin for. A sequentially consistent load; it goes up before the fiber
  // that resumes the guest thread parks.
  virtual int Running() const = 0;
  // true: nobody spins now, a stub that posts a request must ring the doorbell. Sequentially
  // consistent with the Poll() that follows it.
  virtual void SetDoorbellArmed(bool armed) = 0;
};

class Scheduler {
 public:
  struct Options {
    int workers = 2;
    size_t stack_bytes = 64 * 1024;  // per fiber, with a guard page; touched pages only cost
    int64_t spin_ns = 5000;          // 0: never spin (one CPU)
  };
  static Result<std::unique_ptr<Scheduler>> Create(const Options& options);
  ~Scheduler();

  // Starts a fiber. It is freed when `body` returns. Any thread. Fibers still parked when the
  // Scheduler goes are abandoned: nothing on their stacks is destroyed.
  Fiber* Spawn(std::string_view name, absl::AnyInvocable<void()> body);

  // Runs the workers (the calling thread is one of them) until Stop().
  void Run();
  void Stop();

  // At most one, set before Run().
  void SetSpinSource(SpinSource* source);
  // An eventfd (non-blocking): writing to it wakes a sleeping worker. Stubs ring it.
  int doorbell_fd() const;

  // What the workers did so far, for tests and --debug.
  struct Stats {
    uint64_t switches = 0;  // times a fiber was run
    uint64_t sleeps = 0;    // epoll_wait calls that could block
    uint64_t wakes = 0;     // times one worker had to wake another
    uint64_t spins = 0, spins_paid = 0;
  };
  Stats stats() const;

 private:
  friend class HostFdWatch;
  friend class Timer;
  struct Impl;
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The scheduler whose worker the caller is on; else the process's only one. CHECK-fails if none.
Scheduler& CurrentScheduler();

// Calls `callback(epoll events)` on a worker, outside any fiber, when a host fd becomes ready
// (edge triggered). The callback must not block: it unparks or notifies. The destructor returns
// only when no callback runs any more.
// Several watches of one fd are allowed. kEPERM for a file that cannot be polled (regular files).
class HostFdWatch {
 public:
  static Result<std::unique_ptr<HostFdWatch>> Create(Scheduler& scheduler, int fd, uint32_t events,
                                                     absl::AnyInvocable<void(uint32_t)> callback);
  ~HostFdWatch();

 private:
  struct Impl;
  explicit HostFdWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A one-shot timer; the callback runs on a worker outside any fiber and must not block. It may
// re-arm. Cancel() and the destructor return only when the callback is not running (unless called
// from it).
class Timer {
 public:
  Timer(Scheduler& scheduler, absl::AnyInvocable<void()> callback);
  ~Timer();
  void Arm(int64_t deadline_ns);
  void Cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A lock that may be held across Park(): directory operations that wait for the gofer, and such.
// First come, first served. Only fibers may take it. Prefer Mutex.
class ABSL_LOCKABLE FiberMutex {
 public:
  FiberMutex() = default;
  ~FiberMutex();
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION();
  void Unlock() ABSL_UNLOCK_FUNCTION();

 private:
  struct Waiter;
  Mutex mutex_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  Waiter* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Waiter* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class ABSL_SCOPED_LOCKABLE FiberMutexLock {
 public:
  explicit FiberMutexLock(FiberMutex& m) ABSL_EXCLUSIVE_LOCK_FUNCTION(m) : m_(m) { m_.Lock(); }
  ~FiberMutexLock() ABSL_UNLOCK_FUNCTION() { m_.Unlock(); }
  FiberMutexLock(const FiberMutexLock&) = delete;
  FiberMutexLock& operator=(const FiberMutexLock&) = delete;

 private:
  FiberMutex& m_;
};

}  // namespace msentry::sched
