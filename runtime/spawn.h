// Starts the supervisor process from any program, single-threaded or not (posix_spawn(3)).
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace msentry::runtime {

// The msentry program: `configured`, else $MSENTRY_BINARY, else the installed one. Empty and *error
// set when there is none.
std::string FindBinary(const std::string& configured, std::string* error);

// Runs `binary supervise` in a session of its own, with descriptor `first` of each pair as `second`
// (a HandoffFd), 0 and 1 on /dev/null and 2 on ours, no signal blocked or ignored. The pid, or -1
// and *error.
pid_t SpawnSupervisor(const std::string& binary,
                      const std::vector<std::pair<int, int>>& descriptors, std::string* error);

}  // namespace msentry::runtime
