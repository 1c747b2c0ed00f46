// Signals as the kernel passes them (sigaction(2), siginfo_t, sigaltstack(2)): the kernel's structs,
// which differ from glibc's in size. Constants (SA_*, SI_*, CLD_*, SIG*) come from <signal.h>.
#pragma once

#include <cstdint>

namespace msentry::abi {

using SigSet = uint64_t;  // bit n-1 is signal n
inline constexpr int kNumSignals = 64;
constexpr SigSet SigBit(int signo) { return SigSet{1} << (signo - 1); }

struct SigAction {
  uint64_t handler;  // 0 SIG_DFL, 1 SIG_IGN
  uint64_t flags;
  uint64_t restorer;
  SigSet mask;
};
struct StackT {
  uint64_t sp;
  int32_t flags, pad;
  uint64_t size;
};

union SigVal {
  int32_t integer;
  uint64_t pointer;
};
// 128 bytes; which arm counts follows from signo and code (sigaction(2)).
struct SigInfo {
  int32_t signo, error, code, pad0;
  union {
    struct {
      int32_t pid;
      uint32_t uid;
      SigVal value;  // SI_QUEUE, SI_MESGQ
    } kill;
    struct {
      int32_t timer_id, overrun;
      SigVal value;
      int32_t sys_private;
    } timer;
    struct {
      int32_t pid;
      uint32_t uid;
      int32_t status, pad;
      int64_t utime, stime;  // clock ticks
    } child;
    struct {
      uint64_t addr;
      int16_t addr_lsb;
      uint64_t lower, upper;
    } fault;
    struct {
      int64_t band;
      int32_t fd;
    } poll;
    struct {
      uint64_t call_addr;
      int32_t syscall;
      uint32_t arch;
    } sys;
    uint8_t space[112];
  };
};

struct SigEvent {  // timer_create(2), mq_notify(2)
  SigVal value;
  int32_t signo, notify;
  union {
    int32_t tid;
    struct {
      uint64_t function, attribute;
    } thread;
    uint8_t space[48];
  };
};

// The machine part of a signal frame (asm/sigcontext.h): what rt_sigreturn reads back.
struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;  // pointer to the FXSAVE/XSAVE area
  uint64_t reserved[8];
};
struct Ucontext {
  uint64_t flags, link;
  StackT stack;
  SigContext mcontext;
  SigSet sigmask;
};
inline constexpr uint64_t kUcFpXstate = 1, kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;
// In the software-reserved bytes (464) of the FXSAVE area of a frame.
struct FpxSwBytes {
  uint32_t magic1, extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size, padding[7];
};
inline constexpr uint32_t kFpXstateMagic1 = 0x46505853, kFpXstateMagic2 = 0x46505845;

}  // namespace msentry::abi
