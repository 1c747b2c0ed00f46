// The x86-64 signal frame: what Linux pushes on the user's stack before a handler runs, and what
// rt_sigreturn(2) reads back (asm/sigcontext.h; arch/x86/kernel/signal_64.c documents the layout by
// its struct rt_sigframe).
//
//   high  ... interrupted stack, 128 bytes of red zone
//         XSAVE area, 64-byte aligned, FP_XSTATE_MAGIC2 behind it
//         SignalFrame; its address + 8 is 16-byte aligned, as after a call instruction
//   low   rsp
//
// Pure functions of values; the kernel copies the bytes. No locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sentry/abi/signal.h"
#include "sentry/abi/ucontext.h"
#include "sentry/arch/registers.h"

namespace msentry::arch {

struct SignalFrame {
  uint64_t return_address = 0;  // the action's restorer
  abi::Ucontext ucontext = {};
  abi::SigInfo info = {};
};
static_assert(sizeof(SignalFrame) == 8 + 304 + 128);

inline constexpr uint64_t kRedZone = 128;

struct FramePlace {
  uint64_t frame = 0;       // address of the SignalFrame: the handler's rsp
  uint64_t fpstate = 0;     // address of the XSAVE area
  size_t fpstate_size = 0;  // with the trailing magic
};
// Where the frame goes below `top` (the interrupted rsp less the red zone, or the end of the
// alternate stack) with an XSAVE area of `xsave_size` bytes.
FramePlace PlaceFrame(uint64_t top, size_t xsave_size);

// The machine context of `regs`; `err`, `trapno`, `cr2` describe a fault, else 0.
abi::SigContext SaveContext(const Registers& regs, uint64_t err, uint64_t trapno, uint64_t cr2);
// Registers as `context` says; what a program may not choose (segments, privileged flags) is kept
// from `regs`. orig_rax becomes ~0: a frame never restarts a call.
void RestoreContext(const abi::SigContext& context, Registers& regs);
// Makes `regs` enter the handler.
void EnterHandler(Registers& regs, const FramePlace& place, int signo, uint64_t handler);

// Puts the software-reserved bytes and FP_XSTATE_MAGIC2 into an XSAVE area (of SaveFpu) that is
// about to go into a frame; it grows by 4 bytes.
void SealXsave(std::vector<std::byte>& area);
// The size of the whole XSAVE area that a frame's first 512 bytes announce: 512 when it is a plain
// FXSAVE area; never more than `own_size`.
size_t AnnouncedXsaveSize(std::span<const std::byte> fxsave, size_t own_size);
// Makes a plain FXSAVE area a full one of `own_size` bytes with everything else in initial state.
void WidenFxsave(std::vector<std::byte>& area, size_t own_size);

// Bytes of the host's XSAVE area in standard format, for what is enabled in XCR0.
size_t XsaveSize();

}  // namespace msentry::arch
