// What the sentry and the stub blob share: the address map above kTaskSize, the control page and
// the slot of a guest thread. Included by the sentry, by the freestanding stub and by its assembler
// code (the #defines; static_asserts below hold them to the structs).
//
// Trust: the stub trusts the sentry. The sentry trusts nothing it reads from a slot: every word is
// read once, copied, validated. The control page is written by the sentry only.
//
// Who waits for whom (all the accesses named here are sequentially consistent):
//
//   stub posts a request:   (R1) state = kRequest     (R2) if (control.armed) write(doorbell)
//   poller goes to sleep:   (P1) control.armed = 1    (P2) look at the state of every slot
//     One of R2 and P2 sees the other's store, whatever the order: no request is slept over.
//     A worker that is awake but busy may have armed nothing: the stub then waits for it, and rings
//     after all when it has spun in vain (unless `doze` says that the request has been seen). If
//     that worker was last on the stub's own CPU it cannot run before the stub sleeps: no spinning
//     then.
//   sentry replies:         (A1) state = kReply       (A2) if (slot.sleeping) futex_wake(state)
//     A1 happens with the poller's list of slots locked, in the critical section that puts this
//     slot there. Listed earlier, the poller would take the kRequest that A1 is about to overwrite
//     for the answer to A1 (the owner then reads a request that it has read already); listed later,
//     the poller's P2 could miss the next one.
//   new thread or process:  the sentry makes its slot with state = kRequest, so that it may reply
//   before
//     the stub is there; the stub begins as if it had posted, and finds the reply when it comes.
//   stub goes to sleep:     (S1) sleeping = 1         (S2) futex_wait(state, kRequest)
//     If A2 reads sleeping == 0, A1 came before S1, and S2's look at the word (made by the host
//     kernel under its hash lock) finds kReply and returns at once. Else A2 wakes, before or after
//     S2 queued: before, the word has changed as well.
//   sentry interrupts:      (I1) slot.interrupt = 1   (I2) if (running) tgkill(signal)
//   sentry resumes:         (W1) running = true       (W2) A1
//   stub leaves to guest:   (L1) [after it saw kReply] reads slot.interrupt in the exit window
//     If I2 reads running == false, I1 came before W1 and L1 sees it. Else the signal is sent: it
//     comes in guest code (the handler reports kInterrupted) or in the stub: in the exit window the
//     handler reports as well (the slot still holds the registers), elsewhere L1 is still to come.
//     The signal may come late, when that stay in guest code is over: during the operations of a
//     later reply or in a later stay. In the stub's own code, operations included, the handler does
//     nothing but return, so the former is not noticed; the latter reports kInterrupted once too
//     often, which is allowed.
//
// What a request may say. A reply with kReport is followed by kDone and nothing else: the stub
// carries the operations out in its own code, where no signal makes a request. A reply with kResume
// is followed by kSyscall, kFault or kInterrupted, from guest code or from the exit window, which
// begins behind the last operation; or by kDone, when an operation failed. A stub that posts
// anything else is broken and is killed. The slot is the owner's until it has read all of the
// request: another fiber that borrows the thread (Thread::TrySeize) overwrites kind, value and
// operations.
#ifndef MSENTRY_PLATFORM_SYSTRAP_STUB_ABI_H_
#define MSENTRY_PLATFORM_SYSTRAP_STUB_ABI_H_

