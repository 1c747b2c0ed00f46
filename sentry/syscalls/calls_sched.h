// System calls: scheduling policy, priority, affinity.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace sched_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {24, "sched_yield", nullptr, {}, Support::kUnsupported},
    {140, "getpriority", nullptr, {{kInt, kInt}}, Support::kUnsupported},
    {141, "setpriority", nullptr, {{kInt, kInt, kInt}}, Support::kUnsupported},
    {142, "sched_setparam", nullptr, {{kInt, In(4)}}, Support::kUnsupported},
    {143, "sched_getparam", nullptr, {{kInt, Out(4)}}, Support::kUnsupported},
    {144, "sched_setscheduler", nullptr, {{kInt, kInt, In(4)}}, Support::kUnsupported},
    {145, "sched_getscheduler", nullptr, {{kInt}}, Support::kUnsupported},
    {146, "sched_get_priority_max", nullptr, {{kInt}}, Support::kUnsupported},
    {147, "sched_get_priority_min", nullptr, {{kInt}}, Support::kUnsupported},
    {148, "sched_rr_get_interval", nullptr, {{kInt, Out(16)}}, Support::kUnsupported},
    {203, "sched_setaffinity", nullptr, {{kInt, kInt, BufIn(1)}}, Support::kUnsupported},
    {204, "sched_getaffinity", nullptr, {{kInt, kInt, BufOut(1)}}, Support::kUnsupported},
    {251, "ioprio_set", nullptr, {{kInt, kInt, kInt}}, Support::kUnsupported},
    {252, "ioprio_get", nullptr, {{kInt, kInt}}, Support::kUnsupported},
    {309, "getcpu", nullptr, {{Out(4), Out(4), kPtr}}, Support::kUnsupported},
    {314, "sched_setattr", nullptr, {{kInt, kPtr, kFlags}}, Support::kUnsupported},
    {315, "sched_getattr", nullptr, {{kInt, kPtr, kInt, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace sched_calls

}  // namespace msentry::syscalls
