// The gofer: the only process of a sandbox that opens host files. It serves 9P2000.L (and our
// extension, gofer/wire/messages.h) on inherited sockets until the last of them closes.
//
// Trusts nobody: the peer may send anything, and other host processes may rename and replace what
// it serves at any moment. Every path step is one component relative to a directory fd, links are
// never followed, devices, fifos and sockets of the host are never opened.
#pragma once

#include "gofer/config.h"

namespace msentry::gofer {

// Opens the attach points, confines the calling process for good (namespaces and an assembled root
// where the host allows, capabilities, no_new_privs, resource limits, seccomp) and serves until
// every connection is closed. Call it early in a process of its own, still single-threaded. Returns
// the exit status: 0, or 1 after one line on stderr that says what could not be opened or set up.
int Main(const Config& config);

// Lets the calling process and its children have as many fds as the host allows: every file that
// the sandbox knows costs the gofer one. Root can raise the hard limit, but not from inside a user
// namespace: call it before entering one. Main calls it too.
void RaiseFdLimit();

}  // namespace msentry::gofer
