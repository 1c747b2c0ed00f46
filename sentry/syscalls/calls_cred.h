// System calls: user and group identity, capabilities.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace cred_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {102, "getuid", nullptr, {}, Support::kUnsupported},
    {104, "getgid", nullptr, {}, Support::kUnsupported},
    {105, "setuid", nullptr, {{kInt}}, Support::kUnsupported},
    {106, "setgid", nullptr, {{kInt}}, Support::kUnsupported},
    {107, "geteuid", nullptr, {}, Support::kUnsupported},
    {108, "getegid", nullptr, {}, Support::kUnsupported},
    {113, "setreuid", nullptr, {{kInt, kInt}}, Support::kUnsupported},
    {114, "setregid", nullptr, {{kInt, kInt}}, Support::kUnsupported},
    {115, "getgroups", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {116, "setgroups", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {117, "setresuid", nullptr, {{kInt, kInt, kInt}}, Support::kUnsupported},
    {118, "getresuid", nullptr, {{Out(4), Out(4), Out(4)}}, Support::kUnsupported},
    {119, "setresgid", nullptr, {{kInt, kInt, kInt}}, Support::kUnsupported},
    {120, "getresgid", nullptr, {{Out(4), Out(4), Out(4)}}, Support::kUnsupported},
    {122, "setfsuid", nullptr, {{kInt}}, Support::kUnsupported},
    {123, "setfsgid", nullptr, {{kInt}}, Support::kUnsupported},
    {125, "capget", nullptr, {{kPtr, kPtr}}, Support::kUnsupported},
    {126, "capset", nullptr, {{kPtr, kPtr}}, Support::kUnsupported},
    {248, "add_key", nullptr, {{kPtr, kPtr, kPtr, kInt, kInt}}, Support::kUnsupported},
    {249, "request_key", nullptr, {{kPtr, kPtr, kPtr, kInt}}, Support::kUnsupported},
    {250, "keyctl", nullptr, {{kInt, kHex, kHex, kHex, kHex}}, Support::kUnsupported},
};
// clang-format on
}  // namespace cred_calls

}  // namespace msentry::syscalls
