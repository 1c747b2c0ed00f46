#include "platform/systrap/systrap.h"

#include <sched.h>
#include <unistd.h>

#include "platform/systrap/platform_impl.h"
#include "platform/systrap/xstate.h"

namespace msentry::systrap {
namespace {

static_assert(kMarshalPath == static_cast<uint8_t>(abi::ArgKind::kPath));
static_assert(kMarshalBufferIn == static_cast<uint8_t>(abi::ArgKind::kBufferIn));
static_assert(kMarshalStructIn == static_cast<uint8_t>(abi::ArgKind::kStructIn));
static_assert(kMarshalCalls == abi::kMaxSyscall);

void FillMarshal(const abi::SyscallArgSpecs* specs, Control* control) {
  for (int call = 0; call < kMarshalCalls; ++call) {
    for (int i = 0; i < 6; ++i) {
      const abi::ArgSpec& spec = specs[call].arg[i];
      MarshalArg& to = control->marshal[call][i];
      to = {static_cast<uint8_t>(spec.kind), spec.length_arg, spec.size};
      if (spec.kind == abi::ArgKind::kPath || spec.kind == abi::ArgKind::kBufferIn ||
          spec.kind == abi::ArgKind::kStructIn) {
        control->marshalled[call] = 1;
      }
    }
  }
}

// A signal frame without the FPU's state, padding included.
constexpr uint64_t kFrameRoom = 1536;

// How long a stub waits for its answer before it sleeps: what sleeping and being woken costs.
constexpr int64_t kStubSpinNs = 50'000;

// That many pauses of the processor take about `ns`: from 15 to 140 cycles each.
uint32_t PausesIn(int64_t ns) {
  constexpr int kSample = 200;
  int64_t best = INT64_MAX;
  for (int round = 0; round < 3; ++round) {
    int64_t start = sched::NowNs();
    for (int i = 0; i < kSample; ++i) __builtin_ia32_pause();
    best = std::min(best, sched::NowNs() - start);
  }
  return static_cast<uint32_t>(
      std::clamp<int64_t>(ns * kSample / std::max<int64_t>(best, 1), 1, 10'000));
}

}  // namespace

Result<std::unique_ptr<platform::Platform>> SystrapPlatform::Create(
    sched::Scheduler& scheduler, const platform::Options& options, std::string* why) {
  std::unique_ptr<SystrapPlatform> p(new SystrapPlatform(scheduler, options));
  TRY(p->Init(why));
  return std::unique_ptr<platform::Platform>(std::move(p));
}

Result<> SystrapPlatform::Init(std::string* why) {
  control_ = TRY(ControlPage::Create());
  Control* control = control_->get();
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) cpus_ = CPU_COUNT(&cpus);
  control->spin = cpus_ > 1 ? PausesIn(kStubSpinNs) : 0;
  control->xstate_mask = HostXstate().mask;
  control->signal_frame = std::min<uint64_t>(HostXstate().size + kFrameRoom, kArgsMax);
  control->armed = 1;
  control->strict_gate = options_.strict_gate;
  if (options_.arg_specs) FillMarshal(options_.arg_specs, control);
  std::unique_ptr<SlotFile> slots = TRY(SlotFile::Create());
  uint32_t index = TRY(slots->Allocate());
  __atomic_store_n(&slots->At(index)->state, kIdle,
                   __ATOMIC_RELEASE);  // the zygote posts by itself
  Zygote zygote =
      TRY(StartZygote(*control_, *slots, scheduler_.doorbell_fd(), options_.strict_gate, why));
  vdso_ = zygote.vdso;
  keeper_ = TRY(Keeper::Start(std::move(zygote.listener), &slots_));
  RefPtr<Space> space = MakeRef<Space>(*this, std::move(slots));
  TRY(keeper_->Watch(zygote.pid, space.get()));
  auto thread = std::make_unique<Thread>(*this, space, index, 0);
  thread->Adopt(zygote.pid);
  {
    // Free: nobody else is here yet.
    sched::FiberMutexLock lock(*zygote_mutex_);
    zygote_ = std::move(thread);
  }
  scheduler_.SetSpinSource(this);
  // By the time the first program is loaded there is a process for it.
  if (options_.pool > 0) {
    MutexLock lock(pool_mutex_);
    refilling_ = true;
    scheduler_.Spawn("systrap-pool", [this] { Refill(); });
  }
  return Ok();
}

SystrapPlatform::~SystrapPlatform() {
  std::vector<NewSpace> pool;
  {
    MutexLock lock(pool_mutex_);
    pool.swap(pool_);
    if (refilling_) (void)zygote_mutex_.release();
  }
  pool.clear();
  zygote_.reset();
  keeper_.reset();
}

Result<SystrapPlatform::NewSpace> SystrapPlatform::ForkZygote() {
  sched::FiberMutexLock lock(*zygote_mutex_);
  return zygote_->Fork();
}

Result<SystrapPlatform::NewSpace> SystrapPlatform::NewProcess() {
  std::optional<NewSpace> ready;
  bool start = false;
  {
    MutexLock lock(pool_mutex_);
    if (!pool_.empty()) {
      ready = std::move(pool_.back());
      pool_.pop_back();
    }
    // Not before it is needed: making one takes time that the new program could use.
    if (!refilling_ && static_cast<int>(pool_.size()) < (options_.pool + 1) / 2) {
      start = refilling_ = true;
    }
  }
  if (start) scheduler_.Spawn("systrap-pool", [this] { Refill(); });
  if (ready) return std::move(*ready);
  return ForkZygote();
}

void SystrapPlatform::Refill() {
  for (;;) {
    Result<NewSpace> fresh = ForkZygote();
    MutexLock lock(pool_mutex_);
    if (fresh.ok()) pool_.push_back(std::move(*fresh));
    if (!fresh.ok() || static_cast<int>(pool_.size()) >= options_.pool) {
      refilling_ = false;
      return;
    }
  }
}

void SystrapPlatform::SetDoorbellArmed(bool armed) {
  __atomic_store_n(&control_->get()->armed, armed ? 1u : 0u, __ATOMIC_SEQ_CST);
}

int SystrapPlatform::Poll() {
  int found = 0;
  MutexLock lock(run_mutex_);
  if (int cpu = sched_getcpu(); cpu != worker_cpu_) {
    worker_cpu_ = cpu;
    __atomic_store_n(&control_->get()->worker_cpu, static_cast<uint32_t>(cpu), __ATOMIC_RELAXED);
  }
  for (size_t i = 0; i < running_.size();) {
    Thread* thread = running_[i];
    if (!thread->HasRequest()) {
      ++i;
      continue;
    }
    ++found;
    sched::Fiber* fiber = thread->run.fiber;
    Unlist(thread);
    if (fiber) sched::Unpark(fiber);
  }
  return found;
}

void SystrapPlatform::CountRunning() {
  const int count = static_cast<int>(running_.size());
  running_count_.store(count, std::memory_order_seq_cst);
  const bool crowded = count >= cpus_;
  if (crowded == crowded_) return;
  crowded_ = crowded;
  __atomic_store_n(&control_->get()->crowded, crowded ? 1u : 0u, __ATOMIC_RELAXED);
}

void SystrapPlatform::Unlist(Thread* thread) {
  Thread* last = running_.back();
  running_[thread->run.position] = last;
  last->run.position = thread->run.position;
  running_.pop_back();
  CountRunning();
  thread->run.fiber = nullptr;
  thread->run.listed.store(false, std::memory_order_release);
}

void SystrapPlatform::BeginRun(Thread* thread) {
  MutexLock lock(run_mutex_);
  List(thread);
  // Not before and not after: a Poll() must neither miss the next request nor take the last one,
  // whose kRequest stands in the slot until now, for it.
  thread->GiveBall();
}

void SystrapPlatform::List(Thread* thread) {
  thread->run.position = running_.size();
  thread->run.fiber = nullptr;
  thread->run.listed.store(true, std::memory_order_relaxed);
  running_.push_back(thread);
  CountRunning();
}

bool SystrapPlatform::AwaitRun(Thread* thread, int64_t deadline_ns) {
  for (;;) {
    {
      MutexLock lock(run_mutex_);
      if (!thread->run.listed.load(std::memory_order_relaxed)) return true;
      if (thread->space()->dead()) {
        Unlist(thread);
        return false;
      }
      thread->run.fiber = sched::CurrentFiber();
    }
    if (sched::Park(deadline_ns) == sched::ParkResult::kTimedOut) {
      MutexLock lock(run_mutex_);
      if (!thread->run.listed.load(std::memory_order_relaxed)) return true;
      if (thread->come()) {
        deadline_ns = sched::kNever;
        continue;
      }
      Unlist(thread);
      return false;
    }
  }
}

void SystrapPlatform::EndRun(Thread* thread) {
  MutexLock lock(run_mutex_);
  if (thread->run.listed.load(std::memory_order_relaxed)) Unlist(thread);
}

void SystrapPlatform::WakeDead(Space* space) {
  MutexLock lock(run_mutex_);
  for (Thread* thread : running_) {
    if (thread->space() == space && thread->run.fiber) sched::Unpark(thread->run.fiber);
  }
}

}  // namespace msentry::systrap

namespace msentry::platform {

Result<std::unique_ptr<Platform>> CreateSystrap(sched::Scheduler& scheduler, const Options& options,
                                                std::string* why) {
  why->clear();
  Result<std::unique_ptr<Platform>> platform =
      systrap::SystrapPlatform::Create(scheduler, options, why);
  if (!platform.ok() && why->empty()) *why = "cannot start the systrap platform";
  return platform;
}

}  // namespace msentry::platform
