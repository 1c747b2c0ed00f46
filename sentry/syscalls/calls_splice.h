// System calls: moving data between files.
#pragma once

#include "sentry/syscalls/syscall.h"

namespace msentry::syscalls {

namespace splice_calls {
using namespace arg;  // the kinds, inside this list only
// clang-format off: one line a call
inline constexpr SyscallEntry kTable[] = {
    {40, "sendfile", nullptr, {{kFd, kFd, kPtr, kInt}}, Support::kUnsupported},
    {275, "splice", nullptr, {{kFd, kPtr, kFd, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {276, "tee", nullptr, {{kFd, kFd, kInt, kFlags}}, Support::kUnsupported},
    {278, "vmsplice", nullptr, {{kFd, kPtr, kInt, kFlags}}, Support::kUnsupported},
    {326, "copy_file_range", nullptr, {{kFd, kPtr, kFd, kPtr, kInt, kFlags}}, Support::kUnsupported},
};
// clang-format on
}  // namespace splice_calls

}  // namespace msentry::syscalls
