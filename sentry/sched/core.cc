#include "sentry/sched/core.h"

#include "sentry/sched/spin_hint.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace msentry::sched::internal {
namespace {

constexpr uint64_t kWakeId = 0, kDoorbellId = 1;

thread_local Worker* current_worker = nullptr;

// Owner-only counters: no locked instruction.
void Count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Signal(int event_fd) {
  uint64_t one = 1;
  ssize_t n = write(event_fd, &one, sizeof(one));
  (void)n;
}

}  // namespace

// Not inlined: a fiber may be on another thread after a switch, and the compiler would keep the
// address of the thread_local across it.
__attribute__((noinline)) Worker* CurrentWorker() {
  asm volatile("" ::: "memory");
  return current_worker;
}

void LeaveFiber(AfterSwitch after) {
  Worker* worker = CurrentWorker();
  worker->after = after;
  SwitchContext(worker->fiber->context, worker->context, after == AfterSwitch::kEnd);
}

void FiberList::Push(Fiber* fiber) {
  fiber->next = nullptr;
  (last_ ? last_->next : first_) = fiber;
  last_ = fiber;
}

Fiber* FiberList::Pop() {
  Fiber* fiber = first_;
  if (fiber != nullptr) {
    first_ = fiber->next;
    if (first_ == nullptr) last_ = nullptr;
  }
  return fiber;
}

Core::Core(const Scheduler::Options& options) : options_(options) {
  CPU_ZERO(&allowed_cpus_);
  if (sched_getaffinity(0, sizeof(allowed_cpus_), &allowed_cpus_) == 0) {
    cpus_ = CPU_COUNT(&allowed_cpus_);
  }
}
Core::~Core() = default;

Result<std::unique_ptr<Core>> Core::Create(const Scheduler::Options& options) {
  if (options.workers < 1 || options.stack_bytes == 0) return Errno::kEINVAL;
  std::unique_ptr<Core> core(new Core(options));
  TRY(core->Init());
  return core;
}

Result<> Core::Init() {
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  wake_fd_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  doorbell_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_fd_ || !doorbell_) return FromHost(errno);
  for (auto [fd, id] :
       {std::pair(wake_fd_.get(), kWakeId), std::pair(doorbell_.get(), kDoorbellId)}) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = id;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return FromHost(errno);
  }
  for (int i = 0; i < options_.workers; ++i) workers_.push_back(std::make_unique<Worker>(*this));
  return Ok();
}

void Core::Run() {
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([this, i] { WorkerLoop(*workers_[i]); });
  }
  WorkerLoop(*workers_[0]);
  for (std::thread& thread : threads) thread.join();
}

void Core::Stop() {
  stopping_.store(true, std::memory_order_seq_cst);
  Signal(wake_fd_.get());
}

Fiber* Core::Spawn(std::string_view name, absl::AnyInvocable<void()> body) {
  Fiber* fiber = new Fiber(*this, name, options_.stack_bytes, std::move(body));
  Enqueue(fiber);
  return fiber;
}

void Core::WorkerLoop(Worker& worker) {
  current_worker = &worker;
  prctl(PR_SET_TIMERSLACK, 1);  // our timers are the guest's: the default of 50 us would show
  while (Fiber* fiber = Next(worker)) RunFiber(worker, fiber);
  Signal(wake_fd_.get());  // each write wakes one sleeper: pass Stop() on
  current_worker = nullptr;
}

void Core::RunFiber(Worker& worker, Fiber* fiber) {
  Count(worker.switches);
  fiber->MarkRunning();
  worker.fiber = fiber;
  SwitchContext(worker.context, fiber->context);
  worker.fiber = nullptr;
  switch (worker.after) {
    case AfterSwitch::kPark:
      if (fiber->FinishPark(Fiber::kParked)) Enqueue(fiber);
      break;
    case AfterSwitch::kParkInternal:
      if (fiber->FinishPark(Fiber::kParkedInternal)) Enqueue(fiber);
      break;
    case AfterSwitch::kYield:
      fiber->MarkQueued();
      Enqueue(fiber);
      break;
    case AfterSwitch::kEnd:
      delete fiber;
      break;
  }
}

