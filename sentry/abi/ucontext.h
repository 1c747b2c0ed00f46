// Signal frames (asm/sigcontext.h, asm/ucontext.h) and sigevent (timer_create(2), mq_notify(2)).
#pragma once

#include <cstdint>

#include "sentry/abi/signal.h"

namespace msentry::abi {

struct SigEvent {  // timer_create(2), mq_notify(2)
  uint64_t value;
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
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;  // pointer to the FXSAVE/XSAVE area
  uint64_t reserved[8];
};
struct Ucontext {
  uint64_t flags, link;
  SigAltStack stack;
  SigContext mcontext;
  uint64_t sigmask;
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
