// The life of a task's fiber: resume guest code, handle what ended that, deliver, resume.
#include <x86intrin.h>

#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {
namespace {

constexpr uint64_t kTrapFlag = 0x100;

bool IsRestartCode(uint64_t rax) {
  const int64_t value = static_cast<int64_t>(rax);
  return value <= -static_cast<int64_t>(Errno::kERESTARTSYS) &&
         value >= -static_cast<int64_t>(Errno::kERESTART_RESTARTBLOCK);
}

}  // namespace

Task* Task::Current() { return static_cast<Task*>(sched::FiberLocal()); }

void Task::Start() {
  kernel_.scheduler().Spawn("task", [self = RefPtr<Task>(this)]() mutable {
    {
      MutexLock lock(self->group_->signal_mutex());
      self->fiber_.store(sched::CurrentFiber());
    }
    sched::SetFiberLocal(self.get());
    self->Run();
    sched::SetFiberLocal(nullptr);
    self.Reset();
  });
}

void Task::Run() {
  kernel_.running_.fetch_add(1, std::memory_order_seq_cst);
  kernel_.NoticeActivity();
  kernel_.resources_.TaskRuns();
  StartCharging();
  if (first_exec_ && !RunFirstExec().ok()) {
    constexpr int kCannotRun = 127;
    Exit(kCannotRun << 8);
  }
  for (;;) {
    // Announced before the last look at work_: a sender that sets a bit after that look sees us in
    // guest code and interrupts the platform.
    in_guest_.store(true, std::memory_order_seq_cst);
    if (work_.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
      in_guest_.store(false, std::memory_order_relaxed);
      if (!DoWork()) break;
      continue;
    }
    const bool step = traced() && TraceStepping();
    const uint64_t own_trap_flag = registers_.eflags & kTrapFlag;
    if (step) registers_.eflags |= kTrapFlag;
    StopCharging();
    const platform::Event event = thread_->Switch(registers_);
    StartCharging();
    in_guest_.store(false, std::memory_order_relaxed);
    if (step) registers_.eflags = (registers_.eflags & ~kTrapFlag) | own_trap_flag;
    HandleEvent(event);
  }
  FinishExit();
  StopCharging();
  kernel_.running_.fetch_sub(1, std::memory_order_relaxed);
}

void Task::HandleEvent(const platform::Event& event) {
  using Kind = platform::Event::Kind;
  switch (event.kind) {
    case Kind::kSyscall:
      current_syscall.store(static_cast<int>(registers_.orig_rax), std::memory_order_relaxed);
      if (traced()) [[unlikely]] {
        TracedSyscall();
      } else {
        kernel_.options_.dispatch(*this, registers_);
      }
      current_syscall.store(-1, std::memory_order_relaxed);
      if (saved_mask_.has_value()) [[unlikely]]
        RestoreMaskAfterCall();
      if (IsRestartCode(registers_.rax)) [[unlikely]]
        DeliverSignals();
      return;
    case Kind::kFault:
      registers_.orig_rax = ~uint64_t{0};
      HandleFault(event);
      return;
    case Kind::kInterrupted: {
      registers_.orig_rax = ~uint64_t{0};
      // The stub may have unblocked something by itself.
      MutexLock lock(group_->signal_mutex());
      RecalculateLocked();
      return;
    }
    case Kind::kExited:
      ExitGroup(SIGKILL);
      return;
  }
}

void Task::HandleFault(const platform::Event& event) {
  if ((event.signo == SIGSEGV || event.signo == SIGBUS) &&
      mm_->HandleFault(*thread_, event.address, memory_limits())) {
    return;
  }
  fault_error_ = event.error_code;
  fault_trap_ = event.trap_number;
  fault_address_ = event.address;
  ReportFault(event);
  ForceSignal(FaultSignal(event.signo, event.code, event.address));
}

// pselect, ppoll and their like put the old mask back themselves unless a signal ended them; then
// the frame of its handler (or the end of delivery) does.
void Task::RestoreMaskAfterCall() {
  if (IsRestartCode(registers_.rax) || registers_.rax == -static_cast<uint64_t>(Errno::kEINTR)) {
    DeliverSignals();
    return;
  }
  const SigSet mask = *std::exchange(saved_mask_, std::nullopt);
  SetSignalMask(mask);
}

bool Task::DoWork() {
  if (exiting_ || (work_.load(std::memory_order_seq_cst) & kWorkKill)) return false;
  if (held_.load(std::memory_order_seq_cst) != 0) StayHeld();
  DeliverSignals();
  return !exiting_ && !(work_.load(std::memory_order_seq_cst) & kWorkKill);
}

void Task::StayHeld() {
  while (held_.load(std::memory_order_seq_cst) != 0) {
    if (BlockKillable() == Wake::kInterrupted) return;
  }
}

Task::Wake Task::ParkFor(int64_t deadline_ns, uint32_t interrupting) {
  const uint64_t shown[] = {registers_.rdi, registers_.rsi, registers_.rdx, registers_.r10,
                            registers_.r8,  registers_.r9,  registers_.rsp, registers_.rip};
  for (size_t i = 0; i < parked_registers_.size(); ++i) {
    parked_registers_[i].store(shown[i], std::memory_order_relaxed);
  }
  parked_for_.store(interrupting, std::memory_order_seq_cst);
  if (work_.load(std::memory_order_seq_cst) & interrupting) {
    parked_for_.store(0, std::memory_order_relaxed);
    return Wake::kInterrupted;
  }
  if (thread_) thread_->ExpectLongWait();
  StopCharging();
  kernel_.running_.fetch_sub(1, std::memory_order_relaxed);
  voluntary_switches_.fetch_add(1, std::memory_order_relaxed);
  kernel_.context_switches.fetch_add(1, std::memory_order_relaxed);
  const sched::ParkResult result = sched::Park(deadline_ns);
  kernel_.running_.fetch_add(1, std::memory_order_seq_cst);
  kernel_.NoticeActivity();
  kernel_.resources_.TaskRuns();
  StartCharging();
  parked_for_.store(0, std::memory_order_relaxed);
  if (work_.load(std::memory_order_seq_cst) & interrupting) return Wake::kInterrupted;
  return result == sched::ParkResult::kTimedOut ? Wake::kTimedOut : Wake::kEvent;
}

Task::Wake Task::Block(int64_t deadline_ns) {
  return ParkFor(deadline_ns, kWorkSignal | kWorkKill | kWorkStop | kWorkTrace);
}

Task::Wake Task::BlockKillable(int64_t deadline_ns) { return ParkFor(deadline_ns, kWorkKill); }

void Task::StartCharging() { charged_from_ = __rdtsc(); }

void Task::StopCharging() {
  // Only the fiber writes: no read-modify-write is needed.
  const int64_t ticks = static_cast<int64_t>(__rdtsc() - charged_from_);
  system_ticks_.store(system_ticks_.load(std::memory_order_relaxed) + ticks,
                      std::memory_order_relaxed);
}

}  // namespace msentry::kernel
