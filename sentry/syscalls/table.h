// The one system call table (x86-64), joined from the families' lists. Immutable.
#pragma once

#include <array>

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

// The line of call `number`; null for a number that Linux on x86-64 does not have.
const SyscallEntry* FindSyscall(uint64_t number);
// By name ("openat"); null when there is none.
const SyscallEntry* FindSyscall(std::string_view name);

// What the platform wants to know of each call: for platform::Options::arg_specs.
// abi::kMaxSyscall entries, static storage.
const abi::SyscallArgSpecs* ArgSpecs();

}  // namespace msentry::syscalls
