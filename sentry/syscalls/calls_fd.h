// System calls: descriptors: open, close, dup, fcntl, ioctl, locks.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace fd_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {2, "open", nullptr, {{kPath, kFlags, kMode}}, Support::kUnsupported},
    {3, "close", nullptr, {{kFd}}, Support::kUnsupported},
    {16, "ioctl", nullptr, {{kFd, kHex, kHex}}, Support::kUnsupported},
    {32, "dup", nullptr, {{kFd}}, Support::kUnsupported},
    {33, "dup2", nullptr, {{kFd, kFd}}, Support::kUnsupported},
    {72, "fcntl", nullptr, {{kFd, kInt, kHex}}, Support::kUnsupported},
    {73, "flock", nullptr, {{kFd, kInt}}, Support::kUnsupported},
    {85, "creat", nullptr, {{kPath, kMode}}, Support::kUnsupported},
    {257, "openat", nullptr, {{kFd, kPath, kFlags, kMode}}, Support::kUnsupported},
    {292, "dup3", nullptr, {{kFd, kFd, kFlags}}, Support::kUnsupported},
    {303, "name_to_handle_at", nullptr, {{kFd, kPath, kPtr, kPtr, kFlags}}, Support::kUnsupported},
    {304, "open_by_handle_at", nullptr, {{kFd, kPtr, kFlags}}, Support::kUnsupported},
    {319, "memfd_create", nullptr, {{kPath, kFlags}}, Support::kUnsupported},
    {436, "close_range", nullptr, {{kInt, kInt, kFlags}}, Support::kUnsupported},
    {437, "openat2", nullptr, {{kFd, kPath, kPtr, kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace fd_calls

}  // namespace msentry::syscalls
