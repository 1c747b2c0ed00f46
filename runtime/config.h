// From the public Config to the message that travels: checks everything that can be checked before
// a process starts.
#pragma once

#include <string>

#include "runtime/msentry.h"
#include "sentry/control/config.pb.h"

namespace msentry::runtime {

// false, and one line that names the thing, when `config` cannot work.
bool ConvertConfig(const Config& config, control::Config* out, std::string* error);

}  // namespace msentry::runtime
