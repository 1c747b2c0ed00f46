// Host system calls and the assembler entry points, for the freestanding stub only.
#pragma once

#include "platform/systrap/stub/abi.h"

namespace msentry::systrap {

inline int64_t Sys(int64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                   uint64_t e = 0, uint64_t f = 0) {
  int64_t result;
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

inline bool IsError(int64_t result) { return result < 0 && result >= -4095; }

enum : int64_t {
  kNrMmap = 9,
  kNrMunmap = 11,
  kNrClose = 3,
  kNrWrite = 1,
  kNrFutex = 202,
  kNrExit = 60,
  kNrExitGroup = 231,
  kNrClone = 56,
  kNrPrctl = 157,
  kNrArchPrctl = 158,
  kNrSigaltstack = 131,
  kNrRtSigaction = 13,
  kNrRtSigprocmask = 14,
  kNrRtSigreturn = 15,
  kNrSchedYield = 24,
  kNrMadvise = 28,
  kNrMembarrier = 324,
  kNrClockGettime = 228,
};
inline constexpr uint64_t kFutexWait = 0, kFutexWake = 1;
inline constexpr uint64_t kArchSetGs = 0x1001, kArchSetFs = 0x1002;

inline Control* ControlPage() { return reinterpret_cast<Control*>(kControl); }
inline Slot* SlotAt(uint64_t index) {
  return reinterpret_cast<Slot*>(kSlots + index * kSlotStride);
}
inline char* SlotByte(Slot* slot, uint64_t offset) {
  return reinterpret_cast<char*>(slot) + offset;
}

// sigset of the interrupt signal.
inline constexpr uint64_t kInterruptSet = 1ull << (kInterruptSignal - 1);
inline void BlockInterrupts(bool block) {
  uint64_t set = kInterruptSet;
  Sys(kNrRtSigprocmask, block ? 0 : 1, reinterpret_cast<uint64_t>(&set), 0, 8);
}

}  // namespace msentry::systrap

#pragma GCC visibility push(hidden)  // addresses relative to rip, no GOT
extern "C" {
// entry.S
[[noreturn]] void stub_switch_and_request(msentry::systrap::Slot* slot, uint32_t kind,
                                          uint32_t by_signal);
[[noreturn]] void stub_leave(msentry::systrap::Slot* slot);
uint64_t stub_copy(void* to, const void* from, uint64_t bytes);
bool stub_load8(const void* from, uint64_t* value);
bool stub_store(void* to, uint64_t value, uint32_t bytes);
bool stub_xrstor(const void* area, uint64_t mask);
int64_t stub_read_clock(msentry::systrap::Slot* slot, uint64_t function, uint32_t clock, void* to);
int64_t stub_clone_thread(msentry::systrap::Slot* slot, uint64_t stack, uint64_t flags);
void stub_handler();
void stub_restorer();
extern const char stub_start[], stub_answer[], stub_answer_end[], stub_leave_fast[],
    stub_leave_fast_end[], stub_leave_full[], stub_leave_full_end[], stub_copy_access[],
    stub_copy_fault[], stub_load8_access[], stub_load8_fault[], stub_store1_access[],
    stub_store4_access[], stub_store8_access[], stub_store_fault[], stub_xrstor_access[],
    stub_xrstor_fault[], stub_read_clock_fault[];

// request.cc, signal.cc, start.cc
[[noreturn]] void stub_request(msentry::systrap::Slot* slot, uint32_t kind, uint32_t by_signal);
// `rung`: the doorbell has been rung for the request, or there is none.
[[noreturn]] void stub_obey(msentry::systrap::Slot* slot, bool rung);
void stub_marshal(msentry::systrap::Slot* slot);  // marshal.cc
[[noreturn]] void stub_main(const uint64_t* initial_stack);
[[noreturn]] void stub_thread_start(msentry::systrap::Slot* slot);
struct StubUcontext;
void stub_on_signal(int signal, const void* info, StubUcontext* context);
}
#pragma GCC visibility pop
