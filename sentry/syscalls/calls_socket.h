// System calls: sockets.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace socket_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {41, "socket", nullptr, {{kInt, kInt, kInt}}, Support::kUnsupported},
    {42, "connect", nullptr, {{kFd, BufIn(2), kInt}}, Support::kUnsupported},
    {43, "accept", nullptr, {{kFd, kPtr, kPtr}}, Support::kUnsupported},
    {44, "sendto", nullptr, {{kFd, BufIn(2), kInt, kFlags, BufIn(5), kInt}}, Support::kUnsupported},
    {45, "recvfrom", nullptr, {{kFd, BufOut(2), kInt, kFlags, kPtr, kPtr}}, Support::kUnsupported},
    {46, "sendmsg", nullptr, {{kFd, In(56), kFlags}}, Support::kUnsupported},
    {47, "recvmsg", nullptr, {{kFd, In(56), kFlags}}, Support::kUnsupported},
    {48, "shutdown", nullptr, {{kFd, kInt}}, Support::kUnsupported},
    {49, "bind", nullptr, {{kFd, BufIn(2), kInt}}, Support::kUnsupported},
    {50, "listen", nullptr, {{kFd, kInt}}, Support::kUnsupported},
    {51, "getsockname", nullptr, {{kFd, kPtr, kPtr}}, Support::kUnsupported},
    {52, "getpeername", nullptr, {{kFd, kPtr, kPtr}}, Support::kUnsupported},
    {53, "socketpair", nullptr, {{kInt, kInt, kInt, Out(8)}}, Support::kUnsupported},
    {54, "setsockopt", nullptr, {{kFd, kInt, kInt, BufIn(4), kInt}}, Support::kUnsupported},
    {55, "getsockopt", nullptr, {{kFd, kInt, kInt, kPtr, kPtr}}, Support::kUnsupported},
    {288, "accept4", nullptr, {{kFd, kPtr, kPtr, kFlags}}, Support::kUnsupported},
    {299, "recvmmsg", nullptr, {{kFd, kPtr, kInt, kFlags, kPtr}}, Support::kUnsupported},
    {307, "sendmmsg", nullptr, {{kFd, kPtr, kInt, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace socket_calls

}  // namespace msentry::syscalls
