// The general registers of a guest thread (x86-64), in the order of the kernel's
// struct user_regs_struct, so that ptrace can fill it with one copy.
#pragma once

#include <cstdint>

namespace msentry::arch {

struct Registers {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  uint64_t orig_rax;  // the system call's number on a kSyscall event, else ~0
  uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;

  // System call convention: number in orig_rax, arguments rdi rsi rdx r10 r8 r9, result in rax.
  uint64_t syscall_number() const { return orig_rax; }
  uint64_t arg(int i) const {
    switch (i) {
      case 0:
        return rdi;
      case 1:
        return rsi;
      case 2:
        return rdx;
      case 3:
        return r10;
      case 4:
        return r8;
      default:
        return r9;
    }
  }
};

// End of what a guest may map: Linux's TASK_SIZE for x86-64 with 4-level paging is 0x7ffffffff000;
// ours is lower because the stub lives above it. [kMinGuestAddress, kTaskSize) is the guest's.
inline constexpr uint64_t kMinGuestAddress = 0x10000;  // vm.mmap_min_addr
inline constexpr uint64_t kTaskSize = 0x7ff000000000;  // guest memory ends here
inline constexpr uint64_t kVdsoRoom = 0x100000;        // at its end, where the vDSO lies
inline constexpr uint64_t kStubBase = 0x7ff800000000;  // the platform's region begins here
inline constexpr uint64_t kPageSize = 4096;

}  // namespace msentry::arch
