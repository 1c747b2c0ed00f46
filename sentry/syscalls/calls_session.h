// System calls: sessions and process groups.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace session_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {109, "setpgid", nullptr, {{kInt, kInt}}, Support::kUnsupported},
    {111, "getpgrp", nullptr, {}, Support::kUnsupported},
    {112, "setsid", nullptr, {}, Support::kUnsupported},
    {121, "getpgid", nullptr, {{kInt}}, Support::kUnsupported},
    {124, "getsid", nullptr, {{kInt}}, Support::kUnsupported},
    {153, "vhangup", nullptr, {}, Support::kUnsupported},
};
// clang-format on
}  // namespace session_calls

}  // namespace msentry::syscalls
