// System calls: resource limits and usage.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysGetrlimit(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetrusage(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetrlimit(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPrlimit64(kernel::Task& t, const SyscallArgs& a);

namespace rlimit_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {97, "getrlimit", SysGetrlimit, {{kInt, Out(16)}}, Support::kFull},
    {98, "getrusage", SysGetrusage, {{kInt, Out(144)}}, Support::kFull},
    {160, "setrlimit", SysSetrlimit, {{kInt, In(16)}}, Support::kFull},
    {302, "prlimit64", SysPrlimit64, {{kInt, kInt, In(16), Out(16)}}, Support::kFull},
};
// clang-format on
}  // namespace rlimit_calls

}  // namespace msentry::syscalls
