// What of the host stays invisible in a sandbox unless it is asked for (issue's rule: private host
// keys, other users' and root's homes, password hashes). The list is in docs/threat-model.md too.
#pragma once

#include <vector>

#include "gofer/config.h"
#include "sentry/control/config.pb.h"

namespace msentry::runtime {

// Paths below config.rootfs() that the gofer hides, with what stands in their place.
std::vector<gofer::HiddenPath> HiddenPaths(const control::Config& config);

// The text of a shadow(5) or gshadow(5) file with every password locked.
std::string LockPasswords(std::string_view shadow);

// hosts(5) of a sandbox of that name: the loopback is all its network.
std::string HostsFile(std::string_view hostname);

}  // namespace msentry::runtime
