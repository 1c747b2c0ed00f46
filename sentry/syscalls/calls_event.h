// System calls: pipes and descriptors that stand for events.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysPipe(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPipe2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEventfd(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysEventfd2(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSignalfd(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSignalfd4(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerfdCreate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerfdSettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerfdGettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysInotifyInit(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysInotifyInit1(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysInotifyAddWatch(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysInotifyRmWatch(kernel::Task& t, const SyscallArgs& a);

namespace event_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {22, "pipe", SysPipe, {{Out(8)}}, Support::kFull},
    {253, "inotify_init", SysInotifyInit, {}, Support::kFull},
    {254, "inotify_add_watch", SysInotifyAddWatch, {{kFd, kPath, kFlags}}, Support::kFull},
    {255, "inotify_rm_watch", SysInotifyRmWatch, {{kFd, kInt}}, Support::kFull},
    {282, "signalfd", SysSignalfd, {{kFd, In(8), kInt}}, Support::kFull},
    {283, "timerfd_create", SysTimerfdCreate, {{kInt, kFlags}}, Support::kFull},
    {284, "eventfd", SysEventfd, {{kInt}}, Support::kFull},
    {286, "timerfd_settime", SysTimerfdSettime, {{kFd, kFlags, In(32), Out(32)}}, Support::kFull},
    {287, "timerfd_gettime", SysTimerfdGettime, {{kFd, Out(32)}}, Support::kFull},
    {289, "signalfd4", SysSignalfd4, {{kFd, In(8), kInt, kFlags}}, Support::kFull},
    {290, "eventfd2", SysEventfd2, {{kInt, kFlags}}, Support::kFull},
    {293, "pipe2", SysPipe2, {{Out(8), kFlags}}, Support::kFull},
    {294, "inotify_init1", SysInotifyInit1, {{kFlags}}, Support::kFull},
    {300, "fanotify_init", nullptr, {{kFlags, kFlags}}, Support::kUnsupported},
    {301, "fanotify_mark", nullptr, {{kFd, kFlags, kHex, kFd, kPath}}, Support::kUnsupported},
};
// clang-format on
}  // namespace event_calls

}  // namespace msentry::syscalls
