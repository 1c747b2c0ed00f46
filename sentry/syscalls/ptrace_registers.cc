#include "sentry/syscalls/ptrace_registers.h"

#include <elf.h>
#include <sys/user.h>

#include <cstring>

#include "sentry/arch/signal_frame.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

static_assert(sizeof(arch::Registers) == sizeof(user_regs_struct));
constexpr uint64_t kUserSize = sizeof(struct user);
constexpr uint64_t kDebugRegisters = offsetof(struct user, u_debugreg);
constexpr size_t kSoftwareBytes = 464;  // of an FXSAVE area: here debuggers look for XCR0

// Flags that a debugger may change (ptrace's FLAG_MASK).
constexpr uint64_t kFlagMask = 0x54dd5;
constexpr uint64_t kUserCs = 0x33, kUserSs = 0x2b;

uint64_t EnabledStates() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

}  // namespace

Result<uint64_t> PeekUser(kernel::Task& tracee, uint64_t offset) {
  if (offset % sizeof(uint64_t) != 0 || offset >= kUserSize) return Errno::kEIO;
  if (offset >= sizeof(arch::Registers)) return 0;
  uint64_t value;
  memcpy(&value, reinterpret_cast<const char*>(&tracee.registers()) + offset, sizeof(value));
  return value;
}

Result<> PokeUser(kernel::Task& tracee, uint64_t offset, uint64_t value) {
  if (offset % sizeof(uint64_t) != 0 || offset >= kUserSize) return Errno::kEIO;
  if (offset >= sizeof(arch::Registers)) {
    // No hardware breakpoints: only "none" can be written.
    if (offset < kDebugRegisters) return Errno::kEIO;
    if (value != 0) return Errno::kEINVAL;
    return Ok();
  }
  arch::Registers changed = tracee.registers();
  memcpy(reinterpret_cast<char*>(&changed) + offset, &value, sizeof(value));
  return SetRegisters(tracee, changed);
}

Result<> SetRegisters(kernel::Task& tracee, const arch::Registers& registers) {
  arch::Registers& own = tracee.registers();
  if (registers.fs_base >= arch::kTaskSize || registers.gs_base >= arch::kTaskSize) {
    return Errno::kEIO;
  }
  const uint64_t flags = own.eflags;
  own = registers;
  own.eflags = (flags & ~kFlagMask) | (registers.eflags & kFlagMask);
  own.cs = kUserCs;
  own.ss = kUserSs;
  return Ok();
}

Result<int64_t> GetFpu(kernel::Task& tracer, kernel::Task& tracee, uint64_t address, size_t size) {
  std::vector<std::byte> area;
  TRY(tracee.guest_thread().SaveFpu(area));
  if (area.size() >= kFxsaveSize) {
    const uint64_t states = EnabledStates();
    memset(area.data() + kSoftwareBytes, 0, kFxsaveSize - kSoftwareBytes);
    if (size > kFxsaveSize) memcpy(area.data() + kSoftwareBytes, &states, sizeof(states));
  }
  size = std::min(size, area.size());
  TRY(tracer.memory().CopyOutBytes(address, std::span<const std::byte>(area).first(size)));
  return static_cast<int64_t>(size);
}

Result<int64_t> SetFpu(kernel::Task& tracer, kernel::Task& tracee, uint64_t address, size_t size) {
  std::vector<std::byte> area;
  TRY(tracee.guest_thread().SaveFpu(area));
  size = std::min(size, area.size());
  TRY(tracer.memory().CopyInBytes(address, std::span(area).first(size)));
  // The header of a whole image says which states it holds; of a plain one they are x87 and SSE.
  if (size == kFxsaveSize) {
    uint64_t header;
    memcpy(&header, area.data() + kFxsaveSize, sizeof(header));
    header |= 3;
    memcpy(area.data() + kFxsaveSize, &header, sizeof(header));
  }
  TRY(tracee.guest_thread().LoadFpu(area));
  return static_cast<int64_t>(size);
}

Result<int64_t> RegisterSet(kernel::Task& tracer, kernel::Task& tracee, bool set, uint64_t type,
                            uint64_t iovec) {
  struct Iovec {
    uint64_t base, length;
  };
  Iovec range = TRY(tracer.memory().CopyIn(GuestPtr<Iovec>(iovec)));
  int64_t done = 0;
  switch (type) {
    case NT_PRSTATUS: {
      if (range.length % sizeof(uint64_t) != 0) return Errno::kEINVAL;
      const size_t size = std::min<size_t>(range.length, sizeof(arch::Registers));
      arch::Registers registers = tracee.registers();
      const auto bytes = std::as_writable_bytes(std::span(&registers, 1)).first(size);
      if (set) {
        TRY(tracer.memory().CopyInBytes(range.base, bytes));
        TRY(SetRegisters(tracee, registers));
      } else {
        TRY(tracer.memory().CopyOutBytes(range.base, bytes));
      }
      done = static_cast<int64_t>(size);
      break;
    }
    case NT_FPREGSET:
    case NT_X86_XSTATE: {
      size_t size = type == NT_FPREGSET ? kFxsaveSize : arch::XsaveSize();
      if (range.length % sizeof(uint64_t) != 0) return Errno::kEINVAL;
      if (set && type == NT_X86_XSTATE && range.length < size) return Errno::kEFAULT;
      size = std::min<size_t>(size, range.length);
      done = TRY(set ? SetFpu(tracer, tracee, range.base, size)
                     : GetFpu(tracer, tracee, range.base, size));
      break;
    }
    default:
      return Errno::kEINVAL;
  }
  range.length = static_cast<uint64_t>(done);
  TRY(tracer.memory().CopyOut(GuestPtr<Iovec>(iovec), range));
  return 0;
}

}  // namespace msentry::syscalls
