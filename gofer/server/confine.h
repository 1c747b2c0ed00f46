// How the gofer gives up everything it does not need, before it reads the first request. Called by
// Main while the process has one thread. The order matters; the threat model says what each step is
// worth (docs/threat-model.md).
#pragma once

#include <string>
#include <vector>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::gofer {

// What could not be done, one sentence each.
using Warnings = std::vector<std::string>;

struct ConfinedRoot {
  ScopedFd fd;  // O_PATH of an attach point's root; replaced by one in a private mount
  bool read_only = false;
};

// A mount namespace of our own, when we may have one: only mounts of one's own namespace can be
// cloned, so the roots must be opened after this. kEPERM without CAP_SYS_ADMIN.
Result<> EnterMountNamespace();

// Replaces every root by one in a detached private copy of its mounts (nodev, nosuid, read-only
// where asked for: nothing above a root can be reached from it), and makes an empty directory the
// process's root. Needs CAP_SYS_ADMIN, and EnterMountNamespace before; kEPERM without (nothing is
// changed then).
Result<> IsolateMounts(std::vector<ConfinedRoot>& roots);

// Landlock: no file outside the roots can be opened, made, removed or renamed; nothing can be
// changed below a read-only one. Works without privileges.
Result<> RestrictToRoots(const std::vector<ConfinedRoot>& roots);

// Makes /proc/self/fd the working directory: host::FdPath needs it, and nothing else of /proc.
// Before IsolateMounts (which then detaches it from the rest of /proc).
Result<> EnterFdDirectory();

// Only the capabilities that serving takes stay (none of an ordinary user's). No privileges can be
// gained back; no core dumps; no ptrace by others of the same user.
Result<> DropPrivileges(bool any_writable);

// The allowlist of system calls. A call outside it kills the process.
Result<> InstallSeccompFilter();

}  // namespace msentry::gofer
