// System calls: memory mappings.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace mm_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {9, "mmap", nullptr, {{kHex, kHex, kFlags, kFlags, kFd, kHex}}, Support::kUnsupported},
    {10, "mprotect", nullptr, {{kHex, kHex, kFlags}}, Support::kUnsupported},
    {11, "munmap", nullptr, {{kHex, kHex}}, Support::kUnsupported},
    {12, "brk", nullptr, {{kHex}}, Support::kUnsupported},
    {25, "mremap", nullptr, {{kHex, kHex, kHex, kFlags, kHex}}, Support::kUnsupported},
    {26, "msync", nullptr, {{kHex, kHex, kFlags}}, Support::kUnsupported},
    {27, "mincore", nullptr, {{kHex, kHex, kPtr}}, Support::kUnsupported},
    {28, "madvise", nullptr, {{kHex, kHex, kInt}}, Support::kUnsupported},
    {149, "mlock", nullptr, {{kHex, kHex}}, Support::kUnsupported},
    {150, "munlock", nullptr, {{kHex, kHex}}, Support::kUnsupported},
    {151, "mlockall", nullptr, {{kFlags}}, Support::kUnsupported},
    {152, "munlockall", nullptr, {}, Support::kUnsupported},
    {216, "remap_file_pages", nullptr, {{kHex, kHex, kFlags, kHex, kFlags}}, Support::kUnsupported},
    {237, "mbind", nullptr, {{kHex, kHex, kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {238, "set_mempolicy", nullptr, {{kInt, kPtr, kInt}}, Support::kUnsupported},
    {239, "get_mempolicy", nullptr, {{kPtr, kPtr, kInt, kHex, kFlags}}, Support::kUnsupported},
    {256, "migrate_pages", nullptr, {{kInt, kInt, kPtr, kPtr}}, Support::kUnsupported},
    {279, "move_pages", nullptr, {{kInt, kInt, kPtr, kPtr, kPtr, kFlags}}, Support::kUnsupported},
    {323, "userfaultfd", nullptr, {{kFlags}}, Support::kUnsupported},
    {325, "mlock2", nullptr, {{kHex, kHex, kFlags}}, Support::kUnsupported},
    {329, "pkey_mprotect", nullptr, {{kHex, kHex, kFlags, kInt}}, Support::kUnsupported},
    {330, "pkey_alloc", nullptr, {{kFlags, kHex}}, Support::kUnsupported},
    {331, "pkey_free", nullptr, {{kInt}}, Support::kUnsupported},
    {447, "memfd_secret", nullptr, {{kFlags}}, Support::kUnsupported},
    {450, "set_mempolicy_home_node", nullptr, {{kHex, kHex, kInt, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace mm_calls

}  // namespace msentry::syscalls
