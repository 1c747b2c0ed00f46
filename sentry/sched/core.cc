#include "sentry/sched/core.h"

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

int UsableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return CPU_COUNT(&set);
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

Core::Core(const Scheduler::Options& options) : options_(options), cpus_(UsableCpus()) {}
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
    if (source_ != nullptr && source_->Running() > 0 && TryTakeRole()) {
      PollSlots(worker);
      if (!HaveWork(worker)) Spin(worker);
      CoverGuests(worker);
      ReleaseRole(worker);
    }
    if (Fiber* fiber = TakeNext(worker)) return fiber;
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
      if (!worker.batch.empty()) {
        while (Fiber* more = worker.batch.Pop()) Push(more);
        WakeOne();
      }
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
  if (more) WakeOne();
  return fiber;
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

void Core::CoverGuests(Worker& worker) {
  if (armed_.load(std::memory_order_relaxed) || source_->Running() == 0) return;
  armed_.store(true, std::memory_order_seq_cst);
  source_->SetDoorbellArmed(true);
  PollSlots(worker);
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
  // Spinning pays only when a CPU would be idle otherwise.
  if (options_.spin_ns <= 0 || cpus_ < 2 || source_->Running() >= cpus_) return false;
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
  if (armed_.load(std::memory_order_relaxed)) {
    armed_.store(false, std::memory_order_seq_cst);
    source_->SetDoorbellArmed(false);
  }
  spinning_.store(true, std::memory_order_seq_cst);
  bool paid = SpinOnce(worker);
  spinning_.store(false, std::memory_order_seq_cst);
  if (paid) {
    failed_spins_.store(0, std::memory_order_relaxed);
    Count(worker.spins_paid);
    return;
  }
  // After four failures in a row, longer and longer periods without (up to 64 of them).
  int failed = failed_spins_.load(std::memory_order_relaxed) + 1;
  failed_spins_.store(failed, std::memory_order_relaxed);
  if (failed >= 4) skip_spins_.store(1 << std::min(failed - 4, 6), std::memory_order_relaxed);
}

bool Core::SpinOnce(Worker& worker) {
  int64_t start = 0;
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      PollSlots(worker);
      if (HaveWork(worker)) return true;
      __builtin_ia32_pause();
    }
    int64_t now = NowNs();
    if (start == 0) start = now;
    if (now - start >= options_.spin_ns || now >= next_deadline_.load(std::memory_order_relaxed)) {
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
