// System calls: clocks, sleeping, timers.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysNanosleep(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetitimer(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysAlarm(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetitimer(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGettimeofday(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimes(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSettimeofday(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerCreate(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerSettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerGettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerGetoverrun(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTimerDelete(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClockSettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClockGettime(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClockGetres(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysClockNanosleep(kernel::Task& t, const SyscallArgs& a);

namespace time_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {35, "nanosleep", SysNanosleep, {{In(16), Out(16)}}, Support::kFull},
    {36, "getitimer", SysGetitimer, {{kInt, Out(32)}}, Support::kFull},
    {37, "alarm", SysAlarm, {{kInt}}, Support::kFull},
    {38, "setitimer", SysSetitimer, {{kInt, In(32), Out(32)}}, Support::kFull},
    {96, "gettimeofday", SysGettimeofday, {{Out(16), Out(8)}}, Support::kFull},
    {100, "times", SysTimes, {{Out(32)}}, Support::kFull},
    {159, "adjtimex", nullptr, {{kPtr}}, Support::kUnsupported},
    {164,
     "settimeofday",
     SysSettimeofday,
     {{In(16), In(8)}},
     Support::kPartial,
     "EPERM: the clock is the host's"},
    {201, "time", SysTime, {{Out(8)}}, Support::kFull},
    {222, "timer_create", SysTimerCreate, {{kInt, In(64), Out(4)}}, Support::kFull},
    {223, "timer_settime", SysTimerSettime, {{kInt, kFlags, In(32), Out(32)}}, Support::kFull},
    {224, "timer_gettime", SysTimerGettime, {{kInt, Out(32)}}, Support::kFull},
    {225, "timer_getoverrun", SysTimerGetoverrun, {{kInt}}, Support::kFull},
    {226, "timer_delete", SysTimerDelete, {{kInt}}, Support::kFull},
    {227,
     "clock_settime",
     SysClockSettime,
     {{kInt, In(16)}},
     Support::kPartial,
     "EPERM: the clock is the host's"},
    {228, "clock_gettime", SysClockGettime, {{kInt, Out(16)}}, Support::kFull},
    {229, "clock_getres", SysClockGetres, {{kInt, Out(16)}}, Support::kFull},
    {230, "clock_nanosleep", SysClockNanosleep, {{kInt, kFlags, In(16), Out(16)}}, Support::kFull},
    {305, "clock_adjtime", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
};
// clang-format on
}  // namespace time_calls

}  // namespace msentry::syscalls
