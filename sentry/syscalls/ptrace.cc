// ptrace(2): the requests. What a stop is, and who traces whom, is sentry/kernel/trace.h.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "procfs/access.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/trace.h"
#include "sentry/syscalls/calls_process.h"
#include "sentry/syscalls/ptrace_registers.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using kernel::TraceResume;
using kernel::TraceState;

constexpr int kGetSyscallInfo = 0x420e;
constexpr int kGetSigMask = 0x420a, kSetSigMask = 0x420b;
// TRACESYSGOOD, the events up to EXIT, EXITKILL. Seccomp does not exist in the guest.
constexpr uint64_t kKnownOptions = 0x7f | PTRACE_O_EXITKILL;
constexpr uint64_t kAllOptions = kKnownOptions | PTRACE_O_TRACESECCOMP | PTRACE_O_SUSPEND_SECCOMP;

Result<int64_t> Attach(Task& t, int pid, bool seize, uint64_t address, uint64_t options) {
  if (seize && (address != 0 || (options & ~kAllOptions))) return Errno::kEIO;
  RefPtr<Task> target = t.kernel().FindTask(pid);
  if (!target) return Errno::kESRCH;
  if (&target->group() == &t.group()) return Errno::kEPERM;
  if (!procfs::CheckInspect(*t.creds(), t.tgid(), *target, procfs::WhichIds::kReal)) {
    return Errno::kEPERM;
  }
  TRY(kernel::TraceAttach(t, *target, seize, seize ? static_cast<uint32_t>(options) : 0));
  return 0;
}

// The tracee's memory, whatever the protection of the page.
Result<> Poke(mm::MemoryManager& mm, uint64_t address, uint64_t word) {
  const auto bytes = std::as_bytes(std::span(&word, 1));
  const Result<size_t> done = mm.address_space().ForceCopyOut(address, bytes);
  if (!done.ok() || *done != bytes.size()) return Errno::kEIO;
  return Ok();
}

Result<uint64_t> Peek(mm::MemoryManager& mm, uint64_t address) {
  const auto word = mm::GuestMemory(&mm, nullptr).CopyIn(GuestPtr<uint64_t>(address));
  if (!word.ok()) return Errno::kEIO;
  return *word;
}

// The union of ptrace_syscall_info, as far as there is something to say.
struct SyscallInfo {
  uint8_t op = 0;
  uint8_t pad[3] = {};
  uint32_t arch = 0xc000003e;  // AUDIT_ARCH_X86_64
  uint64_t instruction_pointer = 0, stack_pointer = 0;
  uint64_t data[7] = {};  // entry: number, arguments; exit: result, is_error
};

Result<int64_t> GetSyscallInfo(Task& t, Task& tracee, uint64_t size, uint64_t to) {
  constexpr size_t kHead = offsetof(SyscallInfo, data);
  SyscallInfo info;
  const arch::Registers& r = tracee.registers();
  info.instruction_pointer = r.rip;
  info.stack_pointer = r.rsp;
  size_t have = kHead;
  switch (tracee.trace_stop_kind()) {
    case kernel::TraceStopKind::kSyscallEntry:
      info.op = 1;
      info.data[0] = r.orig_rax;
      for (int i = 0; i < 6; ++i) info.data[i + 1] = r.arg(i);
      have = sizeof(info);
      break;
    case kernel::TraceStopKind::kSyscallExit:
      info.op = 2;
      info.data[0] = r.rax;
      info.data[1] = static_cast<int64_t>(r.rax) < 0 && static_cast<int64_t>(r.rax) >= -4095;
      have = kHead + sizeof(uint64_t) + 1;
      break;
    default:
      break;
  }
  TRY(t.memory().CopyOutBytes(
      to, std::as_bytes(std::span(&info, 1)).first(std::min<size_t>(have, size))));
  return static_cast<int64_t>(have);
}

Result<int64_t> SigInfoRequest(Task& t, Task& tracee, bool set, uint64_t address) {
  if (set) {
    const auto info = TRY(t.memory().CopyIn(GuestPtr<kernel::SigInfo>(address)));
    TRY(tracee.SetTraceSigInfo(info));
    return 0;
  }
  const kernel::SigInfo info = TRY(tracee.TraceSigInfo());
  TRY(t.memory().CopyOut(GuestPtr<kernel::SigInfo>(address), info));
  return 0;
}

Result<int64_t> SigMaskRequest(Task& t, Task& tracee, bool set, uint64_t size, uint64_t address) {
  if (size != sizeof(kernel::SigSet)) return Errno::kEINVAL;
  if (set) {
    tracee.SetSignalMask(TRY(t.memory().CopyIn(GuestPtr<kernel::SigSet>(address))));
  } else {
    TRY(t.memory().CopyOut(GuestPtr<kernel::SigSet>(address), tracee.signal_mask()));
  }
  return 0;
}

