// msentry profile show [NAME|FILE]
#pragma once

#include <string>
#include <vector>

namespace msentry::cmd {

// `args`: what follows `profile`. The exit status.
int ShowProfile(std::vector<std::string> args);

}  // namespace msentry::cmd
