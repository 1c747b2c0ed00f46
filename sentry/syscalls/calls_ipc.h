// System calls: System V IPC and POSIX message queues.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace ipc_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {29, "shmget", nullptr, {{kInt, kInt, kFlags}}, Support::kUnsupported},
    {30, "shmat", nullptr, {{kInt, kHex, kFlags}}, Support::kUnsupported},
    {31, "shmctl", nullptr, {{kInt, kInt, kPtr}}, Support::kUnsupported},
    {64, "semget", nullptr, {{kInt, kInt, kFlags}}, Support::kUnsupported},
    {65, "semop", nullptr, {{kInt, kPtr, kInt}}, Support::kUnsupported},
    {66, "semctl", nullptr, {{kInt, kInt, kInt, kHex}}, Support::kUnsupported},
    {67, "shmdt", nullptr, {{kHex}}, Support::kUnsupported},
    {68, "msgget", nullptr, {{kInt, kFlags}}, Support::kUnsupported},
    {69, "msgsnd", nullptr, {{kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {70, "msgrcv", nullptr, {{kInt, kPtr, kInt, kInt, kFlags}}, Support::kUnsupported},
    {71, "msgctl", nullptr, {{kInt, kInt, kPtr}}, Support::kUnsupported},
    {220, "semtimedop", nullptr, {{kInt, kPtr, kInt, In(16)}}, Support::kUnsupported},
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
