// Files that the starter of the sandbox handed over as host descriptors: the guest's standard
// input, output and error when they are a pipe, a socket, a character device or a file of the host.
//
//   auto file = TRY(hostfd::Wrap(vfs, scheduler, std::move(fd)));    // at boot, before confinement
//
// The guest can do with one what its access mode allows: read, write, seek, stat, poll; and nothing
// that reaches anything else of the host. Permissions and owners are not the guest's to change.
//
// The host's open file description is shared with processes outside, so its O_NONBLOCK is left
// alone: pipes and devices are opened again through /proc/self/fd to have one of our own; where
// that is refused, and for sockets, every call asks not to wait (RWF_NOWAIT, MSG_DONTWAIT).
#pragma once

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"
#include "vfs/file_description.h"
#include "vfs/vfs.h"

namespace msentry::hostfd {

// kEBADF for a descriptor without an access mode that can be used (O_PATH), kEINVAL for a
// directory.
Result<RefPtr<vfs::FileDescription>> Wrap(vfs::Vfs& vfs, sched::Scheduler& scheduler, ScopedFd fd);

}  // namespace msentry::hostfd