// Offsets for entry.S.
#define STUB_ENTRY 0x40
#define SLOT_STATE 0x00
#define SLOT_SLEEPING 0x04
#define SLOT_INTERRUPT 0x08
#define SLOT_SELF 0x40
#define SLOT_STACK 0x48
#define SLOT_SHORTCUTS 0x50
#define SLOT_TGID 0x54
#define SLOT_TID 0x58
#define SLOT_UID 0x5c
#define SLOT_EUID 0x60
#define SLOT_GID 0x64
#define SLOT_EGID 0x68
#define SLOT_HOST_TID 0xa0
#define SLOT_GUEST_GS 0xa8
#define SLOT_CLOCK_SP 0xb0
#define SLOT_REGS 0xc0
#define GREG_R15 (SLOT_REGS + 0)
#define GREG_R14 (SLOT_REGS + 8)
#define GREG_R13 (SLOT_REGS + 16)
#define GREG_R12 (SLOT_REGS + 24)
#define GREG_RBP (SLOT_REGS + 32)
#define GREG_RBX (SLOT_REGS + 40)
#define GREG_R11 (SLOT_REGS + 48)
#define GREG_R10 (SLOT_REGS + 56)
#define GREG_R9 (SLOT_REGS + 64)
#define GREG_R8 (SLOT_REGS + 72)
#define GREG_RAX (SLOT_REGS + 80)
#define GREG_RCX (SLOT_REGS + 88)
#define GREG_RDX (SLOT_REGS + 96)
#define GREG_RSI (SLOT_REGS + 104)
#define GREG_RDI (SLOT_REGS + 112)
#define GREG_ORIG_RAX (SLOT_REGS + 120)
#define GREG_RIP (SLOT_REGS + 128)  // rip, cs, eflags, rsp, ss: what iretq pops
#define GREG_EFLAGS (SLOT_REGS + 144)
#define GREG_RSP (SLOT_REGS + 152)

#define KIND_SYSCALL 1
#define KIND_INTERRUPTED 3

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

