// System calls: creating, ending, waiting for and replacing processes; ptrace.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysGetpid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClone(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysFork(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysVfork(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysExecve(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysExit(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysWait4(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetppid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPtrace(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysKcmp(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPersonality(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPrctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysArchPrctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGettid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetTidAddress(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysExitGroup(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysWaitid(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysUnshare(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetns(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetRobustList(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetRobustList(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysExecveat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPidfdSendSignal(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPidfdOpen(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClone3(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysProcessVmReadv(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysProcessVmWritev(kernel::Task& t, const SyscallArgs& a);

namespace process_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {39, "getpid", SysGetpid, {}, Support::kFull},
    {56,
     "clone",
     SysClone,
     {{kFlags, kPtr, kPtr, kPtr, kHex}},
     Support::kPartial,
     "namespaces are configured out"},
    {57, "fork", SysFork, {}, Support::kFull},
    {58, "vfork", SysVfork, {}, Support::kFull},
    {59, "execve", SysExecve, {{kPath, kPtr, kPtr}}, Support::kFull},
    {60, "exit", SysExit, {{kInt}}, Support::kFull},
    {61, "wait4", SysWait4, {{kInt, Out(4), kFlags, Out(144)}}, Support::kFull},
    {101,
     "ptrace",
     SysPtrace,
     {{kHex, kInt, kHex, kHex}},
     Support::kPartial,
     "no hardware breakpoints, no seccomp stops"},
    {110, "getppid", SysGetppid, {}, Support::kFull},
    {135,
     "personality",
     SysPersonality,
     {{kHex}},
     Support::kPartial,
     "only ADDR_NO_RANDOMIZE has an effect"},
    {157,
     "prctl",
     SysPrctl,
     {{kInt, kHex, kHex, kHex, kHex}},
     Support::kPartial,
     "no seccomp, no PR_SET_MM"},
    {158, "arch_prctl", SysArchPrctl, {{kInt, kHex}}, Support::kFull},
    {163, "acct", nullptr, {{kPath}}, Support::kUnsupported},
    {186, "gettid", SysGettid, {}, Support::kFull},
    {218, "set_tid_address", SysSetTidAddress, {{kPtr}}, Support::kFull},
    {231, "exit_group", SysExitGroup, {{kInt}}, Support::kFull},
    {247, "waitid", SysWaitid, {{kInt, kInt, Out(128), kFlags, Out(144)}}, Support::kFull},
    {272,
     "unshare",
     SysUnshare,
     {{kFlags}},
     Support::kPartial,
     "no user, pid, ipc and net namespaces"},
    {273, "set_robust_list", SysSetRobustList, {{kPtr, kInt}}, Support::kFull},
    {274,
     "get_robust_list",
     SysGetRobustList,
     {{kInt, Out(8), Out(8)}},
     Support::kPartial,
     "of the calling task only"},
    {308, "setns", SysSetns, {{kFd, kFlags}}, Support::kPartial, "mnt, uts and cgroup"},
    {310,
     "process_vm_readv",
     SysProcessVmReadv,
     {{kInt, kPtr, kInt, kPtr, kInt, kFlags}},
     Support::kFull},
    {311,
     "process_vm_writev",
     SysProcessVmWritev,
     {{kInt, kPtr, kInt, kPtr, kInt, kFlags}},
     Support::kFull},
    {312,
     "kcmp",
     SysKcmp,
     {{kInt, kInt, kInt, kHex, kHex}},
     Support::kPartial,
     "not of semaphore undo lists and epoll's files"},
    {317, "seccomp", nullptr, {{kInt, kFlags, kPtr}}, Support::kUnsupported},
    {322, "execveat", SysExecveat, {{kFd, kPath, kPtr, kPtr, kFlags}}, Support::kFull},
    {324, "membarrier", nullptr, {{kInt, kFlags, kInt}}, Support::kUnsupported},
    {334, "rseq", nullptr, {{kPtr, kInt, kFlags, kHex}}, Support::kUnsupported},
    {424, "pidfd_send_signal", SysPidfdSendSignal, {{kFd, kSig, kPtr, kFlags}}, Support::kFull},
    {434, "pidfd_open", SysPidfdOpen, {{kInt, kFlags}}, Support::kFull},
    {435,
     "clone3",
     SysClone3,
     {{kPtr, kInt}},
     Support::kPartial,
     "namespaces, set_tid and cgroup are refused"},
    {438, "pidfd_getfd", nullptr, {{kFd, kInt, kFlags}}, Support::kUnsupported},
    {440, "process_madvise", nullptr, {{kFd, kPtr, kInt, kInt, kFlags}}, Support::kUnsupported},
    {448, "process_mrelease", nullptr, {{kFd, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace process_calls

}  // namespace msentry::syscalls
