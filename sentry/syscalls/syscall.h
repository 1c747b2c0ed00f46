// What a system call handler is, and what the table says of each call.
//
// A family of calls has one header, calls_<family>.h, with the declarations of its handlers and a
// constexpr list of its table lines; table.cc joins the lists into the one table, indexed by
// number, and refuses to compile when a number stands twice. To add a call: write the handler in
// <family>.cc, declare it in the family's header, and change its line there:
//
//   Result<int64_t> SysGetppid(kernel::Task& t, const SyscallArgs& a);
//   ... {110, "getppid", SysGetppid, {}, Support::kFull},
//
// A handler is a verb on one page: decode, look up, copy in, do, copy out. It returns the call's
// result or an Errno; the restart codes of errno.h are allowed. It runs on the task's own fiber.
#pragma once

#include <cstdint>
#include <string_view>

#include "sentry/abi/arg_kind.h"
#include "sentry/base/result.h"

namespace msentry::kernel {
class Task;
}

namespace msentry::syscalls {

// The six argument registers (rdi rsi rdx r10 r8 r9) and typed views of them. The kernel's
// prototypes decide how many bits count: use Int/Uint for `int` and `unsigned`, which ignore the
// upper half of the register, as compiled C on Linux does.
struct SyscallArgs {
  uint64_t value[6] = {};

  uint64_t operator[](int i) const { return value[i]; }
  int32_t Int(int i) const { return static_cast<int32_t>(value[i]); }
  uint32_t Uint(int i) const { return static_cast<uint32_t>(value[i]); }
  int64_t Long(int i) const { return static_cast<int64_t>(value[i]); }
};

using Handler = Result<int64_t> (*)(kernel::Task& task, const SyscallArgs& args);

enum class Support : uint8_t {
  kUnsupported,  // ENOSYS (the handler is null), logged once
  kPartial,      // what is missing is an error and stands in the note
  kFull,
};

// One line of the table.
struct SyscallEntry {
  uint16_t number = 0;
  const char* name = nullptr;
  Handler handler = nullptr;
  abi::SyscallArgSpecs args = {};
  Support support = Support::kUnsupported;
  const char* note = "";  // for the compatibility page: what a kPartial call does not do
};

// Short names for the argument kinds, for the table lines only.
namespace arg {
using abi::ArgKind;
using abi::ArgSpec;
inline constexpr ArgSpec kInt{ArgKind::kInt};
inline constexpr ArgSpec kHex{ArgKind::kHex};
inline constexpr ArgSpec kFd{ArgKind::kFd};
inline constexpr ArgSpec kFlags{ArgKind::kFlags};
inline constexpr ArgSpec kMode{ArgKind::kMode};
inline constexpr ArgSpec kSig{ArgKind::kSignal};
inline constexpr ArgSpec kPath{ArgKind::kPath};
inline constexpr ArgSpec kPtr{ArgKind::kPointer};
// A buffer whose length is argument `length_arg` (counted from 0).
constexpr ArgSpec BufIn(uint8_t length_arg) { return {ArgKind::kBufferIn, length_arg}; }
constexpr ArgSpec BufOut(uint8_t length_arg) { return {ArgKind::kBufferOut, length_arg}; }
// A fixed-size struct of `size` bytes.
constexpr ArgSpec In(uint16_t size) { return {ArgKind::kStructIn, 0, size}; }
constexpr ArgSpec Out(uint16_t size) { return {ArgKind::kStructOut, 0, size}; }
}  // namespace arg

}  // namespace msentry::syscalls
