// P9Inode: making, removing and renaming names.
#include <fcntl.h>
#include <sys/stat.h>

#include "fsimpl/p9/inode.h"

namespace msentry::p9 {

void P9Inode::Changed() {
  std::shared_ptr<const Listing> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(listing_);
    ++changes_;
  }
  MarkStale();
}

Result<RefPtr<vfs::Inode>> P9Inode::Create(const vfs::OpContext&, std::string_view name,
                                           uint32_t mode, NewOwner owner) {
  NewFile made = TRY(client().CreateFile(fid_, name, mode & 07777, owner.uid, owner.gid));
  Changed();
  RefPtr<P9Inode> inode = p9fs().InodeFor(made.fid, made.attr, {});
  if (made.opened.fd) {
    // open(2) asks for it next.
    inode->KeepFd(MakeRef<vfs::HostFd>(std::move(made.opened.fd)), O_RDWR);
  } else if (made.opened.handle != kNoFid) {
    client().Clunk(made.opened.handle);
  }
  return RefPtr<vfs::Inode>(std::move(inode));
}

Result<RefPtr<vfs::Inode>> P9Inode::MakeNode(std::string_view name, uint32_t mode, uint64_t rdev,
                                             std::string_view target, NewOwner owner) {
  NewFile made = TRY(client().MakeNode(fid_, name, mode, owner.uid, owner.gid, rdev, target));
  Changed();
  return RefPtr<vfs::Inode>(p9fs().InodeFor(made.fid, made.attr, target));
}

Result<RefPtr<vfs::Inode>> P9Inode::Mkdir(const vfs::OpContext&, std::string_view name,
                                          uint32_t mode, NewOwner owner) {
  return MakeNode(name, S_IFDIR | (mode & 07777), 0, {}, owner);
}

Result<RefPtr<vfs::Inode>> P9Inode::Mknod(const vfs::OpContext&, std::string_view name,
                                          uint32_t mode, uint64_t rdev, NewOwner owner) {
  return MakeNode(name, mode, rdev, {}, owner);
}

Result<RefPtr<vfs::Inode>> P9Inode::Symlink(const vfs::OpContext&, std::string_view name,
                                            std::string_view target, NewOwner owner) {
  return MakeNode(name, S_IFLNK | 0777, 0, target, owner);
}

Result<> P9Inode::Link(const vfs::OpContext&, std::string_view name, vfs::Inode& target) {
  auto& file = static_cast<P9Inode&>(target);
  TRY(client().Link(fid_, name, file.fid_));
  Changed();
  file.MarkStale();
  return Ok();
}

Result<> P9Inode::Remove(std::string_view name, vfs::Inode& victim, bool directory) {
  TRY(client().Unlink(fid_, name, directory));
  Changed();
  static_cast<P9Inode&>(victim).MarkStale();
  return Ok();
}

Result<> P9Inode::Unlink(const vfs::OpContext&, std::string_view name, vfs::Inode& victim) {
  return Remove(name, victim, false);
}

Result<> P9Inode::Rmdir(const vfs::OpContext&, std::string_view name, vfs::Inode& victim) {
  return Remove(name, victim, true);
}

Result<> P9Inode::Rename(const vfs::OpContext&, std::string_view name, vfs::Inode& moved,
                         vfs::Inode& new_dir, std::string_view new_name, vfs::Inode* replaced,
                         unsigned flags) {
  auto& to = static_cast<P9Inode&>(new_dir);
  // vfs has looked; the plain protocol cannot say it.
  flags &= ~unsigned{RENAME_NOREPLACE};
  TRY(client().Rename(fid_, name, static_cast<P9Inode&>(moved).fid_, to.fid_, new_name, flags));
  Changed();
  if (&to != this) to.Changed();
  static_cast<P9Inode&>(moved).MarkStale();
  if (replaced != nullptr) static_cast<P9Inode*>(replaced)->MarkStale();
  return Ok();
}

}  // namespace msentry::p9
