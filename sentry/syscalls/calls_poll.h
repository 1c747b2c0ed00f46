// System calls: poll, select and epoll.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace poll_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {7, "poll", nullptr, {{kPtr, kInt, kInt}}, Support::kUnsupported},
    {23, "select", nullptr, {{kInt, kPtr, kPtr, kPtr, In(16)}}, Support::kUnsupported},
    {213, "epoll_create", nullptr, {{kInt}}, Support::kUnsupported},
    {232, "epoll_wait", nullptr, {{kFd, kPtr, kInt, kInt}}, Support::kUnsupported},
    {233, "epoll_ctl", nullptr, {{kFd, kInt, kFd, In(12)}}, Support::kUnsupported},
    {270, "pselect6", nullptr, {{kInt, kPtr, kPtr, kPtr, In(16), kPtr}}, Support::kUnsupported},
    {271, "ppoll", nullptr, {{kPtr, kInt, In(16), In(8), kInt}}, Support::kUnsupported},
    {281, "epoll_pwait", nullptr, {{kFd, kPtr, kInt, kInt, In(8), kInt}}, Support::kUnsupported},
    {291, "epoll_create1", nullptr, {{kFlags}}, Support::kUnsupported},
    {441, "epoll_pwait2", nullptr, {{kFd, kPtr, kInt, In(16), In(8), kInt}}, Support::kUnsupported},
};
// clang-format on
}  // namespace poll_calls

}  // namespace msentry::syscalls
