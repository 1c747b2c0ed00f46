// SystrapPlatform: the stub processes' common state and the scheduler's view of their slots.
//
// Locks: pool_mutex_, run_mutex_: leaves, but for the scheduler's own. The keeper calls in with its
// lock held (WakeDead).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "platform/platform.h"
#include "platform/systrap/address_space.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/keeper.h"
#include "platform/systrap/zygote.h"
#include "sentry/sched/scheduler.h"

namespace msentry::systrap {

class SystrapPlatform final : public platform::Platform, public sched::SpinSource {
 public:
  using NewSpace =
      std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>;

  static Result<std::unique_ptr<platform::Platform>> Create(sched::Scheduler& scheduler,
                                                            const platform::Options& options,
                                                            std::string* why);
  ~SystrapPlatform() override;

  Result<NewSpace> NewProcess() override;
  platform::Kind kind() const override { return platform::Kind::kSystrap; }
  Vdso vdso() const override { return vdso_; }

  // SpinSource.
  int Poll() override;
  int Running() const override { return running_count_.load(std::memory_order_seq_cst); }
  void SetDoorbellArmed(bool armed) override;

  Keeper& keeper() { return *keeper_; }
  SlotStore& slots() { return slots_; }
  bool strict() const { return options_.strict_gate; }
  // Stubs wait a while for an answer before they sleep.
  bool stubs_spin() const { return control_->get()->spin != 0; }

  // The run list: threads whose stub has the ball. BeginRun gives it.
  void BeginRun(Thread* thread);
  // Parks until the thread's request is there, or it is dead, or its host thread has not come
  // before the deadline; false: not there.
  bool AwaitRun(Thread* thread, int64_t deadline_ns);
  void EndRun(Thread* thread);
  void WakeDead(Space* space);

 private:
  SystrapPlatform(sched::Scheduler& scheduler, const platform::Options& options)
      : scheduler_(scheduler), options_(options) {}
  Result<> Init(std::string* why);
  void List(Thread* thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  void Unlist(Thread* thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  void CountRunning() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_);
  Result<NewSpace> ForkZygote();
  void Refill();

  sched::Scheduler& scheduler_;
  const platform::Options options_;
  Vdso vdso_;
  std::unique_ptr<ControlPage> control_;
  SlotStore slots_;
  std::unique_ptr<Keeper> keeper_;

  // On the heap: a fiber that refills the pool when the scheduler stops never lets go of it.
  std::unique_ptr<sched::FiberMutex> zygote_mutex_ = std::make_unique<sched::FiberMutex>();
  std::unique_ptr<Thread> zygote_ ABSL_GUARDED_BY(*zygote_mutex_);

  Mutex pool_mutex_;
  std::vector<NewSpace> pool_ ABSL_GUARDED_BY(pool_mutex_);
  bool refilling_ ABSL_GUARDED_BY(pool_mutex_) = false;

  Mutex run_mutex_;
  std::vector<Thread*> running_ ABSL_GUARDED_BY(run_mutex_);
  std::atomic<int> running_count_{0};
  int worker_cpu_ ABSL_GUARDED_BY(run_mutex_) = 0;    // what the control page says
  bool crowded_ ABSL_GUARDED_BY(run_mutex_) = false;  // what the control page says
  int cpus_ = 1;                                      // set before anything runs
};

}  // namespace msentry::systrap
