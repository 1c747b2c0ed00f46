// FileDescription: an open file (open(2)'s "open file description"), shared by the descriptors that
// dup(2) and fork(2) make. Every kind of file derives from it.
//
//   class EventFd : public FileDescription {
//     Result<size_t> Read(const OpContext&, mm::IoSequence& to) override;  // EAGAIN: would block
//     sched::EventMask Readiness(sched::EventMask) override;
//     sched::WaitQueue& wait_queue() override { return queue_; }
//   };
//
// Files never block: they answer EAGAIN whatever O_NONBLOCK says, and the call layer waits on
// wait_queue() unless is_nonblocking(). Callers outside vfs use vfs/file_io.h for reading, writing
// and truncation, which checks the access mode and limits and raises inotify events; the virtuals
// here are the file's own part only.
//
// The destructor is the release: it runs when the last descriptor (and mapping) is gone, on a
// fiber, with no lock held. Flush() runs at every close(2).
#pragma once

#include <atomic>
#include <memory>

#include "absl/functional/function_ref.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"
#include "sentry/sched/wait_queue.h"
#include "vfs/context.h"
#include "vfs/location.h"
#include "vfs/types.h"

namespace msentry::mm {
class IoSequence;
}

namespace msentry::vfs {

class EpollLinks;
class UserMemory;

// Gets each entry; false: no room, stop before it.
using DirentSink = absl::FunctionRef<bool(const Dirent&)>;

// What a mapping of the file maps on the host.
struct HostMappingInfo {
  int fd = -1;          // owned by the file and alive as long as it; -1: anonymous memory
  uint64_t offset = 0;  // of the file's byte 0 in that fd
};

// fcntl(F_SETOWN) and O_ASYNC: who gets SIGIO. Interpreted by the kernel.
struct AsyncOwner {
  enum Type : uint8_t { kNobody, kThread, kProcess, kProcessGroup };
  Type type = kNobody;
  int32_t id = 0;      // in the root pid namespace
  int32_t signal = 0;  // F_SETSIG; 0 is SIGIO without information
  uint32_t uid = 0, euid = 0;
};

class FileDescription : public RefCounted<FileDescription> {
 public:
  // `location` may have no mount (pipes, sockets, anonymous inodes: MakeUnnamed dentries).
  FileDescription(Location location, int flags);
  virtual ~FileDescription();

  // The last reference takes the description out of the epoll sets and ends O_ASYNC first, while
  // the derived class is still whole. (Hides RefCounted::Unref.)
  void Unref() const {
    if (!DropRef()) return;
    const_cast<FileDescription*>(this)->SetAsyncWaiter(nullptr);
    if (epoll_links_.load(std::memory_order_acquire) != nullptr) LeaveEpollSets();
    delete this;
  }

  // Which class this is, for FileCast: the address of that class's kClassTag. There is no RTTI.
  virtual const void* ClassTag() const { return nullptr; }

  const Location& location() const { return location_; }
  Inode& inode() const { return *inode_; }
  bool readable() const { return access_ & 1; }
  bool writable() const { return access_ & 2; }
  bool is_path_only() const { return flags() & O_PATH; }
  // O_ACCMODE and the status flags, as F_GETFL shows them.
  int flags() const { return flags_.load(std::memory_order_relaxed); }
  bool is_nonblocking() const { return flags() & O_NONBLOCK; }
  // F_SETFL: changes O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK.
  Result<> SetStatusFlags(const OpContext& ctx, int flags);

  // ---- Data. Short counts are allowed; errors after some bytes are not reported. ----
  // At the file's position (streams: no position). Default EINVAL.
  virtual Result<size_t> Read(const OpContext& ctx, mm::IoSequence& to);
  virtual Result<size_t> Write(const OpContext& ctx, mm::IoSequence& from);
  // Default ESPIPE.
  virtual Result<size_t> PRead(const OpContext& ctx, mm::IoSequence& to, uint64_t offset);
  virtual Result<size_t> PWrite(const OpContext& ctx, mm::IoSequence& from, uint64_t offset);
  // At the end, whatever the offset (O_APPEND); *end is where it stopped. Default EINVAL.
  virtual Result<size_t> Append(const OpContext& ctx, mm::IoSequence& from, uint64_t* end);
  virtual Result<int64_t> Seek(const OpContext& ctx, int64_t offset, int whence);  // ESPIPE
  // Directory entries from the position on; "." and ".." included. Default ENOTDIR.
  virtual Result<> IterateDirents(const OpContext& ctx, DirentSink sink);

