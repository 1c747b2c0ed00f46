// System calls: user and group identity, capabilities.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysGetuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGeteuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetegid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetreuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetregid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetgroups(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetgroups(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetresuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetresuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetresgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetresgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetfsuid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetfsgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysCapget(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysCapset(kernel::Task& t, const SyscallArgs& a);

namespace cred_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {102, "getuid", SysGetuid, {}, Support::kFull},
    {104, "getgid", SysGetgid, {}, Support::kFull},
    {105, "setuid", SysSetuid, {{kInt}}, Support::kFull},
    {106, "setgid", SysSetgid, {{kInt}}, Support::kFull},
    {107, "geteuid", SysGeteuid, {}, Support::kFull},
    {108, "getegid", SysGetegid, {}, Support::kFull},
    {113, "setreuid", SysSetreuid, {{kInt, kInt}}, Support::kFull},
    {114, "setregid", SysSetregid, {{kInt, kInt}}, Support::kFull},
    {115, "getgroups", SysGetgroups, {{kInt, kPtr}}, Support::kFull},
    {116, "setgroups", SysSetgroups, {{kInt, kPtr}}, Support::kFull},
    {117, "setresuid", SysSetresuid, {{kInt, kInt, kInt}}, Support::kFull},
    {118, "getresuid", SysGetresuid, {{Out(4), Out(4), Out(4)}}, Support::kFull},
    {119, "setresgid", SysSetresgid, {{kInt, kInt, kInt}}, Support::kFull},
    {120, "getresgid", SysGetresgid, {{Out(4), Out(4), Out(4)}}, Support::kFull},
    {122, "setfsuid", SysSetfsuid, {{kInt}}, Support::kFull},
    {123, "setfsgid", SysSetfsgid, {{kInt}}, Support::kFull},
    {125, "capget", SysCapget, {{kPtr, kPtr}}, Support::kFull},
    {126, "capset", SysCapset, {{kPtr, kPtr}}, Support::kFull},
    {248, "add_key", nullptr, {{kPtr, kPtr, kPtr, kInt, kInt}}, Support::kUnsupported},
    {249, "request_key", nullptr, {{kPtr, kPtr, kPtr, kInt}}, Support::kUnsupported},
    {250, "keyctl", nullptr, {{kInt, kHex, kHex, kHex, kHex}}, Support::kUnsupported},
};
// clang-format on
}  // namespace cred_calls

}  // namespace msentry::syscalls
