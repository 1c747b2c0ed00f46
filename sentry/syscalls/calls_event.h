// System calls: pipes and descriptors that stand for events.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace event_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {22, "pipe", nullptr, {{Out(8)}}, Support::kUnsupported},
    {253, "inotify_init", nullptr, {}, Support::kUnsupported},
    {254, "inotify_add_watch", nullptr, {{kFd, kPath, kFlags}}, Support::kUnsupported},
    {255, "inotify_rm_watch", nullptr, {{kFd, kInt}}, Support::kUnsupported},
    {282, "signalfd", nullptr, {{kFd, In(8), kInt}}, Support::kUnsupported},
    {283, "timerfd_create", nullptr, {{kInt, kFlags}}, Support::kUnsupported},
    {284, "eventfd", nullptr, {{kInt}}, Support::kUnsupported},
    {286, "timerfd_settime", nullptr, {{kFd, kFlags, In(32), Out(32)}}, Support::kUnsupported},
    {287, "timerfd_gettime", nullptr, {{kFd, Out(32)}}, Support::kUnsupported},
    {289, "signalfd4", nullptr, {{kFd, In(8), kInt, kFlags}}, Support::kUnsupported},
    {290, "eventfd2", nullptr, {{kInt, kFlags}}, Support::kUnsupported},
    {293, "pipe2", nullptr, {{Out(8), kFlags}}, Support::kUnsupported},
    {294, "inotify_init1", nullptr, {{kFlags}}, Support::kUnsupported},
    {300, "fanotify_init", nullptr, {{kFlags, kFlags}}, Support::kUnsupported},
    {301, "fanotify_mark", nullptr, {{kFd, kFlags, kHex, kFd, kPath}}, Support::kUnsupported},
};
// clang-format on
}  // namespace event_calls

}  // namespace msentry::syscalls
