// Typed forms of the ptrace requests the tracer uses. Tracer thread only.
#pragma once

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

#include "sentry/arch/registers.h"

namespace msentry::platform::pt {

inline constexpr uint64_t kUserCs = 0x33, kUserSs = 0x2b;

inline long Ptrace(int request, pid_t tid, uintptr_t address = 0, uintptr_t data = 0) {
  return syscall(SYS_ptrace, request, tid, address, data);
}

inline bool GetRegisters(pid_t tid, arch::Registers& registers) {
  return Ptrace(PTRACE_GETREGS, tid, 0, reinterpret_cast<uintptr_t>(&registers)) == 0;
}

// What the kernel would refuse (EIO) is made harmless: the values may be a guest's.
inline bool SetRegisters(pid_t tid, const arch::Registers& in) {
  arch::Registers registers = in;
  registers.orig_rax = ~uint64_t{0};  // no restart logic of the host's
  registers.cs = kUserCs;
  registers.ss = kUserSs;
  registers.ds = registers.es = registers.fs = registers.gs = 0;
  constexpr uint64_t kHostTaskSize = 0x7ffffffff000;
  if (registers.fs_base >= kHostTaskSize) registers.fs_base = 0;
  if (registers.gs_base >= kHostTaskSize) registers.gs_base = 0;
  return Ptrace(PTRACE_SETREGS, tid, 0, reinterpret_cast<uintptr_t>(&registers)) == 0;
}

}  // namespace msentry::platform::pt
