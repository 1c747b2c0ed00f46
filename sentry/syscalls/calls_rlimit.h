// System calls: resource limits and usage.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace rlimit_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {97, "getrlimit", nullptr, {{kInt, Out(16)}}, Support::kUnsupported},
    {98, "getrusage", nullptr, {{kInt, Out(144)}}, Support::kUnsupported},
    {160, "setrlimit", nullptr, {{kInt, In(16)}}, Support::kUnsupported},
    {302, "prlimit64", nullptr, {{kInt, kInt, In(16), Out(16)}}, Support::kUnsupported},
};
// clang-format on
}  // namespace rlimit_calls

}  // namespace msentry::syscalls
