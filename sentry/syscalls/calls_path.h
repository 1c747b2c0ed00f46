// System calls: directories and names.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysGetdents(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetdents64(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetcwd(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysChdir(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFchdir(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysChroot(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUmask(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRename(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRenameat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRenameat2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMkdir(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMkdirat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRmdir(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLink(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLinkat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUnlink(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUnlinkat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSymlink(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSymlinkat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMknod(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMknodat(kernel::Task& t, const SyscallArgs& a);

namespace path_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {78, "getdents", SysGetdents, {{kFd, BufOut(2), kInt}}, Support::kFull},
    {79, "getcwd", SysGetcwd, {{BufOut(1), kInt}}, Support::kFull},
    {80, "chdir", SysChdir, {{kPath}}, Support::kFull},
    {81, "fchdir", SysFchdir, {{kFd}}, Support::kFull},
    {82, "rename", SysRename, {{kPath, kPath}}, Support::kFull},
    {83, "mkdir", SysMkdir, {{kPath, kMode}}, Support::kFull},
    {84, "rmdir", SysRmdir, {{kPath}}, Support::kFull},
    {86, "link", SysLink, {{kPath, kPath}}, Support::kFull},
    {87, "unlink", SysUnlink, {{kPath}}, Support::kFull},
    {88, "symlink", SysSymlink, {{kPath, kPath}}, Support::kFull},
    {95, "umask", SysUmask, {{kMode}}, Support::kFull},
    {133, "mknod", SysMknod, {{kPath, kMode, kInt}}, Support::kFull},
    {161, "chroot", SysChroot, {{kPath}}, Support::kFull},
    {217, "getdents64", SysGetdents64, {{kFd, BufOut(2), kInt}}, Support::kFull},
    {258, "mkdirat", SysMkdirat, {{kFd, kPath, kMode}}, Support::kFull},
    {259, "mknodat", SysMknodat, {{kFd, kPath, kMode, kInt}}, Support::kFull},
    {263, "unlinkat", SysUnlinkat, {{kFd, kPath, kFlags}}, Support::kFull},
    {264, "renameat", SysRenameat, {{kFd, kPath, kFd, kPath}}, Support::kFull},
    {265, "linkat", SysLinkat, {{kFd, kPath, kFd, kPath, kFlags}}, Support::kFull},
    {266, "symlinkat", SysSymlinkat, {{kPath, kFd, kPath}}, Support::kFull},
    {316, "renameat2", SysRenameat2, {{kFd, kPath, kFd, kPath, kFlags}}, Support::kFull},
};
// clang-format on
}  // namespace path_calls

}  // namespace msentry::syscalls
