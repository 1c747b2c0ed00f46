// The portable platform: guest code runs under PTRACE_SYSEMU, so that no system call of a guest
// ever reaches the host; what must happen in the guest's address space (mmap, clone) is injected
// into the stopped thread. Slow (some 10 us a call) and dependent on nothing but ptrace(2).
//
// Only platform.cc includes this; everybody else uses platform/platform.h.
#pragma once

#include <memory>
#include <string>

#include "platform/platform.h"

namespace msentry::platform {

Result<std::unique_ptr<Platform>> CreatePtrace(sched::Scheduler& scheduler, const Options& options,
                                               std::string* why);

}  // namespace msentry::platform
