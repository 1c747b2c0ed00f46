// System calls: sockets.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysSocket(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSocketpair(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysBind(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysListen(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysAccept(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysAccept4(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysConnect(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetsockname(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetpeername(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSendto(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRecvfrom(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSendmsg(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRecvmsg(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSendmmsg(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRecvmmsg(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysShutdown(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetsockopt(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetsockopt(kernel::Task& t, const SyscallArgs& a);

namespace socket_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {41,
     "socket",
     SysSocket,
     {{kInt, kInt, kInt}},
     Support::kPartial,
     "AF_UNIX; AF_INET and AF_INET6 over the loopback; AF_NETLINK to ask about it"},
    {42, "connect", SysConnect, {{kFd, BufIn(2), kInt}}, Support::kFull},
    {43, "accept", SysAccept, {{kFd, kPtr, kPtr}}, Support::kFull},
    {44, "sendto", SysSendto, {{kFd, BufIn(2), kInt, kFlags, BufIn(5), kInt}}, Support::kFull},
    {45, "recvfrom", SysRecvfrom, {{kFd, BufOut(2), kInt, kFlags, kPtr, kPtr}}, Support::kFull},
    {46, "sendmsg", SysSendmsg, {{kFd, In(56), kFlags}}, Support::kFull},
    {47, "recvmsg", SysRecvmsg, {{kFd, In(56), kFlags}}, Support::kFull},
    {48, "shutdown", SysShutdown, {{kFd, kInt}}, Support::kFull},
    {49, "bind", SysBind, {{kFd, BufIn(2), kInt}}, Support::kFull},
    {50, "listen", SysListen, {{kFd, kInt}}, Support::kFull},
    {51, "getsockname", SysGetsockname, {{kFd, kPtr, kPtr}}, Support::kFull},
    {52, "getpeername", SysGetpeername, {{kFd, kPtr, kPtr}}, Support::kFull},
    {53, "socketpair", SysSocketpair, {{kInt, kInt, kInt, Out(8)}}, Support::kFull},
    {54, "setsockopt", SysSetsockopt, {{kFd, kInt, kInt, BufIn(4), kInt}}, Support::kFull},
    {55, "getsockopt", SysGetsockopt, {{kFd, kInt, kInt, kPtr, kPtr}}, Support::kFull},
    {288, "accept4", SysAccept4, {{kFd, kPtr, kPtr, kFlags}}, Support::kFull},
    {299, "recvmmsg", SysRecvmmsg, {{kFd, kPtr, kInt, kFlags, kPtr}}, Support::kFull},
    {307, "sendmmsg", SysSendmmsg, {{kFd, kPtr, kInt, kFlags}}, Support::kFull},
};
// clang-format on
}  // namespace socket_calls

}  // namespace msentry::syscalls
