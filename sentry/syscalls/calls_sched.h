// System calls: scheduling policy, priority, affinity.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysSchedYield(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetpriority(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetpriority(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedSetparam(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetparam(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedSetscheduler(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetscheduler(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetPriorityMax(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetPriorityMin(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedRrGetInterval(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysIoprioSet(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysIoprioGet(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedSetaffinity(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetaffinity(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetcpu(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedSetattr(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSchedGetattr(kernel::Task& t, const SyscallArgs& a);

namespace sched_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {24, "sched_yield", SysSchedYield, {}, Support::kFull},
    {140, "getpriority", SysGetpriority, {{kInt, kInt}}, Support::kFull},
    {141, "setpriority", SysSetpriority, {{kInt, kInt, kInt}}, Support::kFull},
    {142, "sched_setparam", SysSchedSetparam, {{kInt, In(4)}}, Support::kFull},
    {143, "sched_getparam", SysSchedGetparam, {{kInt, Out(4)}}, Support::kFull},
    {144,
     "sched_setscheduler",
     SysSchedSetscheduler,
     {{kInt, kInt, In(4)}},
     Support::kPartial,
     "parameters are stored, without effect"},
    {145, "sched_getscheduler", SysSchedGetscheduler, {{kInt}}, Support::kFull},
    {146, "sched_get_priority_max", SysSchedGetPriorityMax, {{kInt}}, Support::kFull},
    {147, "sched_get_priority_min", SysSchedGetPriorityMin, {{kInt}}, Support::kFull},
    {148, "sched_rr_get_interval", SysSchedRrGetInterval, {{kInt, Out(16)}}, Support::kFull},
    {203, "sched_setaffinity", SysSchedSetaffinity, {{kInt, kInt, BufIn(1)}}, Support::kFull},
    {204, "sched_getaffinity", SysSchedGetaffinity, {{kInt, kInt, BufOut(1)}}, Support::kFull},
    {251, "ioprio_set", SysIoprioSet, {{kInt, kInt, kInt}}, Support::kFull},
    {252, "ioprio_get", SysIoprioGet, {{kInt, kInt}}, Support::kFull},
    {309, "getcpu", SysGetcpu, {{Out(4), Out(4), kPtr}}, Support::kFull},
    {314,
     "sched_setattr",
     SysSchedSetattr,
     {{kInt, kPtr, kFlags}},
     Support::kPartial,
     "parameters are stored, without effect, no SCHED_DEADLINE"},
    {315, "sched_getattr", SysSchedGetattr, {{kInt, kPtr, kInt, kFlags}}, Support::kFull},
};
// clang-format on
}  // namespace sched_calls

}  // namespace msentry::syscalls
