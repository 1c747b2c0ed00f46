// System calls: memory mappings.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysMmap(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMprotect(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMunmap(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysBrk(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMremap(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMsync(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMincore(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMadvise(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMlock(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMunlock(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMlockall(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMunlockall(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMlock2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPkeyMprotect(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPkeyAlloc(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPkeyFree(kernel::Task& t, const SyscallArgs& a);

namespace mm_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {9, "mmap", SysMmap, {{kHex, kHex, kFlags, kFlags, kFd, kHex}}, Support::kFull},
    {10, "mprotect", SysMprotect, {{kHex, kHex, kFlags}}, Support::kFull},
    {11, "munmap", SysMunmap, {{kHex, kHex}}, Support::kFull},
    {12, "brk", SysBrk, {{kHex}}, Support::kFull},
    {25, "mremap", SysMremap, {{kHex, kHex, kHex, kFlags, kHex}}, Support::kFull},
    {26, "msync", SysMsync, {{kHex, kHex, kFlags}}, Support::kFull},
    {27,
     "mincore",
     SysMincore,
     {{kHex, kHex, kPtr}},
     Support::kPartial,
     "pages of files count as resident"},
    {28, "madvise", SysMadvise, {{kHex, kHex, kInt}}, Support::kFull},
    {149, "mlock", SysMlock, {{kHex, kHex}}, Support::kFull},
    {150, "munlock", SysMunlock, {{kHex, kHex}}, Support::kFull},
    {151, "mlockall", SysMlockall, {{kFlags}}, Support::kFull},
    {152, "munlockall", SysMunlockall, {}, Support::kFull},
    {216, "remap_file_pages", nullptr, {{kHex, kHex, kFlags, kHex, kFlags}}, Support::kUnsupported},
    {237, "mbind", nullptr, {{kHex, kHex, kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {238, "set_mempolicy", nullptr, {{kInt, kPtr, kInt}}, Support::kUnsupported},
    {239, "get_mempolicy", nullptr, {{kPtr, kPtr, kInt, kHex, kFlags}}, Support::kUnsupported},
    {256, "migrate_pages", nullptr, {{kInt, kInt, kPtr, kPtr}}, Support::kUnsupported},
    {279, "move_pages", nullptr, {{kInt, kInt, kPtr, kPtr, kPtr, kFlags}}, Support::kUnsupported},
    {323, "userfaultfd", nullptr, {{kFlags}}, Support::kUnsupported},
    {325, "mlock2", SysMlock2, {{kHex, kHex, kFlags}}, Support::kFull},
    {329,
     "pkey_mprotect",
     SysPkeyMprotect,
     {{kHex, kHex, kFlags, kInt}},
     Support::kPartial,
     "no protection keys"},
    {330, "pkey_alloc", SysPkeyAlloc, {{kFlags, kHex}}, Support::kFull},
    {331, "pkey_free", SysPkeyFree, {{kInt}}, Support::kFull},
    {447, "memfd_secret", nullptr, {{kFlags}}, Support::kUnsupported},
    {450, "set_mempolicy_home_node", nullptr, {{kHex, kHex, kInt, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace mm_calls

}  // namespace msentry::syscalls
