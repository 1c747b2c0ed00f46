// System calls: creating, ending, waiting for and replacing processes; ptrace.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace process_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {39, "getpid", nullptr, {}, Support::kUnsupported},
    {56, "clone", nullptr, {{kFlags, kPtr, kPtr, kPtr, kHex}}, Support::kUnsupported},
    {57, "fork", nullptr, {}, Support::kUnsupported},
    {58, "vfork", nullptr, {}, Support::kUnsupported},
    {59, "execve", nullptr, {{kPath, kPtr, kPtr}}, Support::kUnsupported},
    {60, "exit", nullptr, {{kInt}}, Support::kUnsupported},
    {61, "wait4", nullptr, {{kInt, Out(4), kFlags, Out(144)}}, Support::kUnsupported},
    {101, "ptrace", nullptr, {{kInt, kInt, kHex, kHex}}, Support::kUnsupported},
    {110, "getppid", nullptr, {}, Support::kUnsupported},
    {135, "personality", nullptr, {{kHex}}, Support::kUnsupported},
    {157, "prctl", nullptr, {{kInt, kHex, kHex, kHex, kHex}}, Support::kUnsupported},
    {158, "arch_prctl", nullptr, {{kInt, kHex}}, Support::kUnsupported},
    {163, "acct", nullptr, {{kPath}}, Support::kUnsupported},
    {186, "gettid", nullptr, {}, Support::kUnsupported},
    {218, "set_tid_address", nullptr, {{kPtr}}, Support::kUnsupported},
    {231, "exit_group", nullptr, {{kInt}}, Support::kUnsupported},
    {247, "waitid", nullptr, {{kInt, kInt, Out(128), kFlags, Out(144)}}, Support::kUnsupported},
    {272, "unshare", nullptr, {{kFlags}}, Support::kUnsupported},
    {273, "set_robust_list", nullptr, {{kPtr, kInt}}, Support::kUnsupported},
    {274, "get_robust_list", nullptr, {{kInt, Out(8), Out(8)}}, Support::kUnsupported},
    {308, "setns", nullptr, {{kFd, kFlags}}, Support::kUnsupported},
    {310, "process_vm_readv", nullptr, {{kInt, kPtr, kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {311, "process_vm_writev", nullptr, {{kInt, kPtr, kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {312, "kcmp", nullptr, {{kInt, kInt, kInt, kHex, kHex}}, Support::kUnsupported},
    {317, "seccomp", nullptr, {{kInt, kFlags, kPtr}}, Support::kUnsupported},
    {322, "execveat", nullptr, {{kFd, kPath, kPtr, kPtr, kFlags}}, Support::kUnsupported},
    {324, "membarrier", nullptr, {{kInt, kFlags, kInt}}, Support::kUnsupported},
    {334, "rseq", nullptr, {{kPtr, kInt, kFlags, kHex}}, Support::kUnsupported},
    {424, "pidfd_send_signal", nullptr, {{kFd, kSig, kPtr, kFlags}}, Support::kUnsupported},
    {434, "pidfd_open", nullptr, {{kInt, kFlags}}, Support::kUnsupported},
    {435, "clone3", nullptr, {{kPtr, kInt}}, Support::kUnsupported},
    {438, "pidfd_getfd", nullptr, {{kFd, kInt, kFlags}}, Support::kUnsupported},
    {440, "process_madvise", nullptr, {{kFd, kPtr, kInt, kInt, kFlags}}, Support::kUnsupported},
    {448, "process_mrelease", nullptr, {{kFd, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace process_calls

}  // namespace msentry::syscalls
