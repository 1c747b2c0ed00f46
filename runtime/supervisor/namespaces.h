// The host namespaces of a sandbox.
#pragma once

#include <string>
#include <vector>

#include "gofer/config.h"
#include "sentry/control/config.pb.h"

namespace msentry::runtime {

struct Namespaces {
  bool user = false;  // we hold every capability in a user namespace of our own
  bool privileged =
      false;         // no user namespace, but real capabilities (root on a host that forbids them)
  bool pid = false;  // the next child is pid 1 of a new pid namespace
  bool identity_ids = false;  // every id of ours means the same inside
  std::vector<std::string> warnings;
};

// Moves the calling, single-threaded process (and, for pid and time, its next children) into new
// namespaces: user, pid, net, ipc, uts, cgroup and time. What the host refuses is left out, with a
// warning that says what is weaker without it.
Namespaces EnterNamespaces(const control::Config& config);

// How host ids appear in what the gofer tells. Empty: unchanged.
std::vector<gofer::IdRange> OwnerMap(const Namespaces& namespaces, uint32_t own_id);

}  // namespace msentry::runtime
