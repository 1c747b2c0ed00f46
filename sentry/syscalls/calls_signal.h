// System calls: signals.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

Result<int64_t> SysRtSigaction(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigprocmask(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigreturn(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysPause(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysKill(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigpending(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigtimedwait(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigqueueinfo(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtSigsuspend(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysSigaltstack(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTkill(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRestartSyscall(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysTgkill(kernel::Task& t, const SyscallArgs& a);
Result<int64_t> SysRtTgsigqueueinfo(kernel::Task& t, const SyscallArgs& a);

namespace signal_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {13, "rt_sigaction", SysRtSigaction, {{kSig, In(32), Out(32), kInt}}, Support::kFull},
    {14, "rt_sigprocmask", SysRtSigprocmask, {{kInt, In(8), Out(8), kInt}}, Support::kFull},
    {15, "rt_sigreturn", SysRtSigreturn, {}, Support::kFull},
    {34, "pause", SysPause, {}, Support::kFull},
    {62, "kill", SysKill, {{kInt, kSig}}, Support::kFull},
    {127, "rt_sigpending", SysRtSigpending, {{Out(8), kInt}}, Support::kFull},
    {128, "rt_sigtimedwait", SysRtSigtimedwait, {{In(8), Out(128), In(16), kInt}}, Support::kFull},
    {129, "rt_sigqueueinfo", SysRtSigqueueinfo, {{kInt, kSig, In(128)}}, Support::kFull},
    {130, "rt_sigsuspend", SysRtSigsuspend, {{In(8), kInt}}, Support::kFull},
    {131, "sigaltstack", SysSigaltstack, {{In(24), Out(24)}}, Support::kFull},
    {200, "tkill", SysTkill, {{kInt, kSig}}, Support::kFull},
    {219, "restart_syscall", SysRestartSyscall, {}, Support::kFull},
    {234, "tgkill", SysTgkill, {{kInt, kInt, kSig}}, Support::kFull},
    {297, "rt_tgsigqueueinfo", SysRtTgsigqueueinfo, {{kInt, kInt, kSig, In(128)}}, Support::kFull},
};
// clang-format on
}  // namespace signal_calls

}  // namespace msentry::syscalls
