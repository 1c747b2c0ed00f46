// HostMemory: the host file behind a file of tmpfs, and a way to get a read-only descriptor of it: what a
// stub maps must not be writable through the back door (mm/mapped_file.h). Internal to tmpfs.
#pragma once

#include "sentry/base/result.h"
#include "vfs/host_file.h"

namespace msentry::tmpfs {

class HostMemory {
 public:
  static Result<std::unique_ptr<HostMemory>> Create();
  ~HostMemory();

  const RefPtr<vfs::HostFd>& fd() const { return fd_; }
  // An fd that cannot be written through. With a memory directory, or /proc, it is the same file. Else a
  // sealed copy of what the file holds now: the caller says `changed` when that is not what the last one
  // was made of. Calls must not run at the same time.
  Result<RefPtr<vfs::HostFd>> ReadOnly(bool changed);

 private:
  HostMemory(RefPtr<vfs::HostFd> fd, uint64_t name) : fd_(std::move(fd)), name_(name) {}
  Result<RefPtr<vfs::HostFd>> SealedCopy();

  const RefPtr<vfs::HostFd> fd_;
  uint64_t name_;  // in the memory directory; 0: it has none (any more)
  bool is_copy_ = false;
  RefPtr<vfs::HostFd> read_only_;
};

}  // namespace msentry::tmpfs