  // ---- Attributes. Defaults go to the inode. ----
  virtual Result<Attributes> GetAttr(const OpContext& ctx, AttrMask wanted);
  virtual Result<> SetAttr(const OpContext& ctx, const SetAttributes& attrs);

  // ---- The rest ----
  virtual Result<int64_t> Ioctl(const OpContext& ctx, uint32_t command, uint64_t argument,
                                UserMemory& memory);  // ENOTTY
  // Which of `mask` (and always kErr, kHup) hold now. Never parks. Default: always ready.
  virtual sched::EventMask Readiness(sched::EventMask mask);
  // Notified when readiness may have changed. Default: a queue that never is.
  virtual sched::WaitQueue& wait_queue();
  // How long a blocking read or write waits, nanoseconds (SO_RCVTIMEO, SO_SNDTIMEO, VTIME); kNever.
  virtual int64_t ReadTimeoutNs() { return sched::kNever; }
  virtual int64_t WriteTimeoutNs() { return sched::kNever; }
  // What a read whose timeout ran out gives: EAGAIN for sockets; a terminal says 0 bytes.
  virtual Result<size_t> ReadAfterTimeout() { return Errno::kEAGAIN; }
  // poll(2) and epoll(7) on regular files and directories differ: epoll says EPERM.
  virtual bool SupportsEpoll() const { return true; }
  // What mmap(2) maps: see mm::MappedFile::HostBacking, whose rules hold here (without
  // `shared_writable` the fd must not be writable, because stubs are hostile). The access mode is
  // mm's check. Default ENODEV. Get the MappedFile from vfs/mapping.h.
  virtual Result<HostMappingInfo> HostBacking(bool shared_writable);
  // A MappedFile that had asked for that backing is gone (once for each successful HostBacking).
  virtual void OnMappingGone(bool shared_writable);
  virtual Result<> Fsync(const OpContext& ctx, bool data_only);  // EINVAL
  // fallocate(2), FALLOC_FL_* modes. Default EOPNOTSUPP (ENODEV, ESPIPE checked by the caller).
  virtual Result<> Allocate(const OpContext& ctx, int mode, uint64_t offset, uint64_t length);
  // copy_file_range(2) within the sentry's own file kinds: moves data host to host when it can.
  // Default EXDEV: the caller copies through a buffer.
  virtual Result<size_t> CopyRangeFrom(const OpContext& ctx, FileDescription& source,
                                       uint64_t source_offset, uint64_t offset, size_t n);
  virtual Result<> Flush(const OpContext& ctx);  // at each close(2)
  // The open still waits for its peer (a FIFO without the other end): the call layer waits on
  // wait_queue() until this is false, then the open is complete.
  virtual bool OpenPending() { return false; }
  // Extra lines of /proc/PID/fdinfo/N ("eventfd-count: ...\n"). Default none.
  virtual std::string FdInfo() { return {}; }
  // The text /proc/PID/fd/N shows when there is no path; default: the dentry's name.
  virtual std::string AnonymousName() const;

  // A host fd that stands behind this file, for direct host I/O (sendfile, splice, the
  // in-stub read path), or -1. Owned by the file.
  virtual int host_fd() const { return -1; }

  // ---- Generic state ----
  // Current position, for fdinfo and tests.
  virtual int64_t position() const { return 0; }
  AsyncOwner async_owner() const;
  void SetAsyncOwner(const AsyncOwner& owner);
  // The kernel's registration for O_ASYNC on wait_queue(): replaces the one before (null: none).
  void SetAsyncWaiter(std::unique_ptr<sched::Waiter> waiter);

  // For vfs/operations/open.cc: what the open took, for the destructor to give back.
  void SetHolds(bool writer, bool denies_write, bool notify_close);

