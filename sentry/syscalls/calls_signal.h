// System calls: signals.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace signal_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {13, "rt_sigaction", nullptr, {{kSig, In(32), Out(32), kInt}}, Support::kUnsupported},
    {14, "rt_sigprocmask", nullptr, {{kInt, In(8), Out(8), kInt}}, Support::kUnsupported},
    {15, "rt_sigreturn", nullptr, {}, Support::kUnsupported},
    {34, "pause", nullptr, {}, Support::kUnsupported},
    {62, "kill", nullptr, {{kInt, kSig}}, Support::kUnsupported},
    {127, "rt_sigpending", nullptr, {{Out(8), kInt}}, Support::kUnsupported},
    {128, "rt_sigtimedwait", nullptr, {{In(8), Out(128), In(16), kInt}}, Support::kUnsupported},
    {129, "rt_sigqueueinfo", nullptr, {{kInt, kSig, In(128)}}, Support::kUnsupported},
    {130, "rt_sigsuspend", nullptr, {{In(8), kInt}}, Support::kUnsupported},
    {131, "sigaltstack", nullptr, {{In(24), Out(24)}}, Support::kUnsupported},
    {200, "tkill", nullptr, {{kInt, kSig}}, Support::kUnsupported},
    {219, "restart_syscall", nullptr, {}, Support::kUnsupported},
    {234, "tgkill", nullptr, {{kInt, kInt, kSig}}, Support::kUnsupported},
    {297, "rt_tgsigqueueinfo", nullptr, {{kInt, kInt, kSig, In(128)}}, Support::kUnsupported},
};
// clang-format on
}  // namespace signal_calls

}  // namespace msentry::syscalls
