// ptrace(2): a stopped tracee's registers, in the forms debuggers ask for. The caller holds its
// TraceState::access.
#pragma once

#include <cstdint>

#include "sentry/arch/registers.h"
#include "sentry/base/result.h"
#include "sentry/kernel/task.h"

namespace msentry::syscalls {

inline constexpr size_t kFxsaveSize = 512;  // struct user_fpregs_struct

// A word of struct user: registers, and debug registers, of which there are none. EIO.
Result<uint64_t> PeekUser(kernel::Task& tracee, uint64_t offset);
Result<> PokeUser(kernel::Task& tracee, uint64_t offset, uint64_t value);
// EIO for values no program can have.
Result<> SetRegisters(kernel::Task& tracee, const arch::Registers& registers);
// The first `size` bytes of the XSAVE area, to or from the tracer's memory; how many there were.
Result<int64_t> GetFpu(kernel::Task& tracer, kernel::Task& tracee, uint64_t address, size_t size);
Result<int64_t> SetFpu(kernel::Task& tracer, kernel::Task& tracee, uint64_t address, size_t size);
// PTRACE_GETREGSET, PTRACE_SETREGSET with an iovec at `iovec`.
Result<int64_t> RegisterSet(kernel::Task& tracer, kernel::Task& tracee, bool set, uint64_t type,
                            uint64_t iovec);

}  // namespace msentry::syscalls
