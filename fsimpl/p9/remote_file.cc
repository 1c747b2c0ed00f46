#include "fsimpl/p9/remote_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sentry/mm/io_sequence.h"

namespace msentry::p9 {
namespace {

constexpr uint64_t kMaxSnapshotBytes = 1u << 30;

}  // namespace

Result<size_t> RemoteFile::PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) {
  std::vector<std::byte> buffer(std::min(to.size(), inode_.client().MaxIo()));
  size_t done = 0;
  while (!to.empty()) {
    size_t want = std::min(buffer.size(), to.size());
    Result<size_t> n = inode_.client().Read(handle_, offset + done, std::span(buffer).first(want));
    if (!n.ok()) return done > 0 ? Result<size_t>(done) : n.error();
    if (*n == 0) break;
    Result<size_t> copied = to.CopyOut(std::span<const std::byte>(buffer).first(*n));
    if (!copied.ok()) return done > 0 ? Result<size_t>(done) : copied.error();
    done += *copied;
    if (*copied < *n || *n < want) break;
  }
  return done;
}

Result<size_t> RemoteFile::PWrite(const vfs::OpContext&, mm::IoSequence& from, uint64_t offset) {
  std::vector<std::byte> buffer(std::min(from.size(), inode_.client().MaxIo()));
  size_t done = 0;
  while (!from.empty()) {
    size_t want = std::min(buffer.size(), from.size());
    Result<size_t> taken = from.CopyIn(std::span(buffer).first(want));
    if (!taken.ok()) return done > 0 ? Result<size_t>(done) : taken.error();
    if (*taken == 0) break;
    Result<size_t> n = inode_.client().Write(handle_, offset + done,
                                             std::span<const std::byte>(buffer).first(*taken));
    if (!n.ok()) return done > 0 ? Result<size_t>(done) : n.error();
    done += *n;
    inode_.MarkStale();
    if (*n < *taken || *taken < want) break;
  }
  return done;
}

Result<vfs::HostMappingInfo> RemoteFile::HostBacking(bool shared_writable) {
  if (shared_writable) return Errno::kENODEV;
  sched::FiberMutexLock lock(snapshot_mutex_);
  if (!snapshot_) {
    uint64_t size = TRY(inode_.client().GetAttr(inode_.fid())).size;
    if (size > kMaxSnapshotBytes) return Errno::kENODEV;
    ScopedFd memfd(memfd_create("9p", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memfd) return FromHost(errno);
    std::vector<std::byte> buffer(inode_.client().MaxIo());
    for (uint64_t at = 0; at < size;) {
      size_t n = TRY(inode_.client().Read(handle_, at, buffer));
      if (n == 0) break;
      if (pwrite(memfd.get(), buffer.data(), n, static_cast<off_t>(at)) !=
          static_cast<ssize_t>(n)) {
        return Errno::kENOMEM;
      }
      at += n;
    }
    // The stub gets it: nobody may write through it.
    constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (fcntl(memfd.get(), F_ADD_SEALS, kSeals) < 0) return FromHost(errno);
    snapshot_ = std::move(memfd);
  }
  return vfs::HostMappingInfo{.fd = snapshot_.get(), .offset = 0};
}

Result<> RemoteFile::Fsync(const vfs::OpContext&, bool data_only) {
  return inode_.client().Sync(handle_,
                              data_only ? Client::SyncKind::kData : Client::SyncKind::kFile);
}

}  // namespace msentry::p9
