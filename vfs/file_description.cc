#include "vfs/file_description.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/locks.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

namespace {

sched::WaitQueue& NeverNotified() {
  static sched::WaitQueue* queue = new sched::WaitQueue;
  return *queue;
}

int AccessBits(int flags) {
  if (flags & O_PATH) return 0;
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return 1;
    case O_WRONLY:
      return 2;
    case O_RDWR:
      return 3;
    default:
      return 0;  // 3: ioctl only
  }
}

constexpr int kSettable = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;

}  // namespace

FileDescription::FileDescription(Location location, int flags)
    : location_(std::move(location)),
      inode_(location_.dentry->inode()),
      flags_((flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)) |
             (flags & O_PATH ? 0 : kOLargeFile)),
      access_(AccessBits(flags)) {}

void FileDescription::SetHolds(bool writer, bool denies_write, bool notify_close) {
  holds_write_ = writer;
  denies_write_ = denies_write;
  notifies_close_ = notify_close;
}

FileDescription::~FileDescription() {
  if (FileLocks* locks = inode_->locks_if_any()) {
    locks->DropFlock({this, -1});
    locks->DropOwner({this, -1});
  }
  if (holds_write_) {
    if (location_.mount) location_.mount->EndWrite();
    inode_->EndWrite();
  }
  if (denies_write_) inode_->EndDenyWrite();
  if (notifies_close_ && InotifyActive()) {
    NotifyFile(*location_.dentry, writable() ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
  }
}

Result<> FileDescription::SetStatusFlags(const OpContext& ctx, int flags) {
  if (flags & O_NOATIME && !(this->flags() & O_NOATIME) && !OwnerOrCapable(ctx.creds, *inode_)) {
    return Errno::kEPERM;
  }
  int before = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(before, (before & ~kSettable) | (flags & kSettable),
                                       std::memory_order_relaxed)) {
  }
  return Ok();
}

Result<size_t> FileDescription::Read(const OpContext&, mm::IoSequence&) { return Errno::kEINVAL; }
Result<size_t> FileDescription::Write(const OpContext&, mm::IoSequence&) { return Errno::kEINVAL; }
Result<size_t> FileDescription::PRead(const OpContext&, mm::IoSequence&, uint64_t) {
  return Errno::kESPIPE;
}
Result<size_t> FileDescription::PWrite(const OpContext&, mm::IoSequence&, uint64_t) {
  return Errno::kESPIPE;
}
Result<size_t> FileDescription::Append(const OpContext&, mm::IoSequence&, uint64_t*) {
  return Errno::kEINVAL;
}
Result<int64_t> FileDescription::Seek(const OpContext&, int64_t, int) { return Errno::kESPIPE; }
Result<> FileDescription::IterateDirents(const OpContext&, DirentSink) { return Errno::kENOTDIR; }

Result<Attributes> FileDescription::GetAttr(const OpContext& ctx, AttrMask wanted) {
  return inode_->GetAttr(ctx, wanted);
}
Result<> FileDescription::SetAttr(const OpContext& ctx, const SetAttributes& attrs) {
  return inode_->SetAttr(ctx, attrs);
}

Result<int64_t> FileDescription::Ioctl(const OpContext&, uint32_t, uint64_t, UserMemory&) {
  return Errno::kENOTTY;
}
sched::EventMask FileDescription::Readiness(sched::EventMask mask) {
  return mask & (sched::kIn | sched::kOut | sched::kRdNorm | sched::kWrNorm);
}
sched::WaitQueue& FileDescription::wait_queue() { return NeverNotified(); }
Result<HostMappingInfo> FileDescription::HostBacking(bool) { return Errno::kENODEV; }
void FileDescription::OnMappingGone(bool) {}
Result<> FileDescription::Fsync(const OpContext&, bool) { return Errno::kEINVAL; }
Result<> FileDescription::Allocate(const OpContext&, int, uint64_t, uint64_t) {
  return Errno::kEOPNOTSUPP;
}
Result<size_t> FileDescription::CopyRangeFrom(const OpContext&, FileDescription&, uint64_t,
                                              uint64_t, size_t) {
  return Errno::kEXDEV;
}
Result<> FileDescription::Flush(const OpContext&) { return Ok(); }
std::string FileDescription::AnonymousName() const {
  std::string name = location_.dentry->name();
  if (name.ends_with(':')) name += "[" + std::to_string(inode_->ino()) + "]";
  return name;
}

AsyncOwner FileDescription::async_owner() const {
  MutexLock lock(mutex_);
  return owner_;
}
void FileDescription::SetAsyncOwner(const AsyncOwner& owner) {
  MutexLock lock(mutex_);
  owner_ = owner;
}
void FileDescription::SetAsyncWaiter(std::unique_ptr<sched::Waiter> waiter) {
  std::unique_ptr<sched::Waiter> old;
  sched::Waiter* fresh = waiter.get();
  {
    MutexLock lock(mutex_);
    if (!fresh && !async_waiter_) return;
    old = std::move(async_waiter_);
    async_waiter_ = std::move(waiter);
  }
  if (old) wait_queue().Remove(old.get());
  if (fresh) wait_queue().Add(fresh);
}

