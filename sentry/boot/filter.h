// The sentry's own seccomp filter: what this process may still ask of the host while guest code
// runs.
#pragma once

#include <string>

#include "platform/platform.h"
#include "sentry/base/result.h"

namespace msentry::boot {

// Installs it for this thread and all that it starts; no_new_privs must be set. The last step of
// confinement: nothing opens a path after it. A forbidden call raises SIGSYS (crash.h reports it).
Result<> InstallFilter(platform::Kind platform, int proc_fd);

}  // namespace msentry::boot
