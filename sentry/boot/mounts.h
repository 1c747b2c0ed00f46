// The root file system of a sandbox: an overlay of what the gofer serves, and the usual mounts on
// it.
//
//   /                overlay: the host directory read-only, the private writable layer above it
//   /proc /sys       ours
//   /dev             devtmpfs, with /dev/pts and /dev/shm
//   /tmp             tmpfs
//   the working directory, when it lies under /tmp: the overlay's view of it
//   binds            the host's own files, through the gofer
//
// On a fiber: the file systems wait for the gofer.
#pragma once

#include <string>

#include "fsimpl/devpts/devpts.h"
#include "procfs/proc_fs.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/control/config.pb.h"
#include "sentry/kernel/kernel.h"

namespace msentry::boot {

struct MountOptions {
  const control::Config& config;
  procfs::HostFacts host;
  RefPtr<devpts::DevptsFs> devpts;
};

// Registers the file system types, mounts, and tells the kernel its root. *cwd is the directory the
// program starts in. On failure, *why is one line that names the thing.
Result<> MountAll(kernel::Kernel& kernel, ScopedFd gofer, const MountOptions& options,
                  std::string* cwd, std::string* why);

}  // namespace msentry::boot
