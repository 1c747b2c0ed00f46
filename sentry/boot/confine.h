// How the sentry gives up what it does not need, step by step, in one host thread
// (docs/threat-model.md says what each is worth).
//
//   TRY(EnterOwnMounts());            // while still capable
//   TRY(BecomeNobody(true));          // before the platform makes its first stub
//   ScopedFd proc = TRY(OpenHostProc(true));
//   ... Platform::Create, everything that opens a host path ...
//   TRY(LeaveHostFiles());            // an empty root
//   TRY(DropCapabilities());
//   TRY(InstallFilter());             // filter.h; the last step
#pragma once

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::boot {

// A mount namespace of our own, so that the root can be replaced. Needs capabilities.
Result<> EnterOwnMounts();

// Takes an unprivileged host user id, keeping the capabilities until DropCapabilities(). Stubs
// forked after this have it too.
Result<> BecomeNobody();

// A directory of the host's /proc that survives the loss of the root: figures of the stubs, and
// reading-only copies of our own descriptors (mm/host_proc.h). With namespaces of our own it is a
// fresh mount that shows our pid namespace only.
Result<ScopedFd> OpenHostProc(bool own_namespaces);

// The root and working directory become an empty read-only directory, for this process and every
// stub. Needs EnterOwnMounts before.
Result<> LeaveHostFiles();

// Without namespaces, in place of LeaveHostFiles: Landlock leaves reading /proc, `proc_fd`, and
// signals to our own children. kEOPNOTSUPP where the host has no Landlock. Before the first thread
// and the first stub.
Result<> RestrictToProc(int proc_fd);

// None left, none to be gained: permitted, effective, inheritable, ambient and bounding sets,
// no_new_privs, no core dumps. Also for an ordinary user without namespaces.
Result<> DropCapabilities();

}  // namespace msentry::boot
