// System calls: attributes of files.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysStat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFstat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLstat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysNewfstatat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysStatx(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysStatfs(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFstatfs(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysAccess(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFaccessat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFaccessat2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysReadlink(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysReadlinkat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysChmod(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFchmod(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFchmodat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysChown(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFchown(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLchown(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFchownat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUtime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUtimes(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFutimesat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUtimensat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLsetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFsetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLgetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFgetxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysListxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLlistxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFlistxattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRemovexattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLremovexattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFremovexattr(kernel::Task& t, const SyscallArgs& a);

namespace stat_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {4, "stat", SysStat, {{kPath, Out(144)}}, Support::kFull},
    {5, "fstat", SysFstat, {{kFd, Out(144)}}, Support::kFull},
    {6, "lstat", SysLstat, {{kPath, Out(144)}}, Support::kFull},
    {21, "access", SysAccess, {{kPath, kMode}}, Support::kFull},
    {89, "readlink", SysReadlink, {{kPath, BufOut(2), kInt}}, Support::kFull},
    {90, "chmod", SysChmod, {{kPath, kMode}}, Support::kFull},
    {91, "fchmod", SysFchmod, {{kFd, kMode}}, Support::kFull},
    {92, "chown", SysChown, {{kPath, kInt, kInt}}, Support::kFull},
    {93, "fchown", SysFchown, {{kFd, kInt, kInt}}, Support::kFull},
    {94, "lchown", SysLchown, {{kPath, kInt, kInt}}, Support::kFull},
    {132, "utime", SysUtime, {{kPath, In(16)}}, Support::kFull},
    {137, "statfs", SysStatfs, {{kPath, Out(120)}}, Support::kFull},
    {138, "fstatfs", SysFstatfs, {{kFd, Out(120)}}, Support::kFull},
    {188, "setxattr", SysSetxattr, {{kPath, kPath, BufIn(3), kInt, kFlags}}, Support::kFull},
    {189, "lsetxattr", SysLsetxattr, {{kPath, kPath, BufIn(3), kInt, kFlags}}, Support::kFull},
    {190, "fsetxattr", SysFsetxattr, {{kFd, kPath, BufIn(3), kInt, kFlags}}, Support::kFull},
    {191, "getxattr", SysGetxattr, {{kPath, kPath, BufOut(3), kInt}}, Support::kFull},
    {192, "lgetxattr", SysLgetxattr, {{kPath, kPath, BufOut(3), kInt}}, Support::kFull},
    {193, "fgetxattr", SysFgetxattr, {{kFd, kPath, BufOut(3), kInt}}, Support::kFull},
    {194, "listxattr", SysListxattr, {{kPath, BufOut(2), kInt}}, Support::kFull},
    {195, "llistxattr", SysLlistxattr, {{kPath, BufOut(2), kInt}}, Support::kFull},
    {196, "flistxattr", SysFlistxattr, {{kFd, BufOut(2), kInt}}, Support::kFull},
    {197, "removexattr", SysRemovexattr, {{kPath, kPath}}, Support::kFull},
    {198, "lremovexattr", SysLremovexattr, {{kPath, kPath}}, Support::kFull},
    {199, "fremovexattr", SysFremovexattr, {{kFd, kPath}}, Support::kFull},
    {235, "utimes", SysUtimes, {{kPath, In(32)}}, Support::kFull},
    {260, "fchownat", SysFchownat, {{kFd, kPath, kInt, kInt, kFlags}}, Support::kFull},
    {261, "futimesat", SysFutimesat, {{kFd, kPath, In(32)}}, Support::kFull},
    {262, "newfstatat", SysNewfstatat, {{kFd, kPath, Out(144), kFlags}}, Support::kFull},
    {267, "readlinkat", SysReadlinkat, {{kFd, kPath, BufOut(3), kInt}}, Support::kFull},
    {268, "fchmodat", SysFchmodat, {{kFd, kPath, kMode}}, Support::kFull},
    {269, "faccessat", SysFaccessat, {{kFd, kPath, kMode}}, Support::kFull},
    {280, "utimensat", SysUtimensat, {{kFd, kPath, In(32), kFlags}}, Support::kFull},
    {332, "statx", SysStatx, {{kFd, kPath, kFlags, kFlags, Out(256)}}, Support::kFull},
    {439, "faccessat2", SysFaccessat2, {{kFd, kPath, kMode, kFlags}}, Support::kFull},
    {451, "cachestat", nullptr, {{kFd, kPtr, kPtr, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace stat_calls

}  // namespace msentry::syscalls
