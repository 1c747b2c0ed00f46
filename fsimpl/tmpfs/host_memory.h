// HostMemory: the host file behind a file of tmpfs, and a way to get a read-only descriptor of it:
// what a stub maps must not be writable through the back door (mm/mapped_file.h). Internal to
// tmpfs.
#pragma once

#include "sentry/base/result.h"
#include "vfs/host_file.h"

namespace msentry::tmpfs {

class HostMemory {
 public:
  static Result<std::unique_ptr<HostMemory>> Create();

  const RefPtr<vfs::HostFd>& fd() const { return fd_; }
  // An fd that cannot be written through. With a /proc to ask (mm/host_proc.h) it is the same file.
  // Else a sealed copy of what the file holds now, which does not show later changes: the caller
  // says `changed` when the last copy is out of date. Calls must not run at the same time.
  Result<RefPtr<vfs::HostFd>> ReadOnly(bool changed);

 private:
  explicit HostMemory(RefPtr<vfs::HostFd> fd) : fd_(std::move(fd)) {}
  Result<RefPtr<vfs::HostFd>> SealedCopy();

  const RefPtr<vfs::HostFd> fd_;
  bool is_copy_ = false;
  RefPtr<vfs::HostFd> read_only_;
};

}  // namespace msentry::tmpfs
