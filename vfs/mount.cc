#include "vfs/mount.h"

#include "vfs/file_system.h"
#include "vfs/location.h"

namespace msentry::vfs {

namespace {
std::atomic<uint64_t> next_id{1};
}

Mount::Mount(RefPtr<FileSystem> fs, RefPtr<Dentry> root, uint32_t flags)
    : fs_(std::move(fs)),
      root_(std::move(root)),
      id_(next_id.fetch_add(1, std::memory_order_relaxed)),
      flags_(flags) {
  fs_->AddUser();
}

Mount::~Mount() { fs_->DropUser(); }

Result<> Mount::CheckWritable() const {
  if (flags() & kMountReadOnly || fs_->flags() & FileSystem::kReadOnly) return Errno::kEROFS;
  return Ok();
}

Result<> Mount::BeginWrite() {
  TRY(CheckWritable());
  writers_.fetch_add(1, std::memory_order_seq_cst);
  // A remount that looked at the count before we raised it has set the flag by now.
  if (flags_.load(std::memory_order_seq_cst) & kMountReadOnly) {
    EndWrite();
    return Errno::kEROFS;
  }
  return Ok();
}

void Mount::EndWrite() { writers_.fetch_sub(1, std::memory_order_seq_cst); }

Result<> Mount::SetFlags(uint32_t flags) {
  uint32_t before = flags_.exchange(flags, std::memory_order_seq_cst);
  if (flags & kMountReadOnly && !(before & kMountReadOnly) &&
      writers_.load(std::memory_order_seq_cst) != 0) {
    flags_.store(before, std::memory_order_seq_cst);
    return Errno::kEBUSY;
  }
  return Ok();
}

RefPtr<Mount> Mount::MountedOn(const Dentry& dentry) const {
  if (!dentry.IsMountPoint()) return nullptr;
  MutexLock lock(mutex_);
  auto it = children_.find(&dentry);
  return it == children_.end() ? nullptr : it->second;
}

Location Mount::MountPoint() const {
  MutexLock lock(mutex_);
  return {parent_, mount_point_};
}

}  // namespace msentry::vfs
