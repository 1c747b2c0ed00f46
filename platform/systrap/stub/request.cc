// The conversation with the sentry: post a request, wait for the reply, carry out its operations.
#include "platform/systrap/stub/sys.h"

using namespace msentry::systrap;  // NOLINT: freestanding blob

namespace {

void RingDoorbell() {
  uint64_t one = 1;
  Sys(kNrWrite, kDoorbellFd, reinterpret_cast<uint64_t>(&one), sizeof(one));
}

// True if the doorbell has been rung.
bool Post(Slot* slot) {
  slot->doze = 0;
  __atomic_store_n(&slot->state, kRequest, __ATOMIC_SEQ_CST);
  const Control* control = ControlPage();
  const bool ring = __atomic_load_n(&control->armed, __ATOMIC_SEQ_CST);
  if (ring) RingDoorbell();
  if (control->wake_futex) {
    Sys(kNrFutex, reinterpret_cast<uint64_t>(&slot->state), kFutexWake, 1);
  }
  return ring;
}

// The limit of this segment is the number of the CPU: what getcpu(3) reads without a system call.
uint32_t ThisCpu() {
  constexpr uint32_t kCpuSegment = 0x7b;
  uint32_t limit = 0;
  asm volatile("lsl %1, %0" : "+r"(limit) : "r"(kCpuSegment) : "cc");
  return limit & 0xfff;
}

// True if the reply came while we spun.
bool Spin(Slot* slot, bool rung) {
  const Control* control = ControlPage();
  // A worker that has to be woken needs a CPU, maybe this one, and takes its time.
  if (rung && __atomic_load_n(&control->crowded, __ATOMIC_RELAXED)) return false;
  for (uint32_t i = rung ? control->spin / 8 : control->spin; i; --i) {
    if (!rung && i % 16 == 0 &&
        ThisCpu() == __atomic_load_n(&control->worker_cpu, __ATOMIC_RELAXED)) {
      return false;
    }
    if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == kReply) return true;
    if (__atomic_load_n(&slot->doze, __ATOMIC_RELAXED)) return false;
    __builtin_ia32_pause();
  }
  if (!rung) RingDoorbell();
  return false;
}

void Wait(Slot* slot, bool rung) {
  if (Spin(slot, rung)) return;
  slot->cpu = ThisCpu();
  __atomic_store_n(&slot->sleeping, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&slot->state, __ATOMIC_SEQ_CST) != kReply) {
    Sys(kNrFutex, reinterpret_cast<uint64_t>(&slot->state), kFutexWait, kRequest);
  }
  __atomic_store_n(&slot->sleeping, 0, __ATOMIC_RELAXED);
}

// The first thing a forked child does: nothing of its parent's slots is mapped here, so it must not
// touch a slot before it has its own.
[[noreturn]] void StartForkedChild(Slot* slot, uint64_t nonce) {
  Sys(kNrPrctl, 1 /* PR_SET_PDEATHSIG */, 9);
  int64_t fd = Sys(kCallGetSlots, nonce);
  if (IsError(fd)) Sys(kNrExitGroup, 1);
  int64_t at = Sys(kNrMmap, kSlots, kSlotsSize, 3, 0x11 /* MAP_SHARED | MAP_FIXED */, fd, 0);
  if (IsError(at) || Sys(kNrMadvise, kSlots, kSlotsSize, 10 /* MADV_DONTFORK */)) {
    Sys(kNrExitGroup, 2);
  }
  Sys(kNrClose, fd);
  BlockInterrupts(false);
  stub_obey(slot, true);
}

int64_t Fork(Slot* slot, uint64_t nonce) {
  // Blocked, so that no signal makes the host restart the one clone that the sentry allows, and
  // none finds the child without a slot.
  BlockInterrupts(true);
  int64_t pid = Sys(kNrClone, kCloneFork, 0, 0, 0, 0);
  if (pid == 0) StartForkedChild(slot, nonce);
  BlockInterrupts(false);
  return pid;
}

int64_t StartThread(uint64_t index) {
  BlockInterrupts(true);
  int64_t tid =
      stub_clone_thread(SlotAt(index), kPrivate + (index + 1) * kPrivateStride, kCloneThread);
  BlockInterrupts(false);
  return tid;
}

// While a call waits for the keeper no interrupt may come: the host would end the call with EINTR,
// even when the keeper has just let it through (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV does not
// hold when the answer comes before the signal is looked at), and the keeper does so only once.
// `kept`: the descriptor of the operation before, or -1.
int64_t MapFile(const Op& op, int64_t* kept) {
  BlockInterrupts(true);
  int64_t fd = op.a[4] & kMapFileSame ? *kept : Sys(kCallGetFd);
  *kept = -1;
  int64_t result = fd;
  if (!IsError(fd)) result = Sys(kNrMmap, op.a[0], op.a[1], op.a[2], op.a[3], fd, op.a[5]);
  BlockInterrupts(false);
  if (IsError(fd)) return fd;
  if ((op.a[4] & kMapFileMore) && !IsError(result)) {
    *kept = fd;
  } else {
    Sys(kNrClose, fd);
  }
  return result;
}

