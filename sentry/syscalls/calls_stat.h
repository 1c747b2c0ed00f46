// System calls: attributes of files.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace stat_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {4, "stat", nullptr, {{kPath, Out(144)}}, Support::kUnsupported},
    {5, "fstat", nullptr, {{kFd, Out(144)}}, Support::kUnsupported},
    {6, "lstat", nullptr, {{kPath, Out(144)}}, Support::kUnsupported},
    {21, "access", nullptr, {{kPath, kMode}}, Support::kUnsupported},
    {89, "readlink", nullptr, {{kPath, BufOut(2), kInt}}, Support::kUnsupported},
    {90, "chmod", nullptr, {{kPath, kMode}}, Support::kUnsupported},
    {91, "fchmod", nullptr, {{kFd, kMode}}, Support::kUnsupported},
    {92, "chown", nullptr, {{kPath, kInt, kInt}}, Support::kUnsupported},
    {93, "fchown", nullptr, {{kFd, kInt, kInt}}, Support::kUnsupported},
    {94, "lchown", nullptr, {{kPath, kInt, kInt}}, Support::kUnsupported},
    {132, "utime", nullptr, {{kPath, In(16)}}, Support::kUnsupported},
    {137, "statfs", nullptr, {{kPath, Out(120)}}, Support::kUnsupported},
    {138, "fstatfs", nullptr, {{kFd, Out(120)}}, Support::kUnsupported},
    {188, "setxattr", nullptr, {{kPath, kPath, BufIn(3), kInt, kFlags}}, Support::kUnsupported},
    {189, "lsetxattr", nullptr, {{kPath, kPath, BufIn(3), kInt, kFlags}}, Support::kUnsupported},
    {190, "fsetxattr", nullptr, {{kFd, kPath, BufIn(3), kInt, kFlags}}, Support::kUnsupported},
    {191, "getxattr", nullptr, {{kPath, kPath, BufOut(3), kInt}}, Support::kUnsupported},
    {192, "lgetxattr", nullptr, {{kPath, kPath, BufOut(3), kInt}}, Support::kUnsupported},
    {193, "fgetxattr", nullptr, {{kFd, kPath, BufOut(3), kInt}}, Support::kUnsupported},
    {194, "listxattr", nullptr, {{kPath, BufOut(2), kInt}}, Support::kUnsupported},
    {195, "llistxattr", nullptr, {{kPath, BufOut(2), kInt}}, Support::kUnsupported},
    {196, "flistxattr", nullptr, {{kFd, BufOut(2), kInt}}, Support::kUnsupported},
    {197, "removexattr", nullptr, {{kPath, kPath}}, Support::kUnsupported},
    {198, "lremovexattr", nullptr, {{kPath, kPath}}, Support::kUnsupported},
    {199, "fremovexattr", nullptr, {{kFd, kPath}}, Support::kUnsupported},
    {235, "utimes", nullptr, {{kPath, In(32)}}, Support::kUnsupported},
    {260, "fchownat", nullptr, {{kFd, kPath, kInt, kInt, kFlags}}, Support::kUnsupported},
    {261, "futimesat", nullptr, {{kFd, kPath, In(32)}}, Support::kUnsupported},
    {262, "newfstatat", nullptr, {{kFd, kPath, Out(144), kFlags}}, Support::kUnsupported},
    {267, "readlinkat", nullptr, {{kFd, kPath, BufOut(3), kInt}}, Support::kUnsupported},
    {268, "fchmodat", nullptr, {{kFd, kPath, kMode}}, Support::kUnsupported},
    {269, "faccessat", nullptr, {{kFd, kPath, kMode}}, Support::kUnsupported},
    {280, "utimensat", nullptr, {{kFd, kPath, In(32), kFlags}}, Support::kUnsupported},
    {332, "statx", nullptr, {{kFd, kPath, kFlags, kFlags, Out(256)}}, Support::kUnsupported},
    {439, "faccessat2", nullptr, {{kFd, kPath, kMode, kFlags}}, Support::kUnsupported},
    {451, "cachestat", nullptr, {{kFd, kPtr, kPtr, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace stat_calls

}  // namespace msentry::syscalls
