// --strace: one line a finished call, as strace(1) shows it. What the arguments are comes from the
// table; a few families have their flags spelled out.
#pragma once

#include <string>

#include "sentry/kernel/task.h"
#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

// Is `number` to be traced? One load when tracing is off.
bool Traced(uint64_t number);

// "openat(AT_FDCWD, "/etc/passwd", O_RDONLY)". Reads guest memory. After execve the arguments are
// gone: format them before.
std::string FormatArguments(kernel::Task& task, const SyscallEntry& entry, const SyscallArgs& args,
                            int64_t result);
std::string FormatResult(const SyscallEntry& entry, int64_t result);

// Writes "[tid] call = result\n" to the trace.
void WriteTrace(kernel::Task& task, std::string_view arguments, std::string_view result);

}  // namespace msentry::syscalls
