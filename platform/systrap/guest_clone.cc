// Thread: how guest threads and processes begin and end.
//
// A new one is ready to be used at once: its slot looks as if it had posted a request, and what we
// reply waits there until its host thread has come (stub/abi.h). Host threads of ended guest
// threads are kept for the next ones of their space: no clone, no notification, no new stack.
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform_impl.h"
#include "platform/systrap/xstate.h"

namespace msentry::systrap {
namespace {
constexpr uint64_t kUnknownFsBase = ~uint64_t{0};  // no guest's: it is set before the first run
}  // namespace

Thread::~Thread() {
  bool last = space_->DropThread(this);
  // A borrower is done with it. Off the fibers the scheduler has ended, and who holds it never will
  // let go.
  if (sched::CurrentFiber()) Seize();
  platform_.EndRun(this);
  if (nonce_) platform_.keeper().ForgetChild(nonce_);
  int tid = tid_.load(std::memory_order_acquire);
  if (tid > 0) platform_.keeper().RemoveThread(tid, this);
  if (last) {
    space_->Kill();  // the last one takes the process along
  } else if (tid <= 0) {
    space_->RetireSlot(index_);  // it was never made
  } else if (!gone_ && tid != space_->host_pid()) {
    // (The first host thread of a process stays, asleep in its stub: without it process_vm_readv
    // would find no memory.)
    if (!space_->Spare(index_, tid)) End();
  }
}

void Thread::End() {
  Op* op = reinterpret_cast<Op*>(SlotFile::Bytes(slot_, kOpsOffset));
  op->code = kOpExitThread;
  Prepare(1, kReport);
  GiveBall();
  WakeStub();
  space_->RetireSlot(index_);
}

void Thread::Arrived(int pid) {
  space_->SetHost(pid);
  tid_.store(pid, std::memory_order_release);
}

void Thread::Adopt(int pid) {
  Arrived(pid);
  CHECK(platform_.keeper().AddThread(pid, this));
}

Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>>
Thread::Fork() {
  if (gone_) return Errno::kESRCH;
  std::unique_ptr<SlotFile> slots = TRY(platform_.slots().Take());
  slots->AllocateFixed(index_);
  RefPtr<Space> space = MakeRef<Space>(platform_, std::move(slots));
  auto child = std::make_unique<Thread>(platform_, space, index_, fs_base_);
  uint64_t nonce;
  if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce)) return Errno::kEAGAIN;
  child->nonce_ = nonce;
  child->gs_base_ = gs_base_;
  space->slot(index_)->guest_gs = gs_base_;
  std::deque<Expected> first;
  if (platform_.strict()) {
    // The child maps its slots before it can be asked for anything.
    first.push_back(
        {.number = SYS_mmap,
         .arguments = {kSlots, kSlotsSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED},
         .check = 0b1111});
    first.push_back(
        {.number = SYS_madvise, .arguments = {kSlots, kSlotsSize, MADV_DONTFORK}, .check = 0b111});
  }
  platform_.keeper().ExpectChild(nonce, child.get(), std::move(first));
  std::deque<Expected> calls;
  calls.push_back({.number = SYS_clone, .arguments = {kCloneFork}, .check = 1});
  sched::FiberMutexLock lock(space_->layout_mutex());
  const Op op{kOpFork, 0, {nonce}};
  TRY(Execute(std::span(&op, 1), std::move(calls)));
  space->SetPatcher(space_->patcher().Clone());
  space->gs_used.store(space_->gs_used.load(std::memory_order_relaxed), std::memory_order_relaxed);
  // The child sets itself up while we go on.
  return std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>(
      std::move(space), std::move(child));
}

Result<std::unique_ptr<platform::GuestThread>> Thread::NewThread() {
  if (gone_) return Errno::kESRCH;
  space_->multi_threaded.store(true, std::memory_order_relaxed);
  if (std::optional<Space::SpareThread> spare = space_->TakeSpare()) {
    return Revive(spare->index, spare->tid);
  }
  uint32_t index = TRY(space_->AllocateSlot());
  auto thread = std::make_unique<Thread>(platform_, space_, index, fs_base_);
  std::deque<Expected> calls;
  calls.push_back({.number = SYS_clone, .arguments = {kCloneThread}, .check = 1});
  const Op op{kOpThread, 0, {index}};
  int64_t tid = TRY(Execute(std::span(&op, 1), std::move(calls)));
  int host_tid = static_cast<int>(tid);
  // A stub's word is no proof: the host must agree that this is a thread of that process.
  if (host_tid <= 0 || !space_->Owns(host_tid) ||
      !platform_.keeper().AddThread(host_tid, thread.get())) {
    Broken("a new thread that is none");
    return Errno::kEAGAIN;
  }
  thread->tid_.store(host_tid, std::memory_order_release);
  return std::unique_ptr<platform::GuestThread>(std::move(thread));
}

// A host thread that waits in its stub becomes a new guest thread. What clone(2) would copy is
// handed over: the FPU state. (Whether it really waits is the guest's affair: its threads share all
// of their memory.)
Result<std::unique_ptr<platform::GuestThread>> Thread::Revive(uint32_t index, int tid) {
  const Op save{kOpSaveFpu, 0, {}};
  Result<int64_t> saved = Execute(std::span(&save, 1));
  if (!saved.ok()) {
    (void)space_->Spare(index, tid);
    return saved.error();
  }
  space_->RenewSlot(index);
  auto thread = std::make_unique<Thread>(platform_, space_, index, kUnknownFsBase);
  if (!platform_.keeper().AddThread(tid, thread.get())) return Errno::kEAGAIN;
  thread->tid_.store(tid, std::memory_order_release);
  thread->PutFpu({SlotFile::Bytes(slot_, kFpuOffset), HostXstate().size});
  return std::unique_ptr<platform::GuestThread>(std::move(thread));
}

}  // namespace msentry::systrap
