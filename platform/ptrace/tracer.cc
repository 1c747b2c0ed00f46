#include "platform/ptrace/tracer.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/ptrace/ptrace_calls.h"
#include "sentry/base/check.h"

namespace msentry::platform::pt {
namespace {

constexpr int kWaitFlags = WEXITED | WSTOPPED | __WALL | __WNOTHREAD;

bool IsFault(int signo) {
  return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE ||
         signo == SIGTRAP;
}

}  // namespace

Result<std::unique_ptr<Tracer>> Tracer::Create(std::string* why) {
  static_assert(sizeof(arch::Registers) == sizeof(user_regs_struct));
  InstallKickHandler();
  std::unique_ptr<Tracer> tracer(new Tracer);
  Result<> started = Ok();
  sched::Completion ready;
  tracer->thread_ = std::thread([&] {
    tracer->kick_.tid = gettid();
    started = tracer->StartZygote(why);
    bool ok = started.ok();
    if (!ok) tracer->stopping_ = true;
    Tracer* self = tracer.get();  // the reference is Create's, gone after Signal
    ready.Signal();
    self->Loop();
  });
  ready.Wait();
  if (!started.ok()) {
    tracer->thread_.join();  // its loop has ended and would carry out no job of the destructor's
    return started.error();
  }
  return tracer;
}

Tracer::~Tracer() {
  if (!thread_.joinable()) return;
  Run([this] {
    stopping_ = true;
    for (auto& [tid, tracee] : tracees_) tracee->space->Kill();
  });
  thread_.join();
}

void Tracer::Post(Job job) {
  {
    MutexLock lock(mutex_);
    jobs_.push_back(std::move(job));
    have_jobs_.store(true, std::memory_order_seq_cst);
  }
  SendKick(kick_);
}

void Tracer::Run(absl::FunctionRef<void()> fn) {
  sched::Completion done;
  Post({.fn = &fn, .done = &done});
  done.Wait();
}

void Tracer::Switch(Tracee& tracee, SwitchState& state) {
  Post({.tracee = RefPtr<Tracee>(&tracee), .state = &state});
}

void Tracer::Interrupt(RefPtr<Tracee> tracee) { Post({.tracee = std::move(tracee)}); }

void Tracer::Loop() {
  while (!stopping_ || !tracees_.empty()) {
    RunJobs();
    std::optional<Change> change;
    if (!later_.empty()) {
      change = later_.front();
      later_.pop_front();
    } else {
      change = NextChange(/*block=*/true, /*kickable=*/true);
    }
    if (change) Handle(*change);
  }
  RunJobs();
}

void Tracer::RunJobs() {
  while (have_jobs_.load(std::memory_order_seq_cst)) {
    std::vector<Job> jobs;
    {
      MutexLock lock(mutex_);
      jobs.swap(jobs_);
      have_jobs_.store(false, std::memory_order_seq_cst);
    }
    for (Job& job : jobs) {
      if (job.fn != nullptr) {
        (*job.fn)();
        job.done->Signal();
      } else if (job.state != nullptr) {
        StartSwitch(job);
      } else if (job.tracee->current != nullptr) {
        Ptrace(PTRACE_INTERRUPT, job.tracee->tid);
      }
    }
  }
}

void Tracer::StartSwitch(Job& job) {
  Tracee& tracee = *job.tracee;
  DCHECK(tracee.current == nullptr);
  tracee.current = job.state;
  if (!tracee.alive) {
    Finish(tracee, {.kind = Event::Kind::kExited});
    return;
  }
  if (!SetRegisters(tracee.tid, *job.state->registers)) {
    // Being killed: the exit comes, and ends the switch. Nothing else is possible; if it was, kill.
    tracee.space->Kill();
    return;
  }
  if (tracee.interrupt_pending.exchange(false, std::memory_order_seq_cst)) {
    Finish(tracee, {.kind = Event::Kind::kInterrupted});
    return;
  }
  tracee.resumed_at = sched::NowNs();
  Resume(tracee);
}

void Tracer::Resume(Tracee& tracee) { Ptrace(PTRACE_SYSEMU, tracee.tid); }

void Tracer::Finish(Tracee& tracee, Event event) {
  SwitchState* state = tracee.current;
  tracee.current = nullptr;
  if (tracee.resumed_at != 0) {
    tracee.guest_ns.fetch_add(sched::NowNs() - tracee.resumed_at, std::memory_order_relaxed);
    tracee.resumed_at = 0;
  }
  state->event = event;
  state->done.Signal();
}

std::optional<Tracer::Change> Tracer::NextChange(bool block, bool kickable) {
  siginfo_t info;
  for (;;) {
    info.si_pid = 0;
    long result;
    if (block && kickable) {
      kick_.awake.store(0, std::memory_order_seq_cst);
      if (have_jobs_.load(std::memory_order_seq_cst)) {
        kick_.awake.store(1, std::memory_order_seq_cst);
        return std::nullopt;
      }
      result = WaitOrKick(kick_, &info, kWaitFlags | WNOWAIT);
      if (result == -ECHILD) {
        // Somebody killed every stub, the first one too: only requests can come, to be refused.
        syscall(SYS_futex, reinterpret_cast<uint32_t*>(&kick_.awake), FUTEX_WAIT_PRIVATE, 0,
                nullptr, nullptr, 0);
      }
      kick_.awake.store(1, std::memory_order_seq_cst);
    } else {
      result = syscall(SYS_waitid, P_ALL, 0, &info, kWaitFlags | WNOWAIT | (block ? 0 : WNOHANG),
                       nullptr);
      if (result < 0) result = -errno;
    }
    if (result == -EINTR) {
      if (kickable) return std::nullopt;
      continue;
    }
    if (result != 0 || info.si_pid == 0) return std::nullopt;
    Change change{info.si_pid, info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED,
                  info.si_status};
    if (change.exited) return change;  // HandleExit reaps
    // Take the stop off the queue. It may have turned into a death meanwhile: look again.
    siginfo_t taken;
    taken.si_pid = 0;
    if (syscall(SYS_waitid, P_PID, change.tid, &taken, WSTOPPED | __WALL | __WNOTHREAD | WNOHANG,
                nullptr) == 0 &&
        taken.si_pid == change.tid) {
      change.status = taken.si_status;
      return change;
    }
  }
}

void Tracer::Handle(const Change& change) {
  if (change.exited) return HandleExit(change.tid);
  auto it = tracees_.find(change.tid);
  if (it == tracees_.end()) {
    newborn_[change.tid] = true;
    return;
  }
  HandleStop(*it->second, change.status);
}

void Tracer::HandleStop(Tracee& tracee, int status) {
  if (tracee.current == nullptr) return;  // it was stopped by us already
  int signo = status & 0xff, event = status >> 8;
  arch::Registers& registers = *tracee.current->registers;
  if (signo == (SIGTRAP | 0x80)) {
    if (!GetRegisters(tracee.tid, registers)) return;  // killed: its exit comes
    if (registers.cs != kUserCs) {
      // 32-bit code by a far jump: as on a kernel without IA32 emulation.
      registers.orig_rax = ~uint64_t{0};
      Finish(tracee,
             {.kind = Event::Kind::kFault, .signo = SIGSEGV, .code = SI_KERNEL, .trap_number = 13});
      return;
    }
    Finish(tracee, {.kind = Event::Kind::kSyscall});
    return;
  }
  if (event == PTRACE_EVENT_STOP) {
    if (!tracee.interrupt_pending.exchange(false, std::memory_order_seq_cst)) {
      Resume(tracee);  // an interrupt that a system call overtook
      return;
    }
    if (!GetRegisters(tracee.tid, registers)) return;
    registers.orig_rax = ~uint64_t{0};
    Finish(tracee, {.kind = Event::Kind::kInterrupted});
    return;
  }
  siginfo_t info = {};
  if (event == 0 && IsFault(signo) &&
      Ptrace(PTRACE_GETSIGINFO, tracee.tid, 0, reinterpret_cast<uintptr_t>(&info)) == 0 &&
      info.si_code > 0) {
    HandleFault(tracee, info);
    return;
  }
  Resume(tracee);  // a signal from outside: stubs do not get any
}

void Tracer::HandleFault(Tracee& tracee, const siginfo_t& info) {
  arch::Registers& registers = *tracee.current->registers;
  if (!GetRegisters(tracee.tid, registers)) return;
  registers.orig_rax = ~uint64_t{0};
  Event event{.kind = Event::Kind::kFault, .signo = info.si_signo, .code = info.si_code};
  event.address = info.si_code == SI_KERNEL ? 0 : reinterpret_cast<uint64_t>(info.si_addr);
  // ptrace does not tell the processor's own words; these are what they must have been.
  constexpr uint64_t kProtection = 1, kWrite = 2, kUser = 4, kFetch = 16;
  switch (info.si_signo) {
    case SIGSEGV:
    case SIGBUS:
      if (info.si_code == SI_KERNEL) {
        event.trap_number = 13;
      } else if (info.si_signo == SIGBUS && info.si_code == BUS_ADRALN) {
        event.trap_number = 17;
      } else {
        event.trap_number = 14;
        event.error_code = kUser;
        if (info.si_signo == SIGSEGV && info.si_code == SEGV_ACCERR) {
          event.error_code |= kProtection;
          std::byte byte;
          if (event.address == registers.rip) {
            event.error_code |= kFetch;
          } else if (tracee.space->CopyIn(event.address, {&byte, 1}).ok()) {
            event.error_code |= kWrite;  // readable, so it was not a read
          }
        }
      }
      break;
    case SIGILL:
      event.trap_number = 6;
      break;
    case SIGFPE:
      event.trap_number = info.si_code <= FPE_INTOVF ? 0 : 16;
      break;
    case SIGTRAP:
      event.trap_number = info.si_code == SI_KERNEL ? 3 : 1;
      break;
  }
  if (info.si_signo == SIGTRAP && info.si_code == SI_KERNEL) event.address = 0;
  Finish(tracee, event);
}

void Tracer::HandleExit(pid_t tid) {
  RefPtr<Tracee> tracee;
  if (auto it = tracees_.find(tid); it != tracees_.end()) {
    tracee = std::move(it->second);
    tracees_.erase(it);
    tracee->alive = false;
    if (tracee->space->pid() == tid) tracee->space->MarkGone();
  }
  newborn_.erase(tid);
  siginfo_t info;
  syscall(SYS_waitid, P_PID, tid, &info, WEXITED | __WALL | __WNOTHREAD | WNOHANG, nullptr);
  if (tracee && tracee->current != nullptr) Finish(*tracee, {.kind = Event::Kind::kExited});
}

}  // namespace msentry::platform::pt