Result<int64_t> Resume(Task& tracee, TraceResume how, uint64_t signo) {
  if (signo > static_cast<uint64_t>(kernel::kMaxSignal)) return Errno::kEIO;
  kernel::TraceResumeTask(tracee, how, static_cast<int>(signo));
  return 0;
}

// What needs a stopped tracee, whose `access` is held.
Result<int64_t> OfStopped(Task& t, Task& tracee, int64_t request, uint64_t address, uint64_t data) {
  switch (request) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
      TRY(t.memory().CopyOut(GuestPtr<uint64_t>(data), TRY(Peek(tracee.mm(), address))));
      return 0;
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
      TRY(Poke(tracee.mm(), address, data));
      return 0;
    case PTRACE_PEEKUSER:
      TRY(t.memory().CopyOut(GuestPtr<uint64_t>(data), TRY(PeekUser(tracee, address))));
      return 0;
    case PTRACE_POKEUSER:
      TRY(PokeUser(tracee, address, data));
      return 0;
    case PTRACE_GETREGS:
      TRY(t.memory().CopyOut(GuestPtr<arch::Registers>(data), tracee.registers()));
      return 0;
    case PTRACE_SETREGS:
      TRY(SetRegisters(tracee, TRY(t.memory().CopyIn(GuestPtr<arch::Registers>(data)))));
      return 0;
    case PTRACE_GETFPREGS:
      TRY(GetFpu(t, tracee, data, kFxsaveSize));
      return 0;
    case PTRACE_SETFPREGS:
      TRY(SetFpu(t, tracee, data, kFxsaveSize));
      return 0;
    case PTRACE_GETREGSET:
    case PTRACE_SETREGSET:
      return RegisterSet(t, tracee, request == PTRACE_SETREGSET, address, data);
    case PTRACE_SETOPTIONS:
      if (data & ~kAllOptions) return Errno::kEINVAL;
      tracee.SetTraceOptions(static_cast<uint32_t>(data));
      return 0;
    case PTRACE_GETEVENTMSG:
      TRY(t.memory().CopyOut(GuestPtr<uint64_t>(data), tracee.trace_message()));
      return 0;
    case PTRACE_GETSIGINFO:
    case PTRACE_SETSIGINFO:
      return SigInfoRequest(t, tracee, request == PTRACE_SETSIGINFO, data);
    case kGetSigMask:
    case kSetSigMask:
      return SigMaskRequest(t, tracee, request == kSetSigMask, address, data);
    case kGetSyscallInfo:
      return GetSyscallInfo(t, tracee, address, data);
    case PTRACE_CONT:
      return Resume(tracee, TraceResume::kContinue, data);
    case PTRACE_SYSCALL:
      return Resume(tracee, TraceResume::kSyscall, data);
    case PTRACE_SINGLESTEP:
      return Resume(tracee, TraceResume::kStep, data);
    case PTRACE_SYSEMU:
      return Resume(tracee, TraceResume::kSysemu, data);
    case PTRACE_SYSEMU_SINGLESTEP:
      return Resume(tracee, TraceResume::kSysemuStep, data);
    case PTRACE_LISTEN:
      TRY(kernel::TraceListen(tracee));
      return 0;
    case PTRACE_DETACH:
      if (data > static_cast<uint64_t>(kernel::kMaxSignal)) return Errno::kEIO;
      kernel::TraceDetach(tracee, static_cast<int>(data));
      return 0;
    default:
      return Errno::kEIO;
  }
}

}  // namespace

Result<int64_t> SysPtrace(Task& t, const SyscallArgs& a) {
  const int64_t request = a.Long(0);
  const int pid = a.Int(1);
  switch (request) {
    case PTRACE_TRACEME:
      TRY(kernel::TraceMe(t));
      return 0;
    case PTRACE_ATTACH:
    case PTRACE_SEIZE:
      return Attach(t, pid, request == PTRACE_SEIZE, a[2], a[3]);
    case PTRACE_KILL: {
      RefPtr<Task> tracee = TRY(kernel::FindTracee(t, pid, false));
      Task::ExitGroup(tracee->group(), SIGKILL);
      return 0;
    }
    case PTRACE_INTERRUPT:
      TRY(kernel::TraceInterrupt(*TRY(kernel::FindTracee(t, pid, false))));
      return 0;
    default:
      break;
  }
  RefPtr<Task> tracee = TRY(kernel::FindTracee(t, pid, true));
  sched::FiberMutexLock access(tracee->trace()->access);
  // It may have been killed before we had it.
  TRY(kernel::FindTracee(t, pid, true));
  return OfStopped(t, *tracee, request, a[2], a[3]);
}

}  // namespace msentry::syscalls
