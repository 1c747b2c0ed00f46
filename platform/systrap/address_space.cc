#include "platform/systrap/address_space.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "platform/systrap/keeper.h"
#include "platform/systrap/platform_impl.h"

namespace msentry::systrap {

Space::~Space() {
  if (pid() > 0) platform_.keeper().Release(pid(), this);
}

// The process is reaped only by ~Space, so its pid cannot be another's while we are here.
Result<size_t> Space::CopyIn(uint64_t address, std::span<std::byte> out) {
  if (out.empty()) return size_t{0};
  iovec local{out.data(), out.size()};
  iovec remote{reinterpret_cast<void*>(address), out.size()};
  ssize_t n = process_vm_readv(pid(), &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  patcher_->HidePatches(address, out.first(static_cast<size_t>(n)));
  return static_cast<size_t>(n);
}

Result<size_t> Space::CopyOut(uint64_t address, std::span<const std::byte> in) {
  if (in.empty()) return size_t{0};
  iovec local{const_cast<std::byte*>(in.data()), in.size()};
  iovec remote{reinterpret_cast<void*>(address), in.size()};
  ssize_t n = process_vm_writev(pid(), &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  return static_cast<size_t>(n);
}

Result<size_t> Space::ForceCopyOut(uint64_t address, std::span<const std::byte> in) {
  return CopyOut(address, in);
}

int Space::host_pid() const { return dead() ? -1 : pid(); }

void Space::Kill() { Signal(0, SIGKILL); }

void Space::Signal(int tid, int signal) {
  int pid = this->pid();
  if (pid <= 0 || dead()) return;
  if (tid == 0) {
    kill(pid, signal);
  } else {
    syscall(SYS_tgkill, pid, tid, signal);
  }
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

}  // namespace msentry::systrap
