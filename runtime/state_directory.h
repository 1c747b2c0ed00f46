// The state directory of a sandbox on the host's disk: DIR/upper is the writable layer.
//
// A private one is named PARENT/msentry-UID/XXXXXX and is removed at the end, with
// PARENT/msentry-UID when it was the last. Its owner holds flock(2) on it; client and supervisor
// share the lock and each of them removes the directory when the other has died, so that one kill
// -9 leaves nothing. When both are killed at once the next sandbox of the same user sweeps it: a
// directory whose lock is free has no owner.
#pragma once

#include <string>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::runtime {

struct StateDirectory {
  std::string path;
  ScopedFd lock;  // the directory itself, locked
  bool keep = false;
};

// What the gofer serves of a state directory. The directory itself is hidden from the guest, this
// one is not.
inline std::string UpperPath(const std::string& state_path) { return state_path + "/upper"; }

// Where private ones are made: $TMPDIR, /var/tmp or /tmp, the first that is a writable directory
// and not a tmpfs when there is a choice.
std::string DefaultStateParent();

// Makes and locks a private one below `parent`, after sweeping what others left there.
bool CreateStateDirectory(const std::string& parent, StateDirectory* out, std::string* error);
// Makes if need be, and locks, `path`, which stays.
bool OpenKeptStateDirectory(const std::string& path, StateDirectory* out, std::string* error);

// Removes a private one.
void RemoveStateDirectory(const std::string& path);

// Removes the whole tree, whatever the guest made in it (deep trees, directories without
// permissions). Never follows a link. Best effort: what cannot be removed stays.
void RemoveTree(const std::string& path);

}  // namespace msentry::runtime
