// The sentry process, from the moment the supervisor has made it until the sandbox ends.
//
// Called in a process of its own, single-threaded, as pid 1 of the sandbox's pid namespace where
// the host allows. Reads what it needs of the host, makes scheduler, platform, kernel and the root
// mounts, then confines itself for good (confine.h) and only then lets guest code run.
#pragma once

#include "sentry/base/scoped_fd.h"
#include "sentry/control/config.pb.h"

namespace msentry::boot {

struct Handoff {
  control::Config config;
  ScopedFd control;   // SOCK_SEQPACKET to the client: control.proto
  ScopedFd gofer;     // stream socket: 9P
  ScopedFd console;   // stream: the other end of the sandbox's terminal; invalid when there is none
  ScopedFd stdio[3];  // the guest's 0, 1, 2 where they are host descriptors
  bool own_namespaces =
      false;               // capabilities in a user namespace of our own: an empty root can be made
  bool host_root = false;  // our uid is the host's root: another one must be taken
};

// Attach names of the gofer that both sides agree on.
inline constexpr char kLowerAttach[] = "lower";
inline constexpr char kUpperAttach[] = "upper";
inline constexpr char kBindAttachPrefix[] = "bind";  // bind0, bind1, ...

// Returns the exit status of the process; what the client must know it has been told on the control
// socket.
int Main(Handoff handoff);

}  // namespace msentry::boot
