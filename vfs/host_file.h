// HostFile: an open regular file whose bytes are in a host file that we hold an fd of: memfds of
// tmpfs, and files whose fd the gofer donated. Reads and writes are one host call each, and mmap
// maps the host fd itself, so mappings and reads agree.
//
// The inode (a HostFileOwner) keeps size and times: the description tells it of every write.
// Appends and truncation run under Inode::content_mutex.
#pragma once

#include "sentry/base/scoped_fd.h"
#include "vfs/file_description.h"

namespace msentry::vfs {

// A host fd shared by the descriptions that use it.
class HostFd : public RefCounted<HostFd> {
 public:
  explicit HostFd(ScopedFd fd) : fd_(std::move(fd)) {}
  int get() const { return fd_.get(); }

 private:
  const ScopedFd fd_;
};

// What the inode behind a HostFile does for it. Never parks unless said.
class HostFileOwner {
 public:
  // Before bytes [offset, offset + n) are written: quota, seals. May park. Default: fine.
  virtual Result<> BeforeHostWrite(const OpContext& ctx, uint64_t offset, uint64_t n);
  // Bytes were written up to `end`: mtime, ctime, size = max(size, end).
  virtual void AfterHostWrite(const OpContext& ctx, uint64_t end) = 0;
  virtual void AfterHostRead(const OpContext& ctx) = 0;  // atime, as the mount's policy says
  // The host said ENOSPC: waits until what was given up lately is free, and says whether there was
  // something, so that another attempt is worth it. May park. Default: no.
  virtual bool AwaitFreedSpace() { return false; }
  // The fd to map. `shared_writable`: writes will bypass us, size and times are the host's from now
  // on; seals say EPERM. Else an fd that cannot be written through (mm/mapped_file.h). May park.
  // `opened` is the description's own fd.
  virtual Result<RefPtr<HostFd>> FdForMapping(const RefPtr<HostFd>& opened, bool shared_writable);
  // The size to append at; content_mutex held.
  virtual Result<uint64_t> HostFileSize(const OpContext& ctx) = 0;

 protected:
  ~HostFileOwner() = default;
};

class HostFile : public SeekableFile {
 public:
  // `owner` is (part of) location's inode. `fd` is open for what `flags` say.
  HostFile(Location location, int flags, HostFileOwner& owner, RefPtr<HostFd> fd);

  Result<size_t> PRead(const OpContext& ctx, mm::IoSequence& to, uint64_t offset) override;
  Result<size_t> PWrite(const OpContext& ctx, mm::IoSequence& from, uint64_t offset) override;
  Result<HostMappingInfo> HostBacking(bool shared_writable) override;
  Result<> Fsync(const OpContext& ctx, bool data_only) override;
  Result<> Allocate(const OpContext& ctx, int mode, uint64_t offset, uint64_t length) override;
  Result<size_t> CopyRangeFrom(const OpContext& ctx, FileDescription& source,
                               uint64_t source_offset, uint64_t offset, size_t n) override;
  int host_fd() const override { return fd_->get(); }

 protected:
  Result<uint64_t> EndOffset(const OpContext& ctx) override;
  Result<int64_t> SeekData(const OpContext& ctx, int64_t offset, bool hole) override;

 private:
  HostFileOwner& owner_;
  const RefPtr<HostFd> fd_;
  Mutex mutex_;
  RefPtr<HostFd> mapped_[2] ABSL_GUARDED_BY(mutex_);  // by shared_writable; kept for the mappings
};

}  // namespace msentry::vfs
