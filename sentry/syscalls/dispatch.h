// From registers to handler and back: the one place that forms -errno.
#pragma once

#include <cstdint>
#include <string_view>

#include "sentry/arch/registers.h"
#include "sentry/base/result.h"
#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

// Carries out the call that `regs` holds (Event::kSyscall) for `task`, on its fiber, and stores the
// result in regs.rax: the value, or -errno. A call that was interrupted leaves one of the restart
// codes (-512 ...) there, as Linux does: the kernel's signal delivery, which always follows, turns
// it into a restart or EINTR before the program sees it. Handlers that replace the registers
// (execve, rt_sigreturn) return the new rax.
//
// The signature matches kernel::SyscallDispatcher; boot hands it to the Kernel, because the kernel
// may not include this layer.
void Dispatch(kernel::Task& task, arch::Registers& regs);

// --strace. `calls` is a comma-separated list of names, empty for all. kEINVAL with the offending
// name in *bad when one is unknown. Lines go to host fd `fd`, one write(2) a line. Before Run().
Result<> EnableStrace(std::string_view calls, int fd, std::string* bad);
bool StraceEnabled();

}  // namespace msentry::syscalls
