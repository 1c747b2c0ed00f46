// The seccomp filters of the stub processes. docs/systrap.md lists what they leave reachable and
// why.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "sentry/base/result.h"

namespace msentry::systrap {

// Everything that does not come from the blob's rip range is trapped (SIGSYS): a guest's call.
std::vector<sock_filter> GuestCallFilter();

// What the blob may ask the host for, with arguments checked; made by libseccomp. Calls that need
// the sentry's consent go to user notification; all the rest is trapped. With `strict` every memory
// call needs consent as well.
Result<std::vector<sock_filter>> StubCallFilter(bool strict);

}  // namespace msentry::systrap
