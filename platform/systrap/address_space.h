// Space: a guest address space, that is one stub process with its slots.
//
// Lives as long as a thread of it or a RefPtr. When its last thread goes, the process is killed.
// Locks: layout_mutex() -> a thread's busy_ -> the patcher's; mutex_ is a leaf. MarkDead comes from
// the keeper's thread, under the keeper's lock.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "platform/platform.h"
#include "platform/systrap/patcher.h"
#include "platform/systrap/slot_file.h"
#include "sentry/base/mutex.h"

namespace msentry::systrap {

// A child or thread that does not come within this time never will: its process is killed.
inline constexpr int64_t kStartTimeoutNs = 10'000'000'000;
// Spare host threads a space keeps: what a program that starts and joins threads in turn needs.
inline constexpr size_t kMaxSpareThreads = 8;

class SystrapPlatform;
class Thread;

class Space final : public platform::AddressSpace {
 public:
  Space(SystrapPlatform& platform, std::unique_ptr<SlotFile> slots)
      : platform_(platform), slots_(std::move(slots)), patcher_(std::make_unique<Patcher>()) {}
  ~Space() override;

  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override;
  Result<size_t> CopyInAsItIs(uint64_t address, std::span<std::byte> out);  // our patches too
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override;
  Result<size_t> ForceCopyOut(uint64_t address, std::span<const std::byte> in) override;
  int host_pid() const override;
  void Kill() override;

  // The process that runs this space. Set once: for the zygote at its start, for a forked child
  // when it presents itself (keeper).
  void SetHost(int pid);
  // The process has ended: every Switch of its threads returns kExited.
  void MarkDead();
  bool dead() const { return dead_.load(std::memory_order_acquire); }

  // Held by whoever changes mappings or code of this space or forks it, from what is noted in the
  // patcher until it is done: a thread that opens a page to patch it and one that maps something
  // else there must not meet, and a fork copies no half made patch. Fibers only.
  sched::FiberMutex& layout_mutex() { return layout_mutex_; }
  Patcher& patcher() { return *patcher_; }
  // A forked child's, before it runs.
  void SetPatcher(std::unique_ptr<Patcher> patcher) { patcher_ = std::move(patcher); }

  int slots_fd() const { return slots_->fd(); }
  // The child has it now; the mappings stay.
  void CloseSlotsFd() { slots_->CloseFd(); }
  Slot* slot(uint32_t index) const { return slots_->At(index); }
  Result<uint32_t> AllocateSlot();
  // The slot of a thread that has been told to end; reused when the host thread is gone.
  void RetireSlot(uint32_t index);
  // Ready for another guest thread, for a host thread that waits there.
  void RenewSlot(uint32_t index) { slots_->Renew(index); }

  // Host threads that have no guest thread and wait for our reply. False: there are enough.
  struct SpareThread {
    uint32_t index;
    int tid;
  };
  bool Spare(uint32_t index, int tid);
  std::optional<SpareThread> TakeSpare();

  void AddThread(Thread* thread);
  // True when that was the last one.
  bool DropThread(Thread* thread);
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  // Sends the interrupt signal to host thread `tid` of this process, if both are still there.
  void Signal(int tid, int signal);
  // Whether host thread `tid` belongs to this process (a stub says so; the host knows).
  bool Owns(int tid) const;

  // Time in guest code by the time stamp counter, all threads: how the process's CPU time is split.
  std::atomic<uint64_t> tsc_total{0};
  std::atomic<bool> multi_threaded{false};  // has ever had two threads
  // A thread here has ever had a gs base of its own: sites stay as they are, since a jump would
  // take it to our way in, which needs gs.
  std::atomic<bool> gs_used{false};

 private:
  // A thread of this space that is not busy, seized for operations of ours; null if there is none.
  Thread* Borrow();
  Result<> ForceWritePiece(Thread& thread, uint64_t address, std::span<const std::byte> in,
                           int protection);
  // The process, when it has come; -1 if it does not. A forked child's parent goes on before it
  // has.
  int AwaitHost();
  int pid() const { return pid_.load(std::memory_order_acquire); }

  SystrapPlatform& platform_;
  std::atomic<int> pid_{-1};
  std::atomic<bool> dead_{false};
  std::atomic<int> threads_{0};
  sched::FiberMutex layout_mutex_;
  mutable Mutex mutex_;
  std::unique_ptr<SlotFile> slots_;  // allocation under mutex_; At() needs no lock
  std::unique_ptr<Patcher> patcher_;
  std::vector<uint32_t> retired_ ABSL_GUARDED_BY(mutex_);
  std::vector<SpareThread> spare_ ABSL_GUARDED_BY(mutex_);
  bool killed_ ABSL_GUARDED_BY(mutex_) = false;                 // or to be killed when it comes
  std::vector<sched::Fiber*> waiting_ ABSL_GUARDED_BY(mutex_);  // for it to come
  std::vector<Thread*> members_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::systrap
