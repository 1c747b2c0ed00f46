#include "vfs/file_system.h"

#include "vfs/inode.h"

namespace msentry::vfs {

namespace {
// Anonymous device numbers, major 0, as get_anon_bdev() hands them out; 1 is the first.
std::atomic<uint32_t> next_dev{1};
}  // namespace

FileSystem::FileSystem(std::string type, uint32_t flags)
    : type_(std::move(type)),
      flags_(flags),
      dev_(MakeDev(0, next_dev.fetch_add(1, std::memory_order_relaxed))) {}

FileSystem::~FileSystem() = default;

void FileSystem::SetReadOnly(bool on) {
  if (on) {
    flags_.fetch_or(kReadOnly, std::memory_order_relaxed);
  } else {
    flags_.fetch_and(~uint32_t{kReadOnly}, std::memory_order_relaxed);
  }
}

Result<> FileSystem::Sync(const OpContext&) { return Ok(); }
std::string FileSystem::ShowOptions() const { return {}; }
Result<> FileSystem::Remount(const OpContext&, std::string_view data) {
  if (!data.empty()) return Errno::kEINVAL;
  return Ok();
}

void FileSystem::SetRoot(RefPtr<Inode> root) { root_ = Dentry::MakeRoot(std::move(root)); }

void FileSystem::AddUser() { users_.fetch_add(1, std::memory_order_relaxed); }

void FileSystem::DropUser() {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // Nobody can reach the tree any more. The root's reference to its inode, and the inode's to us,
  // is the cycle that is broken here.
  RefPtr<FileSystem> self(this);
  RefPtr<Dentry> root = std::move(root_);
  if (root) root->PruneChildren();
  Shutdown();
}

}  // namespace msentry::vfs
