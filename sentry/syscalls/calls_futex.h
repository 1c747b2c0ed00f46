// System calls: futexes.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace futex_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {202, "futex", nullptr, {{kPtr, kInt, kInt, kPtr, kPtr, kHex}}, Support::kUnsupported},
    {449, "futex_waitv", nullptr, {{kPtr, kInt, kFlags, kPtr, kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace futex_calls

}  // namespace msentry::syscalls
