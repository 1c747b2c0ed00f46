// Thread: a guest thread on systrap, and the sentry's half of the slot protocol (stub/abi.h).
//
// At any time either the stub has the ball (guest code runs, or operations are carried out) or we
// have it (a request is posted and not yet answered). Only the owner fiber answers, so everything
// here without a note is the owner's; what other threads touch is atomic or the keeper's and the
// run list's, under their locks. Another fiber can seize a thread that is not busy for a moment
// (Space::ForceCopyOut); whoever posts to the stub holds busy_.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "platform/platform.h"
#include "platform/systrap/address_space.h"
#include "platform/systrap/keeper.h"

namespace msentry::systrap {

// A host system call to be made by the stub.
inline Op HostCall(int number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                   uint64_t e = 0, uint64_t f = 0) {
  return Op{kOpSyscall, 0, {static_cast<uint64_t>(number), a, b, c, d, e, f}};
}

class Thread final : public platform::GuestThread {
 public:
  // A thread whose host thread begins by waiting for our first reply; it need not be there yet.
  Thread(SystrapPlatform& platform, RefPtr<Space> space, uint32_t index, uint64_t fs_base);
  ~Thread() override;

  platform::Event Switch(arch::Registers& registers) override;
  Result<> Apply(const platform::MemoryBatch& batch) override;
  Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>> Fork()
      override;
  Result<std::unique_ptr<platform::GuestThread>> NewThread() override;
  Result<> SaveFpu(std::vector<std::byte>& out) override;
  Result<> LoadFpu(std::span<const std::byte> in) override;
  Result<> ResetFpu() override;
  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override;
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override;
  std::span<std::byte> BeginBulk(uint64_t address, size_t length, Direction direction) override;
  Result<> FinishBulk(size_t bytes) override;
  void ExpectLongWait() override;
  void Interrupt() override;
  int64_t cpu_time_ns() override;
  void PublishIdentity(const platform::Identity& identity) override;
  uint64_t signal_mask() const override;
  void set_signal_mask(uint64_t mask) override;
  void PublishPendingSignals(uint64_t pending) override;
  void EnableShortcuts(bool enabled) override;

  Space* space() const { return space_.get(); }
  // Its host thread is there.
  bool come() const { return tid_.load(std::memory_order_acquire) > 0; }
  // A forked child has presented itself to the keeper as process `pid`.
  void Arrived(int pid);
  // The zygote: its setup left it waiting for a reply.
  void Adopt(int pid);

  // For Space, from any fiber. A seized thread's owner waits when it wants to go on.
  bool TrySeize();
  void Unseize() { busy_.store(false, std::memory_order_release); }
  Result<> ExecuteSeized(const Op& op);
  void CarryOutSeized(const PatchPlan& plan);

  // Of the run list (SystrapPlatform), under its lock except where atomic.
  struct InRunList {
    std::atomic<bool> listed{false};  // the stub has the ball
    size_t position = 0;
    sched::Fiber* fiber = nullptr;  // parked until the request comes
  };
  InRunList run;
  Slot* slot() const { return slot_; }
  bool HasRequest() const { return __atomic_load_n(&slot_->state, __ATOMIC_ACQUIRE) == kRequest; }
  void GiveBall();  // the reply: BeginRun does it, with the thread listed and the list locked

 private:
  // Gives the ball to the stub with `count` operations in the slot and waits until it is back.
  // False: the thread is gone.
  bool Run(uint32_t count, After after);
  bool RunOps(uint32_t count);
  void Prepare(uint32_t count, After after);
  void WakeStub();
  // guest_clone.cc
  Result<std::unique_ptr<platform::GuestThread>> Revive(uint32_t index, int tid);
  void End();
  // Carries out operations; the last one's result, or the error of the one that failed.
  Result<int64_t> Execute(std::span<const Op> ops, std::deque<Expected> calls = {});
  Result<int64_t> ExecuteHeld(std::span<const Op> ops, std::deque<Expected> calls);  // seized
  Result<int64_t> ExecuteSome(std::span<const Op> ops);                              // seized
  Result<int64_t> ReadDone();
  void Seize();
  std::vector<Op> PatchOps(const PatchPlan& plan);
  platform::Event ReadEvent(arch::Registers& registers);
  void WriteRegisters(const arch::Registers& registers, uint64_t rip);
  platform::Event RunGuest(arch::Registers& registers);
  void Announce(const Op& op, int host_fd, std::deque<Expected>& calls);
  // guest_memory.cc
  struct Range {
    uint64_t begin = 0, end = 0;
    bool Overlaps(uint64_t b, uint64_t e) const { return begin < e && b < end; }
  };
  void ReadMarshalled(const arch::Registers& registers);
  std::span<std::byte> Marshalled(uint64_t address, size_t length);
  bool Deferred(uint64_t address, size_t length) const;
  void Flushed();  // the deferred operations have been handed to the stub
  bool Flush();    // and are done
  bool StubIsAwake() const;
  Result<size_t> CopyInByStub(uint64_t address, std::span<std::byte> out);
  void Defer(uint64_t address, uint64_t offset, size_t bytes);
  void TakeBulkWindow();
  // guest_patch.cc
  void ConsiderPatch(const arch::Registers& registers);
  // With the layout lock held.
  bool MapArena(uint64_t call);
  void CarryOut(const PatchPlan& plan);
  // Takes it.
  void Undo(uint64_t address, uint64_t length);
  platform::Event Broken(const char* what);
  void PutFpu(std::span<const std::byte> image);

  SystrapPlatform& platform_;
  const RefPtr<Space> space_;
  const uint32_t index_;
  Slot* const slot_;
  std::atomic<int> tid_{-1};  // host thread; known once the stub said so
  std::atomic<bool> busy_{false};
  std::atomic<bool> gone_{false};
  bool by_signal_ = false;  // how the last call came
  uint64_t nonce_ = 0;      // of a forked child
  uint64_t fs_base_;        // what the host thread has
  uint64_t gs_base_ = 0;    // the guest's own
  SlotRegs shadow_{};       // what the slot's registers hold, as far as we wrote or read them
  // Where the thread stands when the guest's rip is guest_rip_: they differ inside trampolines.
  // Of patcher generation rip_generation_.
  uint64_t guest_rip_ = 0, host_rip_ = 0, rip_generation_ = 0;
  std::vector<Op> pending_;  // to be carried out before it resumes
  // Results among them: where they go, and how much of the slot's area they fill.
  std::vector<Range> deferred_;
  uint64_t out_used_ = 0;
  bool bulk_deferred_ = false;  // the bulk window holds a result
  // What the stub copied for the current call: where it lies in the guest and in the slot.
  bool marshalled_ = false;
  struct MarshalledArg {
    Range guest;
    uint64_t offset = 0;
  };
  std::array<MarshalledArg, 6> args_;
  uint64_t bulk_address_ = 0;  // of the transfer begun
  Direction bulk_direction_ = Direction::kToGuest;

  std::atomic<bool> interrupt_{false};  // Interrupt() was called and not yet reported
  std::atomic<bool> in_guest_{false};
  std::atomic<uint64_t> tsc_used_{0};
  std::atomic<uint64_t> tsc_since_{0};  // of the running stay; 0: none
  std::atomic<int64_t> cpu_time_seen_{0};
};

}  // namespace msentry::systrap