namespace msentry::systrap {

// ---- Address map of a stub process above arch::kTaskSize ----
inline constexpr uint64_t kText = 0x7ff800000000;  // the blob; its rip range is [kText, +64 KiB)
inline constexpr uint64_t kTextMax = 0x10000;
inline constexpr uint64_t kEntry = kText + STUB_ENTRY;  // where patched call sites come
inline constexpr uint64_t kControl = 0x7ff800100000;    // Control, read-only, shared by all stubs
inline constexpr uint64_t kSlots = 0x7ff900000000;      // Slot[kMaxThreads], shared with the sentry
inline constexpr uint64_t kSlotStride = 0x20000;
inline constexpr uint64_t kPrivate = 0x7ffa00000000;  // stacks, one area for each slot
inline constexpr uint64_t kPrivateStride = 0x10000;
inline constexpr uint64_t kAltStackSize = 0xa000;  // [0, here) signal stack, above it: the stack
inline constexpr uint32_t kMaxThreads = 8192;
inline constexpr uint64_t kSlotsSize = kSlotStride * kMaxThreads;
inline constexpr uint64_t kPrivateSize = kPrivateStride * kMaxThreads;

// ---- Fixed host facts of a stub process ----
inline constexpr int kDoorbellFd = 0;        // the scheduler's eventfd: the only fd a stub keeps
inline constexpr int kInterruptSignal = 23;  // SIGURG: ignored where no handler is set yet
// System calls that never reach the host kernel: the filter sends them to the sentry, which answers
// with a descriptor (SECCOMP_IOCTL_NOTIF_ADDFD). Real numbers, so that libseccomp takes them.
inline constexpr int kCallGetFd = 438;     // pidfd_getfd: the fd of the kMapFile being carried out
inline constexpr int kCallGetSlots = 319;  // memfd_create(nonce): the slots of a forked child
// Flags of the only two clones there are.
inline constexpr uint64_t kCloneFork = 0x8000;  // CLONE_PARENT
// CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | PARENT_SETTID | CHILD_CLEARTID
inline constexpr uint64_t kCloneThread =
    0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 | 0x200000;

// How the stub treats one argument of a call (from abi::ArgSpec; see stub/marshal.cc).
struct MarshalArg {
  uint8_t kind;  // abi::ArgKind
  uint8_t length_arg;
  uint16_t size;
};
inline constexpr uint8_t kMarshalPath = 7, kMarshalBufferIn = 8, kMarshalStructIn = 10;
inline constexpr int kMarshalCalls = 512;

struct Control {
  uint32_t armed;       // the doorbell must be rung (see above)
  uint32_t spin;        // pauses before a stub sleeps
  uint32_t wake_futex;  // setup only: the sentry waits on the state word itself
  uint32_t crowded;     // guest threads fill the CPUs: where the doorbell must be rung, do not spin
  uint64_t xstate_mask;         // XSAVE features saved and restored
  uint64_t vdso_clock_gettime;  // its address in a stub process, 0 for none
  uint64_t signal_frame;        // bytes rt_sigreturn needs at rsp, about
  uint32_t worker_cpu;          // of the worker that last looked at the slots
  uint32_t strict_gate;         // memory calls wait for the keeper
  uint64_t unused[2];
  uint8_t marshalled[kMarshalCalls];  // the call has an argument to be copied
  MarshalArg marshal[kMarshalCalls][6];
};
inline constexpr uint64_t kControlSize = 0x4000;
static_assert(sizeof(Control) <= kControlSize);

// ---- Slot ----
inline constexpr uint32_t kIdle = 0, kRequest = 1, kReply = 2;

// What a request is about.
enum Kind : uint32_t {
  kSyscall = KIND_SYSCALL,  // regs
  kFault = 2,               // regs, fault_*
  kInterrupted = 3,         // regs
  kDone = 4,                // operations carried out; done, error; regs are as before
};

// One operation of a reply. kSyscall's result is in the slot's `value`; a result in [-4095, -1]
// stops the list.
enum OpCode : uint32_t {
  kOpSyscall = 1,  // a[0] = number, a[1..6] = arguments
  kOpMapFile,      // a[0..3] = address, length, prot, flags; a[4] = kMapFile* bits; a[5] = offset;
                   // fd by kCallGetFd
  kOpFork,         // a[0] = nonce
  kOpThread,       // a[0] = index of the new thread's slot
  kOpExitThread,
  kOpExitProcess,
  kOpCopyOut,  // a[0] = guest address, a[1] = offset in the slot, a[2] = bytes; on a bad
               // address it fails if a[3], else the guest's rax becomes -EFAULT
  kOpCopyIn,   // the same, from the guest; value = bytes copied
  kOpSaveFpu,  // to the slot's fpu area
  kOpLoadFpu,  // from it
  kOpSetFs,    // a[0] = base
  kOpPatch,    // code at a[0]: its eight bytes a[1] become a[2] (the first five differ);
               // a[3] = kPatch* bits; slot.patch_failed says whether they were not a[1]
};
struct Op {
  uint32_t code;
  uint32_t unused;
  uint64_t a[7];
};
static_assert(sizeof(Op) == 64);
inline constexpr uint32_t kMaxOps = 64;

inline constexpr uint64_t kMapFileSame = 1;   // the descriptor of the operation before
inline constexpr uint64_t kMapFileMore = 2;   // and the next one has the same
inline constexpr uint64_t kPatchCheck = 1;    // only if the old bytes are there
inline constexpr uint64_t kPatchThreads = 2;  // other threads may be running this code

// What the stub does after the operations.
enum After : uint32_t {
  kReport = 0,  // posts kDone
  kResume = 1,  // goes to guest code with regs
};

// The same layout as arch::Registers (checked in guest_thread.cc).
struct SlotRegs {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
  uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

struct Slot {
  // Line 0: the hand-over.
  uint32_t state;
  uint32_t sleeping;
  uint32_t interrupt;
  uint32_t kind;
  uint32_t op_count;
  uint32_t after;
  uint32_t by_signal;     // the request came through a signal, not a patched call site
  uint32_t done;          // operations that succeeded
  int64_t value;          // result of the last operation
  uint32_t copy_fault;    // a deferred kOpCopyOut met a bad address: rax has become -EFAULT
  uint32_t sequence;      // of replies, for debugging
  uint32_t patch_failed;  // kOpPatch changed nothing
  uint32_t doze;          // the answer will take long: sleep at once; cleared with each request
  uint32_t cpu;           // where the stub went to sleep
  uint32_t line0_rest[1];

