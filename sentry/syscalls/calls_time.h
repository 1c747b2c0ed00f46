// System calls: clocks, sleeping, timers.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace time_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {35, "nanosleep", nullptr, {{In(16), Out(16)}}, Support::kUnsupported},
    {36, "getitimer", nullptr, {{kInt, Out(32)}}, Support::kUnsupported},
    {37, "alarm", nullptr, {{kInt}}, Support::kUnsupported},
    {38, "setitimer", nullptr, {{kInt, In(32), Out(32)}}, Support::kUnsupported},
    {96, "gettimeofday", nullptr, {{Out(16), Out(8)}}, Support::kUnsupported},
    {100, "times", nullptr, {{Out(32)}}, Support::kUnsupported},
    {159, "adjtimex", nullptr, {{kPtr}}, Support::kUnsupported},
    {164, "settimeofday", nullptr, {{In(16), In(8)}}, Support::kUnsupported},
    {201, "time", nullptr, {{Out(8)}}, Support::kUnsupported},
    {222, "timer_create", nullptr, {{kInt, In(64), Out(4)}}, Support::kUnsupported},
    {223, "timer_settime", nullptr, {{kInt, kFlags, In(32), Out(32)}}, Support::kUnsupported},
    {224, "timer_gettime", nullptr, {{kInt, Out(32)}}, Support::kUnsupported},
    {225, "timer_getoverrun", nullptr, {{kInt}}, Support::kUnsupported},
    {226, "timer_delete", nullptr, {{kInt}}, Support::kUnsupported},
    {227, "clock_settime", nullptr, {{kInt, In(16)}}, Support::kUnsupported},
    {228, "clock_gettime", nullptr, {{kInt, Out(16)}}, Support::kUnsupported},
    {229, "clock_getres", nullptr, {{kInt, Out(16)}}, Support::kUnsupported},
    {230, "clock_nanosleep", nullptr, {{kInt, kFlags, In(16), Out(16)}}, Support::kUnsupported},
    {305, "clock_adjtime", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
};
// clang-format on
}  // namespace time_calls

}  // namespace msentry::syscalls