void SaveFpu(Slot* slot) {
  uint64_t mask = ControlPage()->xstate_mask;
  asm volatile("xsave64 (%0)"
               :
               : "r"(SlotByte(slot, kFpuOffset)), "a"(static_cast<uint32_t>(mask)),
                 "d"(static_cast<uint32_t>(mask >> 32))
               : "memory");
}

void SerializeThreads() {
  // Registers the process the first time (and harmlessly again after a fork).
  constexpr uint64_t kRegister = 64, kSyncCore = 32;
  if (Sys(kNrMembarrier, kSyncCore, 0, 0) == -1) {
    Sys(kNrMembarrier, kRegister, 0, 0);
    Sys(kNrMembarrier, kSyncCore, 0, 0);
  }
}

// Five bytes of code become a jump (or what they were), while other threads may be running there.
// One aligned eight-byte store is seen whole or not at all. Where that cannot be had: first the
// bytes at which instructions begin, the first and the third, become ones that trap (the new third
// byte is such a one, or is never reached); when all threads have seen that, the rest; then the
// first. Threads that trap meanwhile are sent back by the sentry.
bool Patch(uint64_t at, uint64_t old_bytes, uint64_t new_bytes, uint64_t flags) {
  void* code = reinterpret_cast<void*>(at);
  uint64_t now;
  if (!stub_load8(code, &now)) return false;
  constexpr uint64_t kFive = 0xff'ffff'ffff;
  if ((flags & kPatchCheck) && (now & kFive) != (old_bytes & kFive)) return false;
  uint64_t value = (now & ~kFive) | (new_bytes & kFive);
  if (!(flags & kPatchThreads)) return stub_store(code, value, 8);
  uint64_t word = at & ~7ull, shift = (at - word) * 8;
  if (shift <= 24) {
    uint64_t whole;
    if (!stub_load8(reinterpret_cast<void*>(word), &whole)) return false;
    whole = (whole & ~(kFive << shift)) | ((value & kFive) << shift);
    return stub_store(reinterpret_cast<void*>(word), whole, 8);
  }
  char* bytes = static_cast<char*>(code);
  if (!stub_store(bytes, 0xcc, 1)) return false;
  stub_store(bytes + 2, value >> 16, 1);
  SerializeThreads();
  stub_store(bytes + 1, value >> 8, 1);
  stub_store(bytes + 3, value >> 24, 1);
  stub_store(bytes + 4, value >> 32, 1);
  SerializeThreads();
  stub_store(bytes, value, 1);
  SerializeThreads();
  return true;
}

// rt_sigprocmask: true if it has been answered. The sentry looks at the mask after it has published
// a pending signal, we look at the pending ones after we have changed the mask, so one of us sees
// that the signal has to be delivered.
bool ChangeMask(Slot* slot) {
  SlotRegs& r = slot->regs;
  constexpr uint64_t kUnblockable = 1ull << 8 | 1ull << 18;  // KILL, STOP
  if (r.r10 != 8) return false;
  uint64_t old_mask = __atomic_load_n(&slot->signal_mask, __ATOMIC_RELAXED);
  if (r.rsi) {
    uint64_t set, mask;
    if (!stub_load8(reinterpret_cast<void*>(r.rsi), &set)) return false;
    switch (static_cast<uint32_t>(r.rdi)) {
      case 0:
        mask = old_mask | set;
        break;
      case 1:
        mask = old_mask & ~set;
        break;
      case 2:
        mask = set;
        break;
      default:
        return false;
    }
    mask &= ~kUnblockable;
    __atomic_store_n(&slot->signal_mask, mask, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&slot->signals_pending, __ATOMIC_SEQ_CST) & ~mask) {
      __atomic_store_n(&slot->signal_mask, old_mask, __ATOMIC_SEQ_CST);
      return false;
    }
  }
  r.rax = 0;
  if (r.rdx && !stub_store(reinterpret_cast<void*>(r.rdx), old_mask, 8)) {
    r.rax = static_cast<uint64_t>(-14);
  }
  return true;
}

// clock_gettime made as a system call: true if it has been answered. Only the clocks that the vDSO
// reads without a system call of its own, which would come back here.
bool ReadClock(Slot* slot) {
  constexpr uint32_t kClocks = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 11;
  SlotRegs& r = slot->regs;
  const uint64_t function = ControlPage()->vdso_clock_gettime;
  const uint32_t clock = static_cast<uint32_t>(r.rdi);
  if (!function || clock > 11 || !(kClocks >> clock & 1)) return false;
  uint64_t time[2];
  if (stub_read_clock(slot, function, clock, time)) return false;
  r.rax = stub_copy(reinterpret_cast<void*>(r.rsi), time, sizeof(time))
              ? static_cast<uint64_t>(-14)  // EFAULT
              : 0;
  return true;
}

