// System calls: the machine: names, log, uptime, power.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysUname(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSysinfo(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSyslog(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSethostname(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSetdomainname(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysGetrandom(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysReboot(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysIopl(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysIoperm(kernel::Task& t, const SyscallArgs& a);

namespace system_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {63, "uname", SysUname, {{Out(390)}}, Support::kFull},
    {99, "sysinfo", SysSysinfo, {{Out(112)}}, Support::kFull},
    {103, "syslog", SysSyslog, {{kInt, BufOut(2), kInt}}, Support::kFull},
    {134, "uselib", nullptr, {{kPath}}, Support::kUnsupported},
    {136, "ustat", nullptr, {{kInt, kPtr}}, Support::kUnsupported},
    {139, "sysfs", nullptr, {{kInt, kPtr, kPtr}}, Support::kUnsupported},
    {154, "modify_ldt", nullptr, {{kInt, kPtr, kInt}}, Support::kUnsupported},
    {156, "_sysctl", nullptr, {{kPtr}}, Support::kUnsupported},
    {169, "reboot", SysReboot, {{kHex, kHex, kInt, kPtr}}, Support::kFull},
    {170, "sethostname", SysSethostname, {{BufIn(1), kInt}}, Support::kFull},
    {171, "setdomainname", SysSetdomainname, {{BufIn(1), kInt}}, Support::kFull},
    {172, "iopl", SysIopl, {{kInt}}, Support::kFull},
    {173, "ioperm", SysIoperm, {{kHex, kInt, kInt}}, Support::kFull},
    {174, "create_module", nullptr, {}, Support::kUnsupported},
    {175, "init_module", nullptr, {{kPtr, kInt, kPtr}}, Support::kUnsupported},
    {176, "delete_module", nullptr, {{kPtr, kFlags}}, Support::kUnsupported},
    {177, "get_kernel_syms", nullptr, {}, Support::kUnsupported},
    {178, "query_module", nullptr, {}, Support::kUnsupported},
    {180, "nfsservctl", nullptr, {}, Support::kUnsupported},
    {181, "getpmsg", nullptr, {}, Support::kUnsupported},
    {182, "putpmsg", nullptr, {}, Support::kUnsupported},
    {183, "afs_syscall", nullptr, {}, Support::kUnsupported},
    {184, "tuxcall", nullptr, {}, Support::kUnsupported},
    {185, "security", nullptr, {}, Support::kUnsupported},
    {205, "set_thread_area", nullptr, {{kPtr}}, Support::kUnsupported},
    {211, "get_thread_area", nullptr, {{kPtr}}, Support::kUnsupported},
    {212, "lookup_dcookie", nullptr, {{kHex, kPtr, kInt}}, Support::kUnsupported},
    {214, "epoll_ctl_old", nullptr, {}, Support::kUnsupported},
    {215, "epoll_wait_old", nullptr, {}, Support::kUnsupported},
    {236, "vserver", nullptr, {}, Support::kUnsupported},
    {246, "kexec_load", nullptr, {{kHex, kInt, kPtr, kFlags}}, Support::kUnsupported},
    {298, "perf_event_open", nullptr, {{kPtr, kInt, kInt, kFd, kFlags}}, Support::kUnsupported},
    {313, "finit_module", nullptr, {{kFd, kPtr, kFlags}}, Support::kUnsupported},
    {318, "getrandom", SysGetrandom, {{BufOut(1), kInt, kFlags}}, Support::kFull},
    {320, "kexec_file_load", nullptr, {{kFd, kFd, kInt, kPtr, kFlags}}, Support::kUnsupported},
    {321, "bpf", nullptr, {{kInt, kPtr, kInt}}, Support::kUnsupported},
    {444, "landlock_create_ruleset", nullptr, {{kPtr, kInt, kFlags}}, Support::kUnsupported},
    {445, "landlock_add_rule", nullptr, {{kFd, kInt, kPtr, kFlags}}, Support::kUnsupported},
    {446, "landlock_restrict_self", nullptr, {{kFd, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace system_calls

}  // namespace msentry::syscalls
