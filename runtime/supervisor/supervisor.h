// The supervisor: a process between the client and the sandbox (`msentry supervise`, hidden).
//
// It makes the namespaces, forks the sentry (pid 1 of the pid namespace) and the gofer, waits, and
// removes the state directory. Nothing of a sandbox outlives it, and it outlives nothing:
//   - the client dies or closes: its pidfd or the report socket's end of file tells; everything is
//   killed;
//   - the supervisor dies: the sentry's parent-death signal kills it, the pid namespace takes the
//   rest along (without one,
//     gofer and stubs have parent-death signals of their own), the client removes the directory;
//   - the sentry or the gofer dies: the other one is killed, and the client is told.
#pragma once

namespace msentry::runtime {

// The body of the hidden command: descriptors as in runtime/handoff.h. Returns the exit status of
// the process.
int SupervisorMain();

}  // namespace msentry::runtime
