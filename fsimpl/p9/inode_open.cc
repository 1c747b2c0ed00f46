// P9Inode: opening, and the host fds behind open files.
#include <fcntl.h>
#include <sys/stat.h>

#include "fsimpl/p9/directory.h"
#include "fsimpl/p9/inode.h"
#include "fsimpl/p9/remote_file.h"

namespace msentry::p9 {
namespace {

bool IsReadOnlyFd(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
}

}  // namespace

Result<RefPtr<vfs::FileDescription>> P9Inode::Open(const vfs::OpContext&,
                                                   const vfs::OpenArgs& args) {
  if (IsDir()) {
    return RefPtr<vfs::FileDescription>(MakeRef<P9Directory>(args.location, args.flags, *this));
  }
  if (!IsRegular()) return Errno::kENXIO;
  int access = args.flags & O_ACCMODE;
  if (client().extended()) {
    RefPtr<vfs::HostFd> fd = TRY(HostFdFor(access));
    return RefPtr<vfs::FileDescription>(MakeRef<vfs::HostFile>(
        args.location, args.flags, static_cast<vfs::HostFileOwner&>(*this), std::move(fd)));
  }
  OpenedHandle opened = TRY(client().Open(fid_, static_cast<uint32_t>(access)));
  return RefPtr<vfs::FileDescription>(
      MakeRef<RemoteFile>(args.location, args.flags, *this, opened.handle));
}

void P9Inode::KeepFd(RefPtr<vfs::HostFd> fd, int access_mode) {
  {
    MutexLock lock(mutex_);
    RefPtr<vfs::HostFd>& slot = access_mode == O_RDONLY ? read_fd_ : write_fd_;
    if (slot && (access_mode != O_RDWR || write_fd_reads_)) return;  // another open was faster
    slot.swap(fd);
    if (access_mode != O_RDONLY) write_fd_reads_ = access_mode == O_RDWR;
  }  // an fd that was replaced is closed here, unlocked
  FdCache::Get().Add(hook_);
}

void P9Inode::DropFds() {
  RefPtr<vfs::HostFd> read, write;
  MutexLock lock(mutex_);
  read.swap(read_fd_);
  write.swap(write_fd_);
  write_fd_reads_ = true;
}

Result<RefPtr<vfs::HostFd>> P9Inode::HostFdFor(int access_mode) {
  {
    MutexLock lock(mutex_);
    hook_.referenced.store(true, std::memory_order_relaxed);
    if (access_mode == O_RDONLY && read_fd_) return read_fd_;
    if (write_fd_ && (access_mode == O_WRONLY || write_fd_reads_)) return write_fd_;
  }
  // One fd serves writers and those who read and write.
  int mode = access_mode == O_RDONLY ? O_RDONLY : O_RDWR;
  Result<OpenedHandle> opened = client().Open(fid_, static_cast<uint32_t>(mode));
  if (!opened.ok() && access_mode == O_WRONLY && opened.error() == Errno::kEACCES) {
    mode = O_WRONLY;
    opened = client().Open(fid_, O_WRONLY);
  }
  if (!opened.ok()) return opened.error();
  RefPtr<vfs::HostFd> fd = MakeRef<vfs::HostFd>(std::move(opened->fd));
  KeepFd(fd, mode);
  return fd;
}

void P9Inode::AfterHostWrite(const vfs::OpContext&, uint64_t) { MarkStale(); }

// The host has updated the access time, as its mount says.
void P9Inode::AfterHostRead(const vfs::OpContext&) {
  if (!stale_.load(std::memory_order_relaxed)) MarkStale();
}

Result<RefPtr<vfs::HostFd>> P9Inode::FdForMapping(const RefPtr<vfs::HostFd>& opened,
                                                  bool shared_writable) {
  if (shared_writable) {
    mapped_shared_.store(true, std::memory_order_relaxed);
    return opened;
  }
  // A stub can turn any mapping of a writable fd writable: it gets one that is not.
  if (IsReadOnlyFd(opened->get())) return opened;
  {
    MutexLock lock(mutex_);
    if (read_fd_) return read_fd_;
  }
  OpenedHandle donated = TRY(client().Open(fid_, O_RDONLY));
  RefPtr<vfs::HostFd> fd = MakeRef<vfs::HostFd>(std::move(donated.fd));
  KeepFd(fd, O_RDONLY);
  return fd;
}

Result<uint64_t> P9Inode::HostFileSize(const vfs::OpContext&) {
  TRY(Refresh(vfs::kAttrSize));
  MutexLock lock(mutex_);
  return attr_.size;
}

}  // namespace msentry::p9
