// System calls: reading, writing, seeking, flushing.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysRead(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysWrite(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPread64(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPwrite64(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysReadv(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysWritev(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPreadv(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPwritev(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPreadv2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPwritev2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysLseek(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFsync(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFdatasync(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSync(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSyncfs(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSyncFileRange(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTruncate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFtruncate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFallocate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFadvise64(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysReadahead(kernel::Task& t, const SyscallArgs& a);

namespace io_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {0, "read", SysRead, {{kFd, BufOut(2), kInt}}, Support::kFull},
    {1, "write", SysWrite, {{kFd, BufIn(2), kInt}}, Support::kFull},
    {8, "lseek", SysLseek, {{kFd, kInt, kInt}}, Support::kFull},
    {17, "pread64", SysPread64, {{kFd, BufOut(2), kInt, kInt}}, Support::kFull},
    {18, "pwrite64", SysPwrite64, {{kFd, BufIn(2), kInt, kInt}}, Support::kFull},
    {19, "readv", SysReadv, {{kFd, kPtr, kInt}}, Support::kFull},
    {20, "writev", SysWritev, {{kFd, kPtr, kInt}}, Support::kFull},
    {74, "fsync", SysFsync, {{kFd}}, Support::kFull},
    {75, "fdatasync", SysFdatasync, {{kFd}}, Support::kFull},
    {76, "truncate", SysTruncate, {{kPath, kInt}}, Support::kFull},
    {77, "ftruncate", SysFtruncate, {{kFd, kInt}}, Support::kFull},
    {162, "sync", SysSync, {}, Support::kFull},
    {187, "readahead", SysReadahead, {{kFd, kInt, kInt}}, Support::kFull},
    {206, "io_setup", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {207, "io_destroy", nullptr, {{kHex}}, Support::kUnsupported},
    {208, "io_getevents", nullptr, {{kHex, kInt, kInt, kPtr, kPtr}}, Support::kUnsupported},
    {209, "io_submit", nullptr, {{kHex, kInt, kPtr}}, Support::kUnsupported},
    {210, "io_cancel", nullptr, {{kHex, kPtr, kPtr}}, Support::kUnsupported},
    {221, "fadvise64", SysFadvise64, {{kFd, kInt, kInt, kInt}}, Support::kFull},
    {277, "sync_file_range", SysSyncFileRange, {{kFd, kInt, kInt, kFlags}}, Support::kFull},
    {285, "fallocate", SysFallocate, {{kFd, kFlags, kInt, kInt}}, Support::kFull},
    {295, "preadv", SysPreadv, {{kFd, kPtr, kInt, kInt, kInt}}, Support::kFull},
    {296, "pwritev", SysPwritev, {{kFd, kPtr, kInt, kInt, kInt}}, Support::kFull},
    {306, "syncfs", SysSyncfs, {{kFd}}, Support::kFull},
    {327,
     "preadv2",
     SysPreadv2,
     {{kFd, kPtr, kInt, kInt, kInt, kFlags}},
     Support::kPartial,
     "RWF_NOWAIT is refused"},
    {328,
     "pwritev2",
     SysPwritev2,
     {{kFd, kPtr, kInt, kInt, kInt, kFlags}},
     Support::kPartial,
     "RWF_NOWAIT, and RWF_APPEND without O_APPEND, are refused"},
    {333, "io_pgetevents", nullptr, {{kHex, kInt, kInt, kPtr, kPtr, kPtr}}, Support::kUnsupported},
    {425, "io_uring_setup", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {426,
     "io_uring_enter",
     nullptr,
     {{kFd, kInt, kInt, kFlags, kPtr, kInt}},
     Support::kUnsupported},
    {427, "io_uring_register", nullptr, {{kFd, kInt, kPtr, kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace io_calls

}  // namespace msentry::syscalls
