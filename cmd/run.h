// `msentry run`.
#pragma once

#include <string>
#include <vector>

namespace msentry::cmd {

// Our own failures, as env(1), chroot(1) and timeout(1) have it.
inline constexpr int kFailure = 125;

// `args` are the words behind "run". Returns the exit status of the process.
int Run(std::vector<std::string> args);

}  // namespace msentry::cmd