// Calls that are answered without the sentry, besides those of entry.S.
bool Shortcut(Slot* slot) {
  switch (slot->regs.orig_rax) {
    case kNrRtSigprocmask:
      return ChangeMask(slot);
    case kNrSchedYield:
      // Guest threads are host threads: the host knows who else can run.
      slot->regs.rax = static_cast<uint64_t>(Sys(kNrSchedYield));
      return true;
    case kNrClockGettime:
      return ReadClock(slot);
    default:
      return false;
  }
}

int64_t HostCall(const Op& op) {
  const bool asks = ControlPage()->strict_gate;
  if (asks) BlockInterrupts(true);
  int64_t result = Sys(op.a[0], op.a[1], op.a[2], op.a[3], op.a[4], op.a[5], op.a[6]);
  if (asks) BlockInterrupts(false);
  return result;
}

int64_t RunOp(Slot* slot, const Op& op, int64_t* kept) {
  switch (op.code) {
    case kOpSyscall:
      return HostCall(op);
    case kOpMapFile:
      return MapFile(op, kept);
    case kOpFork:
      return Fork(slot, op.a[0]);
    case kOpThread:
      return StartThread(op.a[0]);
    case kOpExitThread:
      Sys(kNrExit, 0);
      return -1;
    case kOpExitProcess:
      Sys(kNrExitGroup, 0);
      return -1;
    case kOpCopyOut:
      if (stub_copy(reinterpret_cast<void*>(op.a[0]), SlotByte(slot, op.a[1]), op.a[2])) {
        if (op.a[3]) return -14;
        slot->copy_fault = 1;
        slot->regs.rax = static_cast<uint64_t>(-14);  // EFAULT, if we resume
      }
      return 0;
    case kOpCopyIn:
      return static_cast<int64_t>(
          op.a[2] - stub_copy(SlotByte(slot, op.a[1]), reinterpret_cast<void*>(op.a[0]), op.a[2]));
    case kOpSaveFpu:
      SaveFpu(slot);
      return 0;
    case kOpLoadFpu:
      return stub_xrstor(SlotByte(slot, kFpuOffset), ControlPage()->xstate_mask) ? 0 : -22;
    case kOpSetFs:
      // A base that is no user address stays unset; the guest asked for it.
      Sys(kNrArchPrctl, kArchSetFs, op.a[0]);
      return 0;
    case kOpPatch:
      slot->patch_failed = !Patch(op.a[0], op.a[1], op.a[2], op.a[3]);
      return 0;
    default:
      return -22;
  }
}

}  // namespace

extern "C" void stub_request(Slot* slot, uint32_t kind, uint32_t by_signal) {
  // The way in may have been one where the guest's own gs was loaded.
  if (slot->guest_gs) Sys(kNrArchPrctl, kArchSetGs, reinterpret_cast<uint64_t>(slot));
  if (kind == kSyscall) {
    // From a site that is not a jump yet the sentry wants to hear each time.
    if (!by_signal && slot->shortcuts && Shortcut(slot)) {
      if (slot->guest_gs) Sys(kNrArchPrctl, kArchSetGs, slot->guest_gs);
      stub_leave(slot);
    }
    stub_marshal(slot);
  }
  slot->kind = kind;
  slot->by_signal = by_signal;
  stub_obey(slot, Post(slot));
}

// Waits for the reply, which may be there already, and does what it says.
extern "C" void stub_obey(Slot* slot, bool rung) {
  for (;;) {
    Wait(slot, rung);
    const Op* ops = reinterpret_cast<const Op*>(SlotByte(slot, kOpsOffset));
    uint32_t count = slot->op_count, done = 0;
    int64_t value = 0, kept = -1;
    for (; done < count; ++done) {
      value = RunOp(slot, ops[done], &kept);
      if (IsError(value)) break;
    }
    if (done == count && slot->after == kResume) {
      if (slot->guest_gs) Sys(kNrArchPrctl, kArchSetGs, slot->guest_gs);
      stub_leave(slot);
    }
    slot->kind = kDone;
    slot->done = done;
    slot->value = value;
    rung = Post(slot);
  }
}

extern "C" void stub_thread_start(Slot* slot) {
  struct {
    uint64_t sp;
    uint64_t flags;
    uint64_t size;
  } alt = {kPrivate + slot->index * kPrivateStride, 0, kAltStackSize};
  Sys(kNrSigaltstack, reinterpret_cast<uint64_t>(&alt), 0);
  Sys(kNrArchPrctl, kArchSetGs, reinterpret_cast<uint64_t>(slot));
  BlockInterrupts(false);
  stub_obey(slot, true);
}
