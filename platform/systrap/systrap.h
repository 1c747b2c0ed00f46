// The default platform: guest code runs natively in stub processes under a seccomp filter; a blob
// of ours in each (stub/) catches its system calls and talks to the sentry through shared memory.
// docs/systrap.md describes the design, its threat model and what it measured.
//
// Only platform.cc includes this; everybody else uses platform/platform.h.
#pragma once

#include <memory>
#include <string>

#include "platform/platform.h"

namespace msentry::platform {

Result<std::unique_ptr<Platform>> CreateSystrap(sched::Scheduler& scheduler, const Options& options,
                                                std::string* why);

}  // namespace msentry::platform
