// System calls: moving data between files.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysSendfile(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSplice(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTee(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysVmsplice(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysCopyFileRange(kernel::Task& t, const SyscallArgs& a);

namespace splice_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {40, "sendfile", SysSendfile, {{kFd, kFd, kPtr, kInt}}, Support::kFull},
    {275, "splice", SysSplice, {{kFd, kPtr, kFd, kPtr, kInt, kFlags}}, Support::kFull},
    {276, "tee", SysTee, {{kFd, kFd, kInt, kFlags}}, Support::kFull},
    {278, "vmsplice", SysVmsplice, {{kFd, kPtr, kInt, kFlags}}, Support::kFull},
    {326,
     "copy_file_range",
     SysCopyFileRange,
     {{kFd, kPtr, kFd, kPtr, kInt, kFlags}},
     Support::kFull},
};
// clang-format on
}  // namespace splice_calls

}  // namespace msentry::syscalls