 private:
  friend class EpollLinks;
  void LeaveEpollSets() const;  // epoll.cc

  const Location location_;
  const RefPtr<Inode> inode_;
  mutable std::atomic<EpollLinks*> epoll_links_{nullptr};  // owned; made by the first EPOLL_CTL_ADD
  std::atomic<int> flags_;
  int access_;  // 1 read, 2 write; immutable after construction
  bool holds_write_ = false, denies_write_ = false, notifies_close_ = false;
  mutable Mutex mutex_;
  AsyncOwner owner_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<sched::Waiter> async_waiter_ ABSL_GUARDED_BY(mutex_);
};

// The description as a T, which has `static constexpr char kClassTag = 0;` (or a non-const static)
// and returns its address from ClassTag(); null when it is something else.
template <typename T>
T* FileCast(FileDescription& file) {
  return file.ClassTag() == &T::kClassTag ? static_cast<T*>(&file) : nullptr;
}

// A file with a position: Read and Write go to PRead and PWrite under the position lock, and a
// write with O_APPEND goes to the end atomically (under the inode's content_mutex).
class SeekableFile : public FileDescription {
 public:
  using FileDescription::FileDescription;
  Result<size_t> Read(const OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const OpContext& ctx, mm::IoSequence& from) override;
  Result<size_t> Append(const OpContext& ctx, mm::IoSequence& from, uint64_t* end) override;
  // SEEK_SET, CUR, END; SEEK_DATA and SEEK_HOLE see one run of data (override SeekData for better).
  Result<int64_t> Seek(const OpContext& ctx, int64_t offset, int whence) override;
  bool SupportsEpoll() const override { return false; }
  int64_t position() const override { return position_.load(std::memory_order_relaxed); }

 protected:
  // Where writes with O_APPEND go. Default: GetAttr's size. content_mutex held.
  virtual Result<uint64_t> EndOffset(const OpContext& ctx);
  virtual Result<int64_t> SeekData(const OpContext& ctx, int64_t offset, bool hole);
  // PWrite with content_mutex held by the caller. Default calls PWrite.
  virtual Result<size_t> PWriteLocked(const OpContext& ctx, mm::IoSequence& from, uint64_t offset);

  sched::FiberMutex position_mutex_;
  std::atomic<int64_t> position_{0};  // changed under position_mutex_
};

// An open directory: position is a cookie the derived class gives out; lseek sets it.
class DirectoryFile : public SeekableFile {
 public:
  using SeekableFile::SeekableFile;
  Result<size_t> PRead(const OpContext&, mm::IoSequence&, uint64_t) override;   // EISDIR
  Result<size_t> PWrite(const OpContext&, mm::IoSequence&, uint64_t) override;  // EBADF
  Result<int64_t> Seek(const OpContext& ctx, int64_t offset, int whence) override;
  Result<> Fsync(const OpContext&, bool) override { return Ok(); }
  // Calls Iterate under position_mutex_ and keeps the position.
  Result<> IterateDirents(const OpContext& ctx, DirentSink sink) final;

 protected:
  // Entries from `position` on, "." and ".." first (positions 0 and 1 by convention: use
  // EmitDots). Each Dirent's `next` is where to go on. Returns the position reached.
  virtual Result<int64_t> Iterate(const OpContext& ctx, int64_t position, DirentSink sink) = 0;
  // Emits "." (position 0) and ".." (position 1) if not passed; false: the sink is full. Advances
  // *position; other entries start at position 2.
  bool EmitDots(int64_t* position, DirentSink sink) const;
};

// RLIMIT_FSIZE and the largest offset: shortens `from`, or EFBIG (and ctx.fsize_exceeded).
Result<> LimitWrite(const OpContext& ctx, const Inode& inode, mm::IoSequence& from,
                    uint64_t offset);

// What open(2) with O_PATH gives: a location and nothing else.
class PathOnlyFile : public FileDescription {
 public:
  PathOnlyFile(Location location, int flags) : FileDescription(std::move(location), flags) {}
};

}  // namespace msentry::vfs
