// System calls: directories and names.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace path_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {78, "getdents", nullptr, {{kFd, BufOut(2), kInt}}, Support::kUnsupported},
    {79, "getcwd", nullptr, {{BufOut(1), kInt}}, Support::kUnsupported},
    {80, "chdir", nullptr, {{kPath}}, Support::kUnsupported},
    {81, "fchdir", nullptr, {{kFd}}, Support::kUnsupported},
    {82, "rename", nullptr, {{kPath, kPath}}, Support::kUnsupported},
    {83, "mkdir", nullptr, {{kPath, kMode}}, Support::kUnsupported},
    {84, "rmdir", nullptr, {{kPath}}, Support::kUnsupported},
    {86, "link", nullptr, {{kPath, kPath}}, Support::kUnsupported},
    {87, "unlink", nullptr, {{kPath}}, Support::kUnsupported},
    {88, "symlink", nullptr, {{kPath, kPath}}, Support::kUnsupported},
    {95, "umask", nullptr, {{kMode}}, Support::kUnsupported},
    {133, "mknod", nullptr, {{kPath, kMode, kInt}}, Support::kUnsupported},
    {161, "chroot", nullptr, {{kPath}}, Support::kUnsupported},
    {217, "getdents64", nullptr, {{kFd, BufOut(2), kInt}}, Support::kUnsupported},
    {258, "mkdirat", nullptr, {{kFd, kPath, kMode}}, Support::kUnsupported},
    {259, "mknodat", nullptr, {{kFd, kPath, kMode, kInt}}, Support::kUnsupported},
    {263, "unlinkat", nullptr, {{kFd, kPath, kFlags}}, Support::kUnsupported},
    {264, "renameat", nullptr, {{kFd, kPath, kFd, kPath}}, Support::kUnsupported},
    {265, "linkat", nullptr, {{kFd, kPath, kFd, kPath, kFlags}}, Support::kUnsupported},
    {266, "symlinkat", nullptr, {{kPath, kFd, kPath}}, Support::kUnsupported},
    {316, "renameat2", nullptr, {{kFd, kPath, kFd, kPath, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace path_calls

}  // namespace msentry::syscalls
