// System calls: poll, select and epoll.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysPoll(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPpoll(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSelect(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPselect6(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollCreate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollCreate1(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollCtl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollWait(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollPwait(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEpollPwait2(kernel::Task& t, const SyscallArgs& a);

namespace poll_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {7, "poll", SysPoll, {{kPtr, kInt, kInt}}, Support::kFull},
    {23, "select", SysSelect, {{kInt, kPtr, kPtr, kPtr, In(16)}}, Support::kFull},
    {213, "epoll_create", SysEpollCreate, {{kInt}}, Support::kFull},
    {232, "epoll_wait", SysEpollWait, {{kFd, kPtr, kInt, kInt}}, Support::kFull},
    {233, "epoll_ctl", SysEpollCtl, {{kFd, kInt, kFd, In(12)}}, Support::kFull},
    {270, "pselect6", SysPselect6, {{kInt, kPtr, kPtr, kPtr, In(16), kPtr}}, Support::kFull},
    {271, "ppoll", SysPpoll, {{kPtr, kInt, In(16), In(8), kInt}}, Support::kFull},
    {281, "epoll_pwait", SysEpollPwait, {{kFd, kPtr, kInt, kInt, In(8), kInt}}, Support::kFull},
    {291, "epoll_create1", SysEpollCreate1, {{kFlags}}, Support::kFull},
    {441, "epoll_pwait2", SysEpollPwait2, {{kFd, kPtr, kInt, In(16), In(8), kInt}}, Support::kFull},
};
// clang-format on
}  // namespace poll_calls

}  // namespace msentry::syscalls
