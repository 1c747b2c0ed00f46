#include "vfs/host_file.h"

#include <linux/falloc.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/inode.h"

namespace msentry::vfs {

namespace {
constexpr size_t kLongTransfer = 256 * 1024;  // host calls that move more do not hold up a worker
}

Result<> HostFileOwner::BeforeHostWrite(const OpContext&, uint64_t, uint64_t) { return Ok(); }
Result<RefPtr<HostFd>> HostFileOwner::FdForMapping(const RefPtr<HostFd>& opened, bool) {
  return opened;
}

HostFile::HostFile(Location location, int flags, HostFileOwner& owner, RefPtr<HostFd> fd)
    : SeekableFile(std::move(location), flags), owner_(owner), fd_(std::move(fd)) {}

Result<size_t> HostFile::PRead(const OpContext& ctx, mm::IoSequence& to, uint64_t offset) {
  size_t n = TRY(to.ReadFromHost(fd_->get(), offset, to.size()));
  if (n != 0 && !(flags() & O_NOATIME)) owner_.AfterHostRead(ctx);
  return n;
}

Result<size_t> HostFile::PWrite(const OpContext& ctx, mm::IoSequence& from, uint64_t offset) {
  if (from.empty()) return 0;
  TRY(owner_.BeforeHostWrite(ctx, offset, from.size()));
  int rwf = flags() & O_DSYNC ? RWF_DSYNC : 0;
  Result<size_t> n = from.WriteToHost(fd_->get(), offset, from.size(), rwf);
  if (!n.ok() && n.error() == Errno::kENOSPC && owner_.AwaitFreedSpace()) {
    n = from.WriteToHost(fd_->get(), offset, from.size(), rwf);
  }
  if (n.ok() && *n != 0) owner_.AfterHostWrite(ctx, offset + *n);
  return n;
}

Result<uint64_t> HostFile::EndOffset(const OpContext& ctx) { return owner_.HostFileSize(ctx); }

Result<int64_t> HostFile::SeekData(const OpContext&, int64_t offset, bool hole) {
  off_t to = lseek(fd_->get(), offset, hole ? SEEK_HOLE : SEEK_DATA);
  if (to < 0) return FromHost(errno);
  return to;
}

Result<HostMappingInfo> HostFile::HostBacking(bool shared_writable) {
  {
    MutexLock lock(mutex_);
    if (mapped_[shared_writable]) return HostMappingInfo{mapped_[shared_writable]->get(), 0};
  }
  RefPtr<HostFd> fd = TRY(owner_.FdForMapping(fd_, shared_writable));
  MutexLock lock(mutex_);
  if (!mapped_[shared_writable]) mapped_[shared_writable] = std::move(fd);
  return HostMappingInfo{mapped_[shared_writable]->get(), 0};
}

Result<> HostFile::Fsync(const OpContext&, bool data_only) {
  int error = 0;
  sched::Offload([&] {
    if ((data_only ? fdatasync(fd_->get()) : fsync(fd_->get())) < 0) error = errno;
  });
  if (error) return FromHost(error);
  return Ok();
}

Result<> HostFile::Allocate(const OpContext& ctx, int mode, uint64_t offset, uint64_t length) {
  sched::FiberMutexLock lock(inode().content_mutex());
  if (!(mode & FALLOC_FL_PUNCH_HOLE)) TRY(owner_.BeforeHostWrite(ctx, offset, length));
  int error = 0;
  auto allocate = [&] { error = fallocate(fd_->get(), mode, offset, length) < 0 ? errno : 0; };
  sched::Offload(allocate);
  if (error == ENOSPC && owner_.AwaitFreedSpace()) sched::Offload(allocate);
  if (error) return FromHost(error);
  owner_.AfterHostWrite(ctx, mode & FALLOC_FL_KEEP_SIZE ? 0 : offset + length);
  return Ok();
}

Result<size_t> HostFile::CopyRangeFrom(const OpContext& ctx, FileDescription& source,
                                       uint64_t source_offset, uint64_t offset, size_t n) {
  if (source.host_fd() < 0 || !source.inode().IsRegular()) return Errno::kEXDEV;
  TRY(owner_.BeforeHostWrite(ctx, offset, n));
  off_t in = source_offset, out = offset;
  ssize_t moved = 0;
  int error = 0;
  auto copy = [&] {
    moved = copy_file_range(source.host_fd(), &in, fd_->get(), &out, n, 0);
    error = moved < 0 ? errno : 0;
  };
  auto run = [&] {
    if (n > kLongTransfer) {
      sched::Offload(copy);
    } else {
      copy();
    }
  };
  run();
  if (error == ENOSPC && owner_.AwaitFreedSpace()) run();
  // What the host's file systems or our own filter cannot do goes through a buffer.
  if (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM) {
    return Errno::kEXDEV;
  }
  if (error) return FromHost(error);
  if (moved > 0) owner_.AfterHostWrite(ctx, offset + moved);
  return static_cast<size_t>(moved);
}

}  // namespace msentry::vfs
