// System calls: reading, writing, seeking, flushing.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace io_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {0, "read", nullptr, {{kFd, BufOut(2), kInt}}, Support::kUnsupported},
    {1, "write", nullptr, {{kFd, BufIn(2), kInt}}, Support::kUnsupported},
    {8, "lseek", nullptr, {{kFd, kInt, kInt}}, Support::kUnsupported},
    {17, "pread64", nullptr, {{kFd, BufOut(2), kInt, kInt}}, Support::kUnsupported},
    {18, "pwrite64", nullptr, {{kFd, BufIn(2), kInt, kInt}}, Support::kUnsupported},
    {19, "readv", nullptr, {{kFd, kPtr, kInt}}, Support::kUnsupported},
    {20, "writev", nullptr, {{kFd, kPtr, kInt}}, Support::kUnsupported},
    {74, "fsync", nullptr, {{kFd}}, Support::kUnsupported},
    {75, "fdatasync", nullptr, {{kFd}}, Support::kUnsupported},
    {76, "truncate", nullptr, {{kPath, kInt}}, Support::kUnsupported},
    {77, "ftruncate", nullptr, {{kFd, kInt}}, Support::kUnsupported},
    {162, "sync", nullptr, {}, Support::kUnsupported},
    {187, "readahead", nullptr, {{kFd, kInt, kInt}}, Support::kUnsupported},
    {206, "io_setup", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {207, "io_destroy", nullptr, {{kHex}}, Support::kUnsupported},
    {208, "io_getevents", nullptr, {{kHex, kInt, kInt, kPtr, kPtr}}, Support::kUnsupported},
    {209, "io_submit", nullptr, {{kHex, kInt, kPtr}}, Support::kUnsupported},
    {210, "io_cancel", nullptr, {{kHex, kPtr, kPtr}}, Support::kUnsupported},
    {221, "fadvise64", nullptr, {{kFd, kInt, kInt, kInt}}, Support::kUnsupported},
    {277, "sync_file_range", nullptr, {{kFd, kInt, kInt, kFlags}}, Support::kUnsupported},
    {285, "fallocate", nullptr, {{kFd, kFlags, kInt, kInt}}, Support::kUnsupported},
    {295, "preadv", nullptr, {{kFd, kPtr, kInt, kInt, kInt}}, Support::kUnsupported},
    {296, "pwritev", nullptr, {{kFd, kPtr, kInt, kInt, kInt}}, Support::kUnsupported},
    {306, "syncfs", nullptr, {{kFd}}, Support::kUnsupported},
    {327, "preadv2", nullptr, {{kFd, kPtr, kInt, kInt, kInt, kFlags}}, Support::kUnsupported},
    {328, "pwritev2", nullptr, {{kFd, kPtr, kInt, kInt, kInt, kFlags}}, Support::kUnsupported},
    {333, "io_pgetevents", nullptr, {{kHex, kInt, kInt, kPtr, kPtr, kPtr}}, Support::kUnsupported},
    {425, "io_uring_setup", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {426, "io_uring_enter", nullptr, {{kFd, kInt, kInt, kFlags, kPtr, kInt}}, Support::kUnsupported},
    {427, "io_uring_register", nullptr, {{kFd, kInt, kPtr, kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace io_calls

}  // namespace msentry::syscalls
