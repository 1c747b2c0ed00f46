// System calls: descriptors: open, close, dup, fcntl, ioctl, locks.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysOpen(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysOpenat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysOpenat2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysCreat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClose(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysCloseRange(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysDup(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysDup2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysDup3(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFcntl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysIoctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFlock(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysNameToHandleAt(kernel::Task& t, const SyscallArgs& a);

Result<int64_t> SysMemfdCreate(kernel::Task& t, const SyscallArgs& a);

namespace fd_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {2, "open", SysOpen, {{kPath, kFlags, kMode}}, Support::kFull},
    {3, "close", SysClose, {{kFd}}, Support::kFull},
    {16, "ioctl", SysIoctl, {{kFd, kHex, kHex}}, Support::kFull},
    {32, "dup", SysDup, {{kFd}}, Support::kFull},
    {33, "dup2", SysDup2, {{kFd, kFd}}, Support::kFull},
    {72,
     "fcntl",
     SysFcntl,
     {{kFd, kInt, kHex}},
     Support::kPartial,
     "leases and dnotify are refused"},
    {73, "flock", SysFlock, {{kFd, kInt}}, Support::kFull},
    {85, "creat", SysCreat, {{kPath, kMode}}, Support::kFull},
    {257, "openat", SysOpenat, {{kFd, kPath, kFlags, kMode}}, Support::kFull},
    {292, "dup3", SysDup3, {{kFd, kFd, kFlags}}, Support::kFull},
    {303,
     "name_to_handle_at",
     SysNameToHandleAt,
     {{kFd, kPath, kPtr, kPtr, kFlags}},
     Support::kPartial,
     "EOPNOTSUPP: no file system here has handles"},
    {304, "open_by_handle_at", nullptr, {{kFd, kPtr, kFlags}}, Support::kUnsupported},
    {319, "memfd_create", SysMemfdCreate, {{kPath, kFlags}}, Support::kFull},
    {436, "close_range", SysCloseRange, {{kInt, kInt, kFlags}}, Support::kFull},
    {437, "openat2", SysOpenat2, {{kFd, kPath, kPtr, kInt}}, Support::kFull},
};
// clang-format on
}  // namespace fd_calls

}  // namespace msentry::syscalls
