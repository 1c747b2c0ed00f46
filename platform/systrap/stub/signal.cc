// Host signals in a stub process: trapped system calls, faults, the sentry's interrupts.
#include "platform/systrap/stub/sys.h"

using namespace msentry::systrap;  // NOLINT: freestanding blob

// struct ucontext and sigcontext of the host's x86-64 ABI (arch/x86/include/uapi/asm/sigcontext.h).
struct StubUcontext {
  uint64_t flags, link;
  uint64_t stack_sp, stack_flags, stack_size;
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
  uint64_t eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  void* fpstate;
};

namespace {

struct SigInfo {
  int32_t signo, error, code, unused;
  union {
    uint64_t address;  // faults; SIGSYS: of the call
  };
  int32_t call_number;  // SIGSYS
  uint32_t call_arch;
};

constexpr int kSigTrap = 5, kSigSegv = 11, kSigSys = 31;
constexpr uint64_t kTrapFlag = 0x100;
constexpr uint32_t kArchX8664 = 0xc000003e;

// The handler runs on a thread's signal stack, so its address says which thread this is. gs would
// too, but a guest can load a selector into it.
Slot* ThisSlot() {
  uint64_t here = reinterpret_cast<uint64_t>(__builtin_frame_address(0));
  return SlotAt((here - kPrivate) / kPrivateStride);
}

bool Between(uint64_t rip, const char* begin, const char* end) {
  return rip >= reinterpret_cast<uint64_t>(begin) && rip < reinterpret_cast<uint64_t>(end);
}

bool At(uint64_t rip, const char* label) { return rip == reinterpret_cast<uint64_t>(label); }

void SaveRegisters(Slot* slot, const StubUcontext& c) {
  SlotRegs& r = slot->regs;
  r.r15 = c.r15, r.r14 = c.r14, r.r13 = c.r13, r.r12 = c.r12, r.rbp = c.rbp, r.rbx = c.rbx;
  r.r11 = c.r11, r.r10 = c.r10, r.r9 = c.r9, r.r8 = c.r8, r.rax = c.rax, r.rcx = c.rcx;
  r.rdx = c.rdx, r.rsi = c.rsi, r.rdi = c.rdi, r.rip = c.rip, r.rsp = c.rsp;
  r.eflags = c.eflags | (slot->single_step ? kTrapFlag : 0);
  r.orig_rax = ~0ull;
  slot->single_step = 0;
}

// The host has put the FPU in its initial state for the handler. The guest's is put back at once
// when the handler will not return, so that it is live whatever way we leave.
void RestoreFpu(const StubUcontext& c) {
  if (c.fpstate) stub_xrstor(c.fpstate, ControlPage()->xstate_mask);
}

// Guest code was interrupted: makes the request and does not return.
[[noreturn]] void Request(Slot* slot, const StubUcontext& c, uint32_t kind) {
  SaveRegisters(slot, c);
  if (kind == kSyscall) slot->regs.orig_rax = c.rax;
  RestoreFpu(c);
  if (kind == kInterrupted) BlockInterrupts(false);
  stub_switch_and_request(slot, kind, 1);
}

[[noreturn]] void Fault(Slot* slot, const StubUcontext& c, const SigInfo& info) {
  slot->fault_signo = static_cast<uint32_t>(info.signo);
  slot->fault_code = info.code;
  slot->fault_address = info.address;
  slot->fault_error = c.err;
  slot->fault_trap = c.trapno;
  Request(slot, c, kFault);
}

// Code of ours that may meet a bad guest address, and where it goes on then.
bool FixUp(StubUcontext* c) {
  uint64_t rip = c->rip;
  const char* to = nullptr;
  if (At(rip, stub_copy_access)) to = stub_copy_fault;
  if (At(rip, stub_load8_access)) to = stub_load8_fault;
  if (At(rip, stub_store1_access) || At(rip, stub_store4_access) || At(rip, stub_store8_access)) {
    to = stub_store_fault;
  }
  if (At(rip, stub_xrstor_access)) to = stub_xrstor_fault;
  if (!to) return false;
  c->rip = reinterpret_cast<uint64_t>(to);
  return true;
}

// The signal came while the stub's own code ran. Returns when that code shall go on.
void InStub(Slot* slot, StubUcontext* c, const SigInfo& info) {
  uint64_t rip = c->rip;
  bool fast = Between(rip, stub_leave_fast, stub_leave_fast_end);
  bool full = Between(rip, stub_leave_full, stub_leave_full_end);
  if (info.signo == kInterruptSignal) {
    if (Between(rip, stub_answer, stub_answer_end)) {
      c->rip = c->rcx;  // the call is over
      Request(slot, *c, kInterrupted);
    }
    if (!fast && !full) return;  // the stub will look at slot->interrupt before it leaves
    RestoreFpu(*c);
    BlockInterrupts(false);
    stub_switch_and_request(slot, kInterrupted, 1);
  }
  if (info.signo == kSigTrap && (c->eflags & kTrapFlag)) {
    // A single-stepped call site came here. The step is over when guest code goes on.
    c->eflags &= ~kTrapFlag;
    slot->single_step = 1;
    return;
  }
  if (info.signo == kSigSys) {  // the filter refused what an operation asked for
    c->rax = static_cast<uint64_t>(-1);
    return;
  }
  if (Between(rip, stub_answer, stub_answer_end)) {  // a return address that is not canonical
    c->rip = c->rcx;
    Fault(slot, *c, info);
  }
  if (fast || full) {
    // The registers we were to load are bad (a return address that is not canonical): the guest's
    // fault, with the registers as the sentry gave them.
    slot->fault_signo = kSigSegv;
    slot->fault_code = 0x80;  // SI_KERNEL
    slot->fault_address = 0;
    slot->fault_error = c->err;
    slot->fault_trap = c->trapno;
    RestoreFpu(*c);
    stub_switch_and_request(slot, kFault, 1);
  }
  if (!FixUp(c)) Sys(kNrExitGroup, 3);
}

// The signal came while the stub had the vDSO read a clock. The registers in the slot are the
// guest's: nothing may be requested before it is back.
void InVdso(Slot* slot, StubUcontext* c, const SigInfo& info) {
  if (info.signo == kInterruptSignal) return;
  if (info.signo == kSigTrap && (c->eflags & kTrapFlag)) {
    c->eflags &= ~kTrapFlag;
    slot->single_step = 1;
  } else if (info.signo == kSigSys) {
    c->rax = static_cast<uint64_t>(-38);  // ENOSYS: the vDSO cannot tell by itself after all
  } else {
    c->rip = reinterpret_cast<uint64_t>(stub_read_clock_fault);
    c->rsp = slot->clock_sp;
  }
}

}  // namespace

extern "C" void stub_on_signal(int signal, const void* raw, StubUcontext* c) {
  Slot* slot = ThisSlot();
  SigInfo info = *static_cast<const SigInfo*>(raw);
  info.signo = signal;
  // kill(2) from outside: no fault and no trap, whatever number it has.
  if (signal != kInterruptSignal && info.code <= 0) return;
  if (c->rip >= kText && c->rip < kText + kTextMax) {
    InStub(slot, c, info);
    return;
  }
  if (c->rsp >= kPrivate && c->rsp < kPrivate + kPrivateSize) {
    InVdso(slot, c, info);
    return;
  }
  if (signal == kInterruptSignal) Request(slot, *c, kInterrupted);
  if (signal != kSigSys) Fault(slot, *c, info);
  if (info.call_arch != kArchX8664) {
    // int 0x80: a kernel without 32-bit support answers with a general protection fault.
    c->rip -= 2;
    c->err = (0x80 << 3) | 2;
    c->trapno = 13;
    info.signo = kSigSegv;
    info.code = 0x80;
    info.address = 0;
    Fault(slot, *c, info);
  }
  Request(slot, *c, kSyscall);
}
