// P9Inode: making, removing and renaming names.
#include <fcntl.h>
#include <sys/stat.h>

#include "fsimpl/p9/inode.h"

namespace msentry::p9 {

void P9Inode::Changed(absl::FunctionRef<void(DirNames&)> update) {
  std::shared_ptr<const Listing> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(listing_);
    ++changes_;
    update(names_);
  }
  MarkStale();
}

void P9Inode::ChangeFailed() {
  Changed([](DirNames& names) { names.Forget(); });
}

bool P9Inode::KnownAbsent(std::string_view name) {
  if (!p9fs().caching()) return false;
  MutexLock lock(mutex_);
  if (names_refusals_ != client().refusals()) {
    names_refusals_ = client().refusals();
    names_.Forget();
    listing_.reset();
  }
  if (!names_.known() && listing_) names_.BeginWith(*listing_);
  return names_.IsAbsent(name);
}

void P9Inode::CountMiss() {
  if (!p9fs().caching()) return;
  {
    // What we write into is ours, and small: a listing tells at the price of one more question.
    MutexLock lock(mutex_);
    if (!names_.MissCallsForListing(p9fs().read_only() ? 3 : 1)) return;
  }
  Result<std::shared_ptr<const Listing>> listing = Listing::FetchSmall(client(), fid_);
  MutexLock lock(mutex_);
  if (listing.ok() && *listing) {
    names_.BeginWith(**listing);
  } else {
    names_.GiveUp();
  }
}

Result<RefPtr<vfs::Inode>> P9Inode::Create(const vfs::OpContext&, std::string_view name,
                                           uint32_t mode, NewOwner owner) {
  Result<NewFile> created = client().CreateFile(fid_, name, mode & 07777, owner.uid, owner.gid);
  if (!created.ok()) {
    ChangeFailed();
    return created.error();
  }
  NewFile& made = *created;
  Changed([&](DirNames& names) { names.Add(name); });
  RefPtr<P9Inode> inode = p9fs().InodeFor(made.fid, made.attr, {});
  inode->no_xattrs_.store(true, std::memory_order_release);  // a new file
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
  Result<NewFile> made = client().MakeNode(fid_, name, mode, owner.uid, owner.gid, rdev, target);
  if (!made.ok()) {
    ChangeFailed();
    return made.error();
  }
  Changed([&](DirNames& names) { names.Add(name); });
  RefPtr<P9Inode> inode = p9fs().InodeFor(made->fid, made->attr, target);
  if (S_ISDIR(mode) && p9fs().caching()) {
    inode->Changed([](DirNames& names) { names.BeginEmpty(); });
  }
  return RefPtr<vfs::Inode>(std::move(inode));
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
  Result<> linked = client().Link(fid_, name, file.fid_);
  if (!linked.ok()) {
    ChangeFailed();
    return linked;
  }
  Changed([&](DirNames& names) { names.Add(name); });
  {
    MutexLock lock(file.mutex_);
    ++file.attr_.nlink;  // until somebody asks
  }
  file.MarkStale();
  return Ok();
}

bool P9Inode::LeaveUnseen() {
  RefPtr<vfs::HostFd> read, write;  // closed unlocked
  if (!p9fs().caching() || !IsRegular()) return false;
  {
    MutexLock lock(mutex_);
    if (attr_.nlink != 1 || mapped_shared_.load(std::memory_order_relaxed)) return false;
    if ((read_fd_ && read_fd_->ref_count() > 1) || (write_fd_ && write_fd_->ref_count() > 1)) {
      return false;
    }
    read.swap(read_fd_);
    write.swap(write_fd_);
    write_fd_reads_ = true;
  }
  FdCache::Get().Remove(hook_);
  return true;
}

Result<> P9Inode::Remove(std::string_view name, vfs::Inode& victim, bool directory) {
  auto& file = static_cast<P9Inode&>(victim);
  Result<> removed = Ok();
  if (directory || !file.LeaveUnseen() || !client().UnlinkLater(fid_, name)) {
    removed = client().Unlink(fid_, name, directory);
  }
  if (!removed.ok()) {
    ChangeFailed();
    return removed;
  }
  Changed([&](DirNames& names) { names.Remove(name); });
  file.MarkStale();
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
  Result<> renamed =
      client().Rename(fid_, name, static_cast<P9Inode&>(moved).fid_, to.fid_, new_name, flags);
  if (!renamed.ok()) {
    ChangeFailed();
    to.ChangeFailed();
    return renamed;
  }
  Changed([&](DirNames& names) {
    if (!(flags & (RENAME_EXCHANGE | RENAME_WHITEOUT))) names.Remove(name);
  });
  to.Changed([&](DirNames& names) { names.Add(new_name); });
  static_cast<P9Inode&>(moved).MarkStale();
  if (replaced != nullptr) static_cast<P9Inode*>(replaced)->MarkStale();
  return Ok();
}

}  // namespace msentry::p9