Fiber* Core::Next(Worker& worker) {
  for (;;) {
    if (stopping_.load(std::memory_order_seq_cst)) return nullptr;
    // A busy worker looks at the clock and the host fds now and then.
    ++worker.passes;
    if (worker.passes % 8 == 0) FireTimers();
    if (worker.passes % 64 == 0) WaitForEvents(worker, 0);
    const bool polled = source_ != nullptr && source_->Running() > 0 && TryTakeRole();
    if (polled) {
      Disarm();
      PollSlots(worker);
      if (!HaveWork(worker)) Spin(worker);
      // With work at hand we will be back soon: see core.h.
      if (!HaveWork(worker)) CoverGuests(worker);
      role_.store(false, std::memory_order_seq_cst);
    }
    if (Fiber* fiber = TakeNext(worker)) return fiber;
    // Work that another worker took, or a guest thread that was started by one which found the role
    // taken: in both cases nobody else looks after the slots.
    // So they do when a worker that could not take the role has taken the doorbell's event.
    const bool look_again =
        rung_.load(std::memory_order_seq_cst) || !armed_.load(std::memory_order_seq_cst);
    if (polled && look_again && source_->Running() > 0) continue;
    Sleep(worker);
  }
}

void Core::Push(Fiber* fiber) {
  MutexLock lock(queue_mutex_);
  queue_.Push(fiber);
  queued_.fetch_add(1, std::memory_order_seq_cst);
}

void Core::Enqueue(Fiber* fiber) {
  Worker* worker = CurrentWorker();
  bool ours = worker != nullptr && &worker->core == this;
  if (ours && worker->polling) {
    worker->batch.Push(fiber);
    return;
  }
  Push(fiber);
  if (!ours) WakeOne();
}

Fiber* Core::TakeNext(Worker& worker) {
  // In turn: what the slots brought goes behind what waits already.
  if (queued_.load(std::memory_order_seq_cst) == 0) {
    if (Fiber* fiber = worker.batch.Pop()) {
      const bool more = !worker.batch.empty();
      while (Fiber* next = worker.batch.Pop()) Push(next);
      if (more) WakeForRest(worker);
      return fiber;
    }
  } else {
    while (Fiber* more = worker.batch.Pop()) Push(more);
  }
  Fiber* fiber = nullptr;
  bool more = false;
  if (queued_.load(std::memory_order_seq_cst) > 0) {
    MutexLock lock(queue_mutex_);
    fiber = queue_.Pop();
    if (fiber != nullptr) more = queued_.fetch_sub(1, std::memory_order_seq_cst) > 1;
  }
  if (more) {
    WakeForRest(worker);
  } else {
    worker.left_behind = 0;
  }
  return fiber;
}

// What stays on the queue is taken by this worker within a microsecond or so; waking another costs
// more than that, and where no CPU is idle it takes one from a guest thread. So only when there is
// a CPU for it, or when the queue does not get empty.
void Core::WakeForRest(Worker& worker) {
  constexpr int kPatience = 4;
  const int guests = source_ != nullptr ? source_->Running() : 0;
  const int awake = static_cast<int>(workers_.size()) - sleepers_.load(std::memory_order_relaxed);
  if (guests + awake < cpus_ || ++worker.left_behind >= kPatience) {
    worker.left_behind = 0;
    WakeOne();
  }
}

void Core::WakeOne() {
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  if (spinning_.load(std::memory_order_seq_cst)) return;
  if (wake_pending_.exchange(true, std::memory_order_seq_cst)) return;
  if (Worker* worker = CurrentWorker()) Count(worker->wakes);
  Signal(wake_fd_.get());
}

void Core::ExpectDelay() {
  Worker* worker = CurrentWorker();
  if (source_ != nullptr && source_->Running() > 0 && TryTakeRole()) {
    CoverGuests(*worker);
    ReleaseRole(*worker);
    while (Fiber* fiber = worker->batch.Pop()) Push(fiber);
  }
  bool timers = next_deadline_.load(std::memory_order_relaxed) != kNever;
  if (timers || queued_.load(std::memory_order_seq_cst) > 0) WakeOne();
}

// Slots.

bool Core::TryTakeRole() {
  return !role_.load(std::memory_order_seq_cst) && !role_.exchange(true, std::memory_order_seq_cst);
}

void Core::ReleaseRole(Worker& worker) {
  role_.store(false, std::memory_order_seq_cst);
  // A guest thread may have started meanwhile, by a worker that could not take the role; or such a
  // worker has taken the doorbell's event for a request that our last look came too early for.
  for (;;) {
    bool rung = rung_.load(std::memory_order_seq_cst);
    bool armed = armed_.load(std::memory_order_seq_cst);
    if ((armed && !rung) || source_->Running() == 0 || !TryTakeRole()) return;
    CoverGuests(worker);
    if (rung_.load(std::memory_order_seq_cst)) PollSlots(worker);
    role_.store(false, std::memory_order_seq_cst);
  }
}

void Core::Disarm() {
  // On one CPU stubs do not wait before they sleep, so each of them has to ring.
  if (!SpinningHelps() || !armed_.load(std::memory_order_relaxed)) return;
  armed_.store(false, std::memory_order_seq_cst);
  source_->SetDoorbellArmed(false);
}

