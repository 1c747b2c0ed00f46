// struct rusage from the kernel's own record of usage.
#pragma once

#include "sentry/abi/process.h"
#include "sentry/kernel/thread_group.h"

namespace msentry::syscalls {

abi::Rusage ToRusage(const kernel::Usage& usage);

}  // namespace msentry::syscalls