  // Line 1 and 2: what the stub needs to answer by itself.
  uint64_t self;       // this slot's address in the stub process
  uint64_t stack;      // top of the stack that entries from call sites switch to
  uint32_t shortcuts;  // answers in the stub are allowed
  int32_t tgid, tid;
  uint32_t uid, euid, gid, egid;
  uint32_t single_step;  // a trap flag was met in the stub and comes back at the exit
  uint64_t signal_mask;
  uint64_t signals_pending;
  uint32_t fault_signo;
  int32_t fault_code;
  uint64_t fault_address;
  uint64_t fault_error;
  uint64_t fault_trap;
  uint32_t host_tid;  // cleared by the host kernel when the thread has ended
  uint32_t index;     // of this slot
  uint64_t guest_gs;  // the guest's own gs base, 0 for none: see docs/systrap.md
  uint64_t clock_sp;  // stub_read_clock's, for a fault in the vDSO
  uint64_t unused[1];

  SlotRegs regs;

  // Marshalled arguments: arg_length[i] bytes of what argument i points to stand at arg_offset[i];
  // a length of 0 says nothing was copied. Only if `marshalled`.
  uint32_t marshalled;
  uint32_t unused_args;
  uint32_t arg_length[6];
  uint32_t arg_offset[6];
};
inline constexpr uint64_t kOpsOffset = 0x1000;  // Op[kMaxOps]
inline constexpr uint64_t kFpuOffset = 0x2000;  // XSAVE area, at most 8 KiB
inline constexpr uint64_t kFpuMax = 0x2000;
inline constexpr uint64_t kArgsOffset = 0x4000;  // marshalled paths and structs
inline constexpr uint64_t kArgsMax = 0x4000;
inline constexpr uint64_t kOutOffset = 0x8000;  // results on their way to guest memory
inline constexpr uint64_t kOutMax = 0x8000;
inline constexpr uint64_t kBulkOffset = 0x10000;  // buffers of read and write
inline constexpr uint64_t kBulkMax = 0x10000;

static_assert(sizeof(Slot) <= kOpsOffset);
static_assert(offsetof(Slot, state) == SLOT_STATE && offsetof(Slot, sleeping) == SLOT_SLEEPING);
static_assert(offsetof(Slot, interrupt) == SLOT_INTERRUPT && offsetof(Slot, self) == SLOT_SELF);
static_assert(offsetof(Slot, stack) == SLOT_STACK && offsetof(Slot, shortcuts) == SLOT_SHORTCUTS);
static_assert(offsetof(Slot, tgid) == SLOT_TGID && offsetof(Slot, egid) == SLOT_EGID);
static_assert(offsetof(Slot, regs) == SLOT_REGS && offsetof(Slot, guest_gs) == SLOT_GUEST_GS);
static_assert(SLOT_REGS + offsetof(SlotRegs, orig_rax) == GREG_ORIG_RAX);
static_assert(SLOT_REGS + offsetof(SlotRegs, rip) == GREG_RIP);
static_assert(SLOT_REGS + offsetof(SlotRegs, rsp) == GREG_RSP);
static_assert(offsetof(Slot, host_tid) == SLOT_HOST_TID);
static_assert(offsetof(Slot, clock_sp) == SLOT_CLOCK_SP);
static_assert(KIND_SYSCALL == kSyscall && KIND_INTERRUPTED == kInterrupted);

}  // namespace msentry::systrap

#endif  // __ASSEMBLER__
#endif  // MSENTRY_PLATFORM_SYSTRAP_STUB_ABI_H_
