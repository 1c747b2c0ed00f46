// The host side of a guest thread on the ptrace platform: one traced host thread, and the process
// it belongs to. Owned by the tracer thread; a few atomics are for everybody.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <span>

#include "platform/platform.h"
#include "sentry/arch/registers.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/sched/scheduler.h"

namespace msentry::platform::pt {

class Tracer;

// The stub's own two pages, above all guest memory. Guest code can see and jump to the first, which
// does it no good (its system calls are caught like any others), and write to the second.
inline constexpr uint64_t kStubCode = arch::kStubBase;  // `syscall; int3`
inline constexpr uint64_t kStubData = arch::kStubBase + arch::kPageSize;
inline constexpr uint64_t kStubEnd = kStubData + arch::kPageSize;
inline constexpr uint64_t kAfterSyscall = kStubCode + 2;  // what seccomp sees as the call's address
inline constexpr uint64_t kAfterTrap = kStubCode + 3;

// A stub process.
class Space final : public AddressSpace {
 public:
  Space(Tracer& tracer, pid_t pid) : tracer_(tracer), pid_(pid) {}

  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override;
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override;
  Result<size_t> ForceCopyOut(uint64_t address, std::span<const std::byte> in) override;
  int host_pid() const override { return gone_.load(std::memory_order_seq_cst) ? -1 : pid_; }
  void Kill() override;
  // Time of the whole process, nanoseconds; -1 when gone.
  int64_t ProcessCpuTime();

  // The tracer, before it reaps the process: from now on its number may be another's.
  void MarkGone();

  pid_t pid() const { return pid_; }
  int threads = 0;                       // not destroyed; the tracer's
  std::atomic<bool> had_threads{false};  // ever more than one

 private:
  // While one exists, the process's number is not given to another process.
  class Pin;

  Tracer& tracer_;
  const pid_t pid_;
  std::atomic<bool> gone_{false};
  std::atomic<int> pins_{0};
};

// One stay in guest code, on the stack of the fiber that waits for it.
struct SwitchState {
  arch::Registers* registers;
  Event event;
  sched::Completion done;
};

class Tracee final : public RefCounted<Tracee> {
 public:
  Tracee(pid_t t, RefPtr<Space> s) : tid(t), space(std::move(s)) {}
  const pid_t tid;
  const RefPtr<Space> space;

  std::atomic<bool> interrupt_pending{false};
  std::atomic<bool> in_switch{false};
  std::atomic<int64_t> guest_ns{0};  // spent between resume and stop

  // The tracer thread's.
  bool alive = true;
  bool destroyed = false;          // its GuestThread is gone
  SwitchState* current = nullptr;  // set while it runs guest code
  int64_t resumed_at = 0;
};

}  // namespace msentry::platform::pt
