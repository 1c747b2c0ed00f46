// System calls: System V IPC and POSIX message queues.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysShmget(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysShmat(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysShmctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSemget(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSemop(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSemctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysShmdt(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMsgget(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMsgsnd(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMsgrcv(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysMsgctl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSemtimedop(kernel::Task& t, const SyscallArgs& a);

namespace ipc_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {29, "shmget", SysShmget, {{kInt, kInt, kFlags}}, Support::kFull},
    {30, "shmat", SysShmat, {{kInt, kHex, kFlags}}, Support::kFull},
    {31, "shmctl", SysShmctl, {{kInt, kInt, kPtr}}, Support::kFull},
    {64, "semget", SysSemget, {{kInt, kInt, kFlags}}, Support::kFull},
    {65, "semop", SysSemop, {{kInt, kPtr, kInt}}, Support::kFull},
    {66, "semctl", SysSemctl, {{kInt, kInt, kInt, kHex}}, Support::kFull},
    {67, "shmdt", SysShmdt, {{kHex}}, Support::kFull},
    {68, "msgget", SysMsgget, {{kInt, kFlags}}, Support::kFull},
    {69, "msgsnd", SysMsgsnd, {{kInt, kPtr, kInt, kFlags}}, Support::kFull},
    {70, "msgrcv", SysMsgrcv, {{kInt, kPtr, kInt, kInt, kFlags}}, Support::kFull},
    {71, "msgctl", SysMsgctl, {{kInt, kInt, kPtr}}, Support::kFull},
    {220, "semtimedop", SysSemtimedop, {{kInt, kPtr, kInt, In(16)}}, Support::kFull},
    {240, "mq_open", nullptr, {{kPath, kFlags, kMode, In(64)}}, Support::kUnsupported},
    {241, "mq_unlink", nullptr, {{kPath}}, Support::kUnsupported},
    {242, "mq_timedsend", nullptr, {{kFd, BufIn(2), kInt, kInt, In(16)}}, Support::kUnsupported},
    {243,
     "mq_timedreceive",
     nullptr,
     {{kFd, BufOut(2), kInt, Out(4), In(16)}},
     Support::kUnsupported},
    {244, "mq_notify", nullptr, {{kFd, In(64)}}, Support::kUnsupported},
    {245, "mq_getsetattr", nullptr, {{kFd, In(64), Out(64)}}, Support::kUnsupported},
};
// clang-format on
}  // namespace ipc_calls

}  // namespace msentry::syscalls