void Core::CoverGuests(Worker& worker) {
  if (armed_.load(std::memory_order_relaxed) || source_->Running() == 0) return;
  armed_.store(true, std::memory_order_seq_cst);
  source_->SetDoorbellArmed(true);
  PollSlots(worker);
}

// A guest thread that calls again at once is answered without leaving the fiber. One time in eight
// the worker goes round its loop all the same, which looks after timers and host fds.
bool Core::PollBriefly(Fiber& fiber) {
  constexpr int kPolls = 32;
  if (source_ == nullptr || !SpinningHelps() || contended_.load(std::memory_order_relaxed))
    return false;
  Worker& worker = *CurrentWorker();
  if (++worker.parks % 8 == 0 || queued_.load(std::memory_order_relaxed) > 0 ||
      source_->Running() == 0 || !TryTakeRole()) {
    return false;
  }
  Disarm();
  for (int i = 0; i < kPolls && !HaveWork(worker) && !fiber.HasToken(); ++i) {
    PollSlots(worker);
    __builtin_ia32_pause();
  }
  // Unarmed: this worker goes on, or goes round its loop.
  role_.store(false, std::memory_order_seq_cst);
  while (Fiber* other = worker.batch.Pop()) Push(other);
  return fiber.HasToken();
}

void Core::NoteWake(Worker& worker, int cpu) {
  // Moving costs about as much as a few wake-ups.
  constexpr int64_t kBetweenMoves = 1'000'000;
  const bool crowded = source_ != nullptr && source_->Running() >= cpus_;
  if (!crowded && cpu != sched_getcpu()) return;
  const int64_t now = NowNs();
  if (crowded || !SpinningHelps() || now - worker.moved_ns < kBetweenMoves || cpu < 0 ||
      cpu >= CPU_SETSIZE) {
    worker.crowded_wake = true;
    return;
  }
  worker.moved_ns = now;
  cpu_set_t others = allowed_cpus_;
  CPU_CLR(cpu, &others);
  // A host that forbids it costs us speed only.
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof(others), &others) != 0) {
    worker.crowded_wake = true;
  }
}

void Core::PollSlots(Worker& worker) {
  worker.polling = true;
  // Before the look: what rings from here on asks for another one.
  if (rung_.load(std::memory_order_relaxed)) rung_.store(false, std::memory_order_seq_cst);
  source_->Poll();
  worker.polling = false;
}

bool Core::HaveWork(const Worker& worker) const {
  return !worker.batch.empty() || queued_.load(std::memory_order_seq_cst) > 0;
}

