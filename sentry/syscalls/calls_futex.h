// System calls: futexes.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysFutex(kernel::Task& t, const SyscallArgs& a);

namespace futex_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {202,
     "futex",
     SysFutex,
     {{kPtr, kInt, kInt, kPtr, kPtr, kHex}},
     Support::kPartial,
     "no priority inheritance, FUTEX_WAKE_OP is not atomic"},
    {449, "futex_waitv", nullptr, {{kPtr, kInt, kFlags, kPtr, kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace futex_calls

}  // namespace msentry::syscalls
