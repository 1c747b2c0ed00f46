// RemoteFile: an open regular file of a server without fd donation (plain 9P2000.L): every read and
// write is a message. Private mappings get a snapshot of the file in a memfd; shared writable ones
// are not possible.
#pragma once

#include "fsimpl/p9/inode.h"
#include "vfs/file_description.h"

namespace msentry::p9 {

class RemoteFile : public vfs::SeekableFile {
 public:
  // Takes over `handle`, a fid opened for what `flags` say.
  RemoteFile(vfs::Location location, int flags, P9Inode& inode, FidNumber handle)
      : SeekableFile(std::move(location), flags), inode_(inode), handle_(handle) {}
  ~RemoteFile() override { inode_.client().Clunk(handle_); }

  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) override;
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t offset) override;
  Result<vfs::HostMappingInfo> HostBacking(bool shared_writable) override;
  Result<> Fsync(const vfs::OpContext& ctx, bool data_only) override;

 private:
  P9Inode& inode_;  // the description keeps it
  const FidNumber handle_;
  sched::FiberMutex snapshot_mutex_;
  ScopedFd snapshot_;  // guarded by snapshot_mutex_; kept for the mappings
};

}  // namespace msentry::p9