bool Core::MaySpin() {
  if (!SpinningHelps() || Contended()) return false;
  int skip = skip_spins_.load(std::memory_order_relaxed);
  if (skip > 0) {
    skip_spins_.store(skip - 1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

void Core::Spin(Worker& worker) {
  if (!MaySpin()) return;
  Count(worker.spins);
  spinning_.store(true, std::memory_order_seq_cst);
  bool paid = SpinOnce(worker);
  spinning_.store(false, std::memory_order_seq_cst);
  if (paid) {
    failed_spins_.store(0, std::memory_order_relaxed);
    Count(worker.spins_paid);
    return;
  }
  // After four failures in a row, longer and longer periods without (up to 32 of them).
  int failed = failed_spins_.load(std::memory_order_relaxed) + 1;
  failed_spins_.store(failed, std::memory_order_relaxed);
  if (failed >= 4) skip_spins_.store(1 << std::min(failed - 4, 5), std::memory_order_relaxed);
}

// Other processes want our CPUs: one that spins is put off for a slice (3 ms) just when it is
// needed, one that sleeps is let in when it wakes.
bool Core::Contended() {
  if (!contended_.load(std::memory_order_relaxed)) return false;
  if (NowNs() < contended_until_.load(std::memory_order_relaxed)) return true;
  contended_.store(false, std::memory_order_relaxed);
  return false;
}

// The longer, the sooner it happens again.
void Core::NoteContention(int64_t now) {
  constexpr int64_t kShortest = 10'000'000, kLongest = 1'000'000'000;
  const int64_t until = contended_until_.load(std::memory_order_relaxed);
  const int64_t last = contention_ns_.load(std::memory_order_relaxed);
  const int64_t length =
      now - until < 2 * kLongest ? std::clamp(2 * last, kShortest, kLongest) : kShortest;
  contention_ns_.store(length, std::memory_order_relaxed);
  contended_until_.store(now + length, std::memory_order_relaxed);
  contended_.store(true, std::memory_order_relaxed);
}

bool Core::SpinOnce(Worker& worker) {
  constexpr int64_t kGap = 200'000;  // between two looks at the clock: we did not run
  constexpr int64_t kCrowdedSpinNs = 1500;

  // No sched_yield() in between: since 6.18 the host takes a whole slice (3 ms) for it.
  const int64_t budget = worker.crowded_wake ? kCrowdedSpinNs : options_.spin_ns;
  int64_t start = 0, last = 0;
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      PollSlots(worker);
      if (HaveWork(worker)) return true;
      __builtin_ia32_pause();
    }
    int64_t now = NowNs();
    if (start == 0) start = last = now;
    if (now - last > kGap) {
      NoteContention(now);
      return false;
    }
    last = now;
    if (now - start >= budget || now >= next_deadline_.load(std::memory_order_relaxed)) {
      return false;
    }
    if (stopping_.load(std::memory_order_relaxed) || source_->Running() == 0) return false;
  }
}

// Sleeping.

void Core::Sleep(Worker& worker) {
  FireTimers();
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  if (queued_.load(std::memory_order_seq_cst) > 0 || stopping_.load(std::memory_order_seq_cst)) {
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    return;
  }
  int64_t deadline = ChooseDeadline();
  Count(worker.sleeps);
  worker.crowded_wake = false;
  int64_t before = NowNs();
  WaitForEvents(worker, deadline);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  wake_pending_.store(false, std::memory_order_seq_cst);
  GiveUpDeadline(deadline);
  // Woken so soon that a spin (and a half) would have caught it, wake-up time included.
  if (NowNs() - before < 2 * options_.spin_ns + 5000) {
    failed_spins_.store(0, std::memory_order_relaxed);
    skip_spins_.store(0, std::memory_order_relaxed);
  }
  FireTimers();
}

// `deadline_ns`: kNever to wait without end, 0 not to wait.
void Core::WaitForEvents(Worker& worker, int64_t deadline_ns) {
  (void)worker;
  static std::atomic<bool> have_pwait2{true};
  constexpr int kMaxEvents = 32;
  epoll_event events[kMaxEvents];
  int n = -1;
  int64_t left = deadline_ns == 0 ? 0 : std::max<int64_t>(deadline_ns - NowNs(), 0);
  if (have_pwait2.load(std::memory_order_relaxed)) {
    timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    n = static_cast<int>(syscall(SYS_epoll_pwait2, epoll_.get(), events, kMaxEvents,
                                 deadline_ns == kNever ? nullptr : &timeout, nullptr, 0));
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
      have_pwait2.store(false, std::memory_order_relaxed);
      return;  // the next pass comes here again
    }
  } else {
    int64_t ms = (left + 999'999) / 1'000'000;
    n = epoll_wait(epoll_.get(), events, kMaxEvents,
                   deadline_ns == kNever ? -1 : static_cast<int>(std::min<int64_t>(ms, INT32_MAX)));
  }
  for (int i = 0; i < n; ++i) {
    if (events[i].data.u64 == kWakeId) {
      // Also when a busy worker comes by: it took the wake-up that a sleeper was to get.
      wake_pending_.store(false, std::memory_order_seq_cst);
    } else if (events[i].data.u64 == kDoorbellId) {
      // Only because a hostile stub could fill the counter, after which no write makes an edge.
      uint64_t ignored;
      ssize_t got = read(doorbell_.get(), &ignored, sizeof(ignored));
      (void)got;
      rung_.store(true, std::memory_order_seq_cst);
    } else if (events[i].data.u64 >= HostFdTable::kFirstId) {
      host_fds_.Deliver(events[i].data.u64, events[i].events);
    }
  }
}

int64_t Core::ChooseDeadline() {
  MutexLock lock(timer_mutex_);
  TimerNode* first = timers_.first();
  if (first == nullptr || first->deadline_ns >= watched_deadline_) return kNever;
  watched_deadline_ = first->deadline_ns;
  return watched_deadline_;
}

void Core::GiveUpDeadline(int64_t deadline_ns) {
  if (deadline_ns == kNever) return;
  MutexLock lock(timer_mutex_);
  if (watched_deadline_ == deadline_ns) watched_deadline_ = kNever;
}

Scheduler::Stats Core::stats() const {
  Scheduler::Stats stats;
  for (const auto& worker : workers_) {
    stats.switches += worker->switches.load(std::memory_order_relaxed);
    stats.sleeps += worker->sleeps.load(std::memory_order_relaxed);
    stats.wakes += worker->wakes.load(std::memory_order_relaxed);
    stats.spins += worker->spins.load(std::memory_order_relaxed);
    stats.spins_paid += worker->spins_paid.load(std::memory_order_relaxed);
  }
  return stats;
}

}  // namespace msentry::sched::internal

namespace msentry::sched {

void NoteWake(int cpu) {
  if (internal::Worker* worker = internal::CurrentWorker()) worker->core.NoteWake(*worker, cpu);
}

}  // namespace msentry::sched
