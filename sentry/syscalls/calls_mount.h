// System calls: mounts.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysMount(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUmount2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPivotRoot(kernel::Task& t, const SyscallArgs& a);

namespace mount_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {155, "pivot_root", SysPivotRoot, {{kPath, kPath}}, Support::kFull},
    {165, "mount", SysMount, {{kPath, kPath, kPath, kFlags, kPtr}}, Support::kFull},
    {166, "umount2", SysUmount2, {{kPath, kFlags}}, Support::kFull},
    {167, "swapon", nullptr, {{kPath, kFlags}}, Support::kUnsupported},
    {168, "swapoff", nullptr, {{kPath}}, Support::kUnsupported},
    {179, "quotactl", nullptr, {{kInt, kPath, kInt, kPtr}}, Support::kUnsupported},
    {428, "open_tree", nullptr, {{kFd, kPath, kFlags}}, Support::kUnsupported},
    {429, "move_mount", nullptr, {{kFd, kPath, kFd, kPath, kFlags}}, Support::kUnsupported},
    {430, "fsopen", nullptr, {{kPath, kFlags}}, Support::kUnsupported},
    {431, "fsconfig", nullptr, {{kFd, kInt, kPath, kPtr, kInt}}, Support::kUnsupported},
    {432, "fsmount", nullptr, {{kFd, kFlags, kFlags}}, Support::kUnsupported},
    {433, "fspick", nullptr, {{kFd, kPath, kFlags}}, Support::kUnsupported},
    {442, "mount_setattr", nullptr, {{kFd, kPath, kFlags, kPtr, kInt}}, Support::kUnsupported},
    {443, "quotactl_fd", nullptr, {{kFd, kInt, kInt, kPtr}}, Support::kUnsupported},
};
// clang-format on
}  // namespace mount_calls

}  // namespace msentry::syscalls
