// System calls: sessions and process groups.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysSetpgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetpgrp(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetsid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetpgid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetsid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysVhangup(kernel::Task& t, const SyscallArgs& a);

namespace session_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {109, "setpgid", SysSetpgid, {{kInt, kInt}}, Support::kFull},
    {111, "getpgrp", SysGetpgrp, {}, Support::kFull},
    {112, "setsid", SysSetsid, {}, Support::kFull},
    {121, "getpgid", SysGetpgid, {{kInt}}, Support::kFull},
    {124, "getsid", SysGetsid, {{kInt}}, Support::kFull},
    {153, "vhangup", SysVhangup, {}, Support::kFull},
};
// clang-format on
}  // namespace session_calls

}  // namespace msentry::syscalls