Result<> LimitWrite(const OpContext& ctx, const Inode& inode, mm::IoSequence& from,
                    uint64_t offset) {
  if (from.empty()) return Ok();
  if (!inode.IsRegular()) return Ok();
  constexpr uint64_t kMaxOffset = INT64_MAX;
  if (offset >= ctx.fsize_limit) {
    ctx.fsize_exceeded = true;
    return Errno::kEFBIG;
  }
  if (offset >= kMaxOffset) return Errno::kEFBIG;
  from.Truncate(std::min(ctx.fsize_limit, kMaxOffset) - offset);
  return Ok();
}

// ---- SeekableFile ----

Result<size_t> SeekableFile::Read(const OpContext& ctx, mm::IoSequence& to) {
  sched::FiberMutexLock lock(position_mutex_);
  size_t n = TRY(PRead(ctx, to, position()));
  position_.store(position() + n, std::memory_order_relaxed);
  return n;
}

Result<size_t> SeekableFile::Write(const OpContext& ctx, mm::IoSequence& from) {
  sched::FiberMutexLock lock(position_mutex_);
  if (flags() & O_APPEND) {
    uint64_t end = 0;
    size_t n = TRY(Append(ctx, from, &end));
    position_.store(end, std::memory_order_relaxed);
    return n;
  }
  TRY(LimitWrite(ctx, inode(), from, position()));
  size_t n = TRY(PWrite(ctx, from, position()));
  position_.store(position() + n, std::memory_order_relaxed);
  return n;
}

Result<size_t> SeekableFile::Append(const OpContext& ctx, mm::IoSequence& from, uint64_t* end) {
  sched::FiberMutexLock lock(inode().content_mutex());
  uint64_t at = TRY(EndOffset(ctx));
  TRY(LimitWrite(ctx, inode(), from, at));
  size_t n = TRY(PWriteLocked(ctx, from, at));
  *end = at + n;
  return n;
}

Result<uint64_t> SeekableFile::EndOffset(const OpContext& ctx) {
  return TRY(inode().GetAttr(ctx, kAttrSize)).size;
}

Result<size_t> SeekableFile::PWriteLocked(const OpContext& ctx, mm::IoSequence& from,
                                          uint64_t offset) {
  return PWrite(ctx, from, offset);
}

Result<int64_t> SeekableFile::SeekData(const OpContext& ctx, int64_t offset, bool hole) {
  int64_t size = TRY(inode().GetAttr(ctx, kAttrSize)).size;
  if (offset < 0 || offset >= size) return Errno::kENXIO;
  return hole ? size : offset;
}

Result<int64_t> SeekableFile::Seek(const OpContext& ctx, int64_t offset, int whence) {
  sched::FiberMutexLock lock(position_mutex_);
  int64_t base = 0;
  switch (whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = position();
      break;
    case SEEK_END:
      base = TRY(inode().GetAttr(ctx, kAttrSize)).size;
      break;
    case SEEK_DATA:
    case SEEK_HOLE: {
      int64_t to = TRY(SeekData(ctx, offset, whence == SEEK_HOLE));
      position_.store(to, std::memory_order_relaxed);
      return to;
    }
    default:
      return Errno::kEINVAL;
  }
  int64_t to;
  if (__builtin_add_overflow(base, offset, &to)) return Errno::kEOVERFLOW;
  if (to < 0) return Errno::kEINVAL;
  position_.store(to, std::memory_order_relaxed);
  return to;
}

// ---- DirectoryFile ----

Result<size_t> DirectoryFile::PRead(const OpContext&, mm::IoSequence&, uint64_t) {
  return Errno::kEISDIR;
}
Result<size_t> DirectoryFile::PWrite(const OpContext&, mm::IoSequence&, uint64_t) {
  return Errno::kEBADF;
}

Result<int64_t> DirectoryFile::Seek(const OpContext&, int64_t offset, int whence) {
  sched::FiberMutexLock lock(position_mutex_);
  if (whence == SEEK_CUR) {
    offset += position();
  } else if (whence == SEEK_END) {
    return Errno::kEINVAL;
  } else if (whence != SEEK_SET) {
    return Errno::kEINVAL;
  }
  if (offset < 0) return Errno::kEINVAL;
  position_.store(offset, std::memory_order_relaxed);
  return offset;
}

Result<> DirectoryFile::IterateDirents(const OpContext& ctx, DirentSink sink) {
  sched::FiberMutexLock lock(position_mutex_);
  position_.store(TRY(Iterate(ctx, position(), sink)), std::memory_order_relaxed);
  return Ok();
}

bool DirectoryFile::EmitDots(int64_t* position, DirentSink sink) const {
  if (*position == 0) {
    if (!sink({inode().ino(), 1, DT_DIR, "."})) return false;
    *position = 1;
  }
  if (*position == 1) {
    RefPtr<Dentry> parent = location().dentry->parent();
    if (location().mount && location().dentry == location().mount->root()) {
      if (Location mp = location().mount->MountPoint()) parent = mp.dentry->parent();
    }
    uint64_t ino = parent && parent->inode() ? parent->inode()->ino() : inode().ino();
    if (!sink({ino, 2, DT_DIR, ".."})) return false;
    *position = 2;
  }
  return true;
}

}  // namespace msentry::vfs
