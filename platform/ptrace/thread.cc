#include "platform/ptrace/thread.h"

#include "platform/ptrace/tracer.h"

namespace msentry::platform::pt {
namespace {

class Thread final : public GuestThread {
 public:
  Thread(Tracer& tracer, RefPtr<Tracee> tracee) : tracer_(tracer), tracee_(std::move(tracee)) {}
  ~Thread() override { tracer_.Destroy(*tracee_); }

  Event Switch(arch::Registers& registers) override {
    SwitchState state{.registers = &registers};
    tracee_->in_switch.store(true, std::memory_order_seq_cst);
    tracer_.Switch(*tracee_, state);
    state.done.Wait();
    tracee_->in_switch.store(false, std::memory_order_seq_cst);
    return state.event;
  }

  Result<> Apply(const MemoryBatch& batch) override {
    if (batch.empty()) return Ok();
    return tracer_.Apply(*tracee_, batch);
  }

  Result<std::pair<RefPtr<AddressSpace>, std::unique_ptr<GuestThread>>> Fork() override {
    RefPtr<Tracee> child = TRY(tracer_.Fork(*tracee_));
    RefPtr<AddressSpace> space = child->space;
    return std::pair(std::move(space), MakeThread(tracer_, std::move(child)));
  }
  Result<std::unique_ptr<GuestThread>> NewThread() override {
    RefPtr<Tracee> child = TRY(tracer_.NewThread(*tracee_));
    return MakeThread(tracer_, std::move(child));
  }

  Result<> SaveFpu(std::vector<std::byte>& out) override { return tracer_.GetFpu(*tracee_, out); }
  Result<> LoadFpu(std::span<const std::byte> in) override { return tracer_.SetFpu(*tracee_, in); }
  Result<> ResetFpu() override { return tracer_.SetFpu(*tracee_, {}); }

  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override {
    return tracee_->space->CopyIn(address, out);
  }
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override {
    return tracee_->space->CopyOut(address, in);
  }
  // No memory is shared with the stubs.
  std::span<std::byte> BeginBulk(uint64_t, size_t, Direction) override { return {}; }
  Result<> FinishBulk(size_t) override { return Errno::kEINVAL; }

  void Interrupt() override {
    tracee_->interrupt_pending.store(true, std::memory_order_seq_cst);
    if (tracee_->in_switch.load(std::memory_order_seq_cst)) tracer_.Interrupt(tracee_);
  }

  int64_t cpu_time_ns() override {
    // A thread's own clock can be read only from within its process. Alone in the process, its time
    // is the process's; else what passed while it ran.
    if (!tracee_->space->had_threads.load(std::memory_order_relaxed)) {
      if (int64_t ns = tracee_->space->ProcessCpuTime(); ns >= 0) return ns;
    }
    return tracee_->guest_ns.load(std::memory_order_relaxed);
  }

  // Nothing is answered in the stubs.
  void PublishIdentity(const Identity&) override {}
  uint64_t signal_mask() const override { return mask_.load(std::memory_order_relaxed); }
  void set_signal_mask(uint64_t mask) override { mask_.store(mask, std::memory_order_relaxed); }
  void PublishPendingSignals(uint64_t) override {}
  void EnableShortcuts(bool) override {}

 private:
  Tracer& tracer_;
  const RefPtr<Tracee> tracee_;
  std::atomic<uint64_t> mask_{0};
};

}  // namespace

std::unique_ptr<GuestThread> MakeThread(Tracer& tracer, RefPtr<Tracee> tracee) {
  return std::make_unique<Thread>(tracer, std::move(tracee));
}

}  // namespace msentry::platform::pt
