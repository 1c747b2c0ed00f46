#include "platform/systrap/address_space.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/keeper.h"
#include "platform/systrap/platform_impl.h"

namespace msentry::systrap {

Space::~Space() ABSL_NO_THREAD_SAFETY_ANALYSIS {  // the last one who knows it
  if (pid() > 0) platform_.keeper().Release(pid(), this, killed_);
  platform_.slots().Discard(std::move(slots_));
}

void Space::AddThread(Thread* thread) {
  threads_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  members_.push_back(thread);
}

bool Space::DropThread(Thread* thread) {
  MutexLock lock(mutex_);
  std::erase(members_, thread);
  return threads_.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

namespace {

// The part of a range that is the guest's; beyond it lie the stub's own pages.
size_t InGuestRange(uint64_t address, size_t length) {
  if (address >= arch::kTaskSize) return 0;
  return std::min<uint64_t>(length, arch::kTaskSize - address);
}

}  // namespace

// The process is reaped only by ~Space, so its pid cannot be another's while we are here.
Result<size_t> Space::CopyIn(uint64_t address, std::span<std::byte> out) {
  size_t n = TRY(CopyInAsItIs(address, out));
  patcher_->HidePatches(address, out.first(n));
  return n;
}

Result<size_t> Space::CopyInAsItIs(uint64_t address, std::span<std::byte> out) {
  if (out.empty()) return size_t{0};
  out = out.first(InGuestRange(address, out.size()));
  iovec local{out.data(), out.size()};
  iovec remote{reinterpret_cast<void*>(address), out.size()};
  ssize_t n = process_vm_readv(AwaitHost(), &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  return static_cast<size_t>(n);
}

Result<size_t> Space::CopyOut(uint64_t address, std::span<const std::byte> in) {
  if (in.empty()) return size_t{0};
  in = in.first(InGuestRange(address, in.size()));
  iovec local{const_cast<std::byte*>(in.data()), in.size()};
  iovec remote{reinterpret_cast<void*>(address), in.size()};
  ssize_t n = process_vm_writev(AwaitHost(), &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  return static_cast<size_t>(n);
}

Thread* Space::Borrow() {
  MutexLock lock(mutex_);
  for (Thread* thread : members_) {
    if (thread->TrySeize()) return thread;
  }
  return nullptr;
}

Result<> Space::ForceWritePiece(Thread& thread, uint64_t address, std::span<const std::byte> in,
                                int protection) {
  uint64_t begin = address & ~(arch::kPageSize - 1);
  uint64_t length = address + in.size() - begin;
  int open = protection | PROT_READ | PROT_WRITE;
  TRY(thread.ExecuteSeized(HostCall(SYS_mprotect, begin, length, static_cast<uint64_t>(open))));
  Result<size_t> n = CopyOut(address, in);
  TRY(thread.ExecuteSeized(
      HostCall(SYS_mprotect, begin, length, static_cast<uint64_t>(protection))));
  if (!n.ok() || *n != in.size()) return Errno::kEFAULT;
  return Ok();
}

Result<size_t> Space::ForceCopyOut(uint64_t address, std::span<const std::byte> in) {
  in = in.first(InGuestRange(address, in.size()));
  if (in.empty()) return Errno::kEFAULT;
  sched::FiberMutexLock lock(layout_mutex_);
  Thread* thread = Borrow();
  if (!thread) return CopyOut(address, in);
  for (const PatchPlan& plan : patcher_->Undo(address, in.size())) thread->CarryOutSeized(plan);
  size_t done = 0;
  Result<> result = Ok();
  while (done < in.size()) {
    std::optional<Patcher::Protected> at = patcher_->Protection(address + done);
    if (!at) {
      result = Errno::kEFAULT;
      break;
    }
    size_t n = std::min<uint64_t>(in.size() - done, at->end - (address + done));
    result = ForceWritePiece(*thread, address + done, in.subspan(done, n), at->protection);
    if (!result.ok()) break;
    done += n;
  }
  thread->Unseize();
  if (done == 0) return Errno::kEFAULT;
  return done;
}

int Space::host_pid() const { return dead() ? -1 : pid(); }

void Space::SetHost(int pid) {
  MutexLock lock(mutex_);
  pid_.store(pid, std::memory_order_release);
  if (killed_) kill(pid, SIGKILL);
  for (sched::Fiber* fiber : waiting_) sched::Unpark(fiber);
  waiting_.clear();
}

int Space::AwaitHost() {
  if (int there = pid(); there > 0) return there;
  sched::Fiber* fiber = sched::CurrentFiber();
  const int64_t deadline = sched::NowNs() + kStartTimeoutNs;
  while (fiber && !dead() && sched::NowNs() < deadline) {
    {
      MutexLock lock(mutex_);
      if (pid() > 0) break;
      waiting_.push_back(fiber);
    }
    sched::Park(deadline);
    MutexLock lock(mutex_);
    std::erase(waiting_, fiber);
  }
  return pid();
}

void Space::Kill() {
  MutexLock lock(mutex_);
  if (!killed_ && pid() > 0 && !dead()) kill(pid(), SIGKILL);
  killed_ = true;
}

void Space::Signal(int tid, int signal) {
  int pid = this->pid();
  if (pid > 0 && tid > 0 && !dead()) syscall(SYS_tgkill, pid, tid, signal);
}

bool Space::Owns(int tid) const { return syscall(SYS_tgkill, pid(), tid, 0) == 0; }

void Space::MarkDead() {
  dead_.store(true, std::memory_order_seq_cst);
  platform_.WakeDead(this);
}

Result<uint32_t> Space::AllocateSlot() {
  MutexLock lock(mutex_);
  for (size_t i = 0; i < retired_.size(); ++i) {
    uint32_t index = retired_[i];
    if (__atomic_load_n(&slots_->At(index)->host_tid, __ATOMIC_ACQUIRE) != 0) continue;
    retired_[i] = retired_.back();
    retired_.pop_back();
    slots_->Free(index);
    break;
  }
  return slots_->Allocate();
}

void Space::RetireSlot(uint32_t index) {
  MutexLock lock(mutex_);
  retired_.push_back(index);
}

bool Space::Spare(uint32_t index, int tid) {
  MutexLock lock(mutex_);
  if (spare_.size() >= kMaxSpareThreads) return false;
  spare_.push_back({index, tid});
  return true;
}

std::optional<Space::SpareThread> Space::TakeSpare() {
  MutexLock lock(mutex_);
  if (spare_.empty()) return std::nullopt;
  SpareThread spare = spare_.back();  // the last one's pages are the warmest
  spare_.pop_back();
  return spare;
}

}  // namespace msentry::systrap
