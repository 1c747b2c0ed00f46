// How a system call uses each argument. One table (syscalls/table.cc) says it for every call; it
// drives --strace, and the systrap stub's marshalling: what it copies into the slot before it asks,
// and what room it offers for results.
#pragma once

#include <cstdint>

namespace msentry::abi {

enum class ArgKind : uint8_t {
  kNone,       // the call has no such argument
  kInt,        // a number, shown in decimal
  kHex,        // a number or address, shown in hexadecimal; never followed
  kFd,         // a file descriptor
  kFlags,      // shown by the strace formatter the handler's family registers
  kMode,       // a file mode, shown in octal
  kSignal,     // a signal number
  kPath,       // pointer to a NUL-terminated path, read
  kBufferIn,   // pointer to `length_arg` bytes, read
  kBufferOut,  // pointer to `length_arg` bytes, written with as many as the result says
  kStructIn,   // pointer to `size` bytes, read; may be null
  kStructOut,  // pointer to `size` bytes, written; may be null
  kPointer,    // a pointer whose use depends on the other arguments; not marshalled
};

struct ArgSpec {
  ArgKind kind = ArgKind::kNone;
  uint8_t length_arg = 0;  // kBufferIn, kBufferOut: index of the argument with the length
  uint16_t size = 0;       // kStructIn, kStructOut: bytes
};

// The six arguments of one system call. The table has kMaxSyscall entries, indexed by number.
struct SyscallArgSpecs {
  ArgSpec arg[6];
};
inline constexpr int kMaxSyscall = 512;

}  // namespace msentry::abi
