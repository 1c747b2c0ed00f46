#include <dirent.h>
#include <linux/fs.h>

#include "fsimpl/tmpfs/tmp_inode.h"

namespace msentry::tmpfs {

namespace {

constexpr uint64_t kDirentSize = 20;  // what shmem says an entry takes

class TmpDirDescription final : public vfs::DirectoryFile {
 public:
  TmpDirDescription(vfs::Location location, int flags, TmpDir& dir)
      : DirectoryFile(std::move(location), flags), dir_(dir) {}

 protected:
  Result<int64_t> Iterate(const vfs::OpContext&, int64_t position, vfs::DirentSink sink) override {
    if (!EmitDots(&position, sink)) return position;
    dir_.TouchAccess();
    return dir_.Iterate(position, sink);
  }

 private:
  TmpDir& dir_;
};

TmpInode& Tmp(vfs::Inode& inode) { return static_cast<TmpInode&>(inode); }

}  // namespace

TmpDir::TmpDir(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner)
    : TmpInode(std::move(fs), mode, owner) {
  ChangeLinks(1);  // "."
}

void TmpDir::FillSize(vfs::Attributes* attrs) {
  attrs->size = (count_.load(std::memory_order_relaxed) + 2) * kDirentSize;
}

void TmpDir::Insert(std::string_view name, RefPtr<TmpInode> inode) {
  const int64_t cookie = next_cookie_++;
  order_.emplace(cookie, name);
  entries_.emplace(std::string(name), Entry{std::move(inode), cookie});
  count_.store(entries_.size(), std::memory_order_relaxed);
}

RefPtr<TmpInode> TmpDir::Erase(std::string_view name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  RefPtr<TmpInode> inode = std::move(it->second.inode);
  order_.erase(it->second.cookie);
  entries_.erase(it);
  count_.store(entries_.size(), std::memory_order_relaxed);
  return inode;
}

Result<RefPtr<vfs::Inode>> TmpDir::Add(std::string_view name, RefPtr<TmpInode> inode) {
  Insert(name, inode);
  if (inode->IsDir()) ChangeLinks(1);
  Touch(true);
  return RefPtr<Inode>(std::move(inode));
}

Result<RefPtr<vfs::Inode>> TmpDir::Lookup(const vfs::OpContext&, std::string_view name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return Errno::kENOENT;
  return RefPtr<Inode>(it->second.inode);
}

Result<RefPtr<vfs::Inode>> TmpDir::Create(const vfs::OpContext&, std::string_view name,
                                          uint32_t mode, NewOwner owner) {
  if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
  return Add(name, MakeRef<TmpFile>(RefPtr<TmpFs>(&tmpfs()), S_IFREG | mode, owner, F_SEAL_SEAL));
}

Result<RefPtr<vfs::Inode>> TmpDir::Mkdir(const vfs::OpContext&, std::string_view name,
                                         uint32_t mode, NewOwner owner) {
  if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
  return Add(name, MakeRef<TmpDir>(RefPtr<TmpFs>(&tmpfs()), S_IFDIR | mode, owner));
}

Result<RefPtr<vfs::Inode>> TmpDir::Mknod(const vfs::OpContext&, std::string_view name,
                                         uint32_t mode, uint64_t rdev, NewOwner owner) {
  if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
  return Add(name, MakeRef<TmpSpecial>(RefPtr<TmpFs>(&tmpfs()), mode, owner, rdev));
}

Result<RefPtr<vfs::Inode>> TmpDir::Symlink(const vfs::OpContext&, std::string_view name,
                                           std::string_view target, NewOwner owner) {
  if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
  return Add(name, MakeRef<TmpSymlink>(RefPtr<TmpFs>(&tmpfs()), std::string(target), owner));
}

Result<RefPtr<vfs::Inode>> TmpDir::CreateUnnamed(const vfs::OpContext&, uint32_t mode,
                                                 NewOwner owner) {
  if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
  RefPtr<TmpFile> file =
      MakeRef<TmpFile>(RefPtr<TmpFs>(&tmpfs()), S_IFREG | mode, owner, F_SEAL_SEAL);
  file->ChangeLinks(-1);
  file->set_linkable();
  return RefPtr<Inode>(std::move(file));
}

Result<> TmpDir::Link(const vfs::OpContext&, std::string_view name, Inode& target) {
  TmpInode& t = Tmp(target);
  if (t.links() == 0 && !t.linkable()) return Errno::kENOENT;
  t.ChangeLinks(1);
  Insert(name, RefPtr<TmpInode>(&t));
  Touch(true);
  return Ok();
}

Result<> TmpDir::Unlink(const vfs::OpContext&, std::string_view name, Inode& victim) {
  RefPtr<TmpInode> gone = Erase(name);
  if (!gone) return Errno::kENOENT;
  Tmp(victim).ChangeLinks(-1);
  Touch(true);
  return Ok();
}

Result<> TmpDir::Rmdir(const vfs::OpContext&, std::string_view name, Inode& victim) {
  TmpDir& dir = static_cast<TmpDir&>(victim);
  if (!dir.entries_.empty()) return Errno::kENOTEMPTY;
  RefPtr<TmpInode> gone = Erase(name);
  if (!gone) return Errno::kENOENT;
  dir.ChangeLinks(-2);
  ChangeLinks(-1);
  Touch(true);
  return Ok();
}

Result<> TmpDir::Rename(const vfs::OpContext& ctx, std::string_view name, Inode& moved,
                        Inode& new_dir, std::string_view new_name, Inode* replaced,
                        unsigned flags) {
  TmpDir& to = static_cast<TmpDir&>(new_dir);
  if (flags & RENAME_EXCHANGE) {
    Entry& mine = entries_.find(name)->second;
    Entry& theirs = to.entries_.find(new_name)->second;
    std::swap(mine.inode, theirs.inode);
    const int delta = replaced->IsDir() - moved.IsDir();
    if (&to != this && delta) {
      ChangeLinks(delta);
      to.ChangeLinks(-delta);
    }
  } else {
    RefPtr<TmpInode> whiteout;
    if (flags & RENAME_WHITEOUT) {
      if (!tmpfs().ChargeInode()) return Errno::kENOSPC;
      whiteout = MakeRef<TmpSpecial>(RefPtr<TmpFs>(&tmpfs()), S_IFCHR, NewOwner{0, 0}, 0);
    }
    if (replaced) {
      if (replaced->IsDir()) {
        TRY(to.Rmdir(ctx, new_name, *replaced));
      } else {
        to.Erase(new_name);
        Tmp(*replaced).ChangeLinks(-1);
      }
    }
    RefPtr<TmpInode> inode = Erase(name);
    if (inode->IsDir() && &to != this) {
      ChangeLinks(-1);
      to.ChangeLinks(1);
    }
    to.Insert(new_name, std::move(inode));
    if (whiteout) Insert(name, std::move(whiteout));
  }
  Touch(true);
  if (&to != this) to.Touch(true);
  Tmp(moved).Touch(false);
  return Ok();
}

Result<RefPtr<vfs::FileDescription>> TmpDir::Open(const vfs::OpContext&,
                                                  const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(MakeRef<TmpDirDescription>(args.location, args.flags, *this));
}

int64_t TmpDir::Iterate(int64_t from, vfs::DirentSink sink) {
  sched::FiberMutexLock lock(dir_mutex());
  for (auto it = order_.lower_bound(from); it != order_.end(); ++it) {
    const Inode& inode = *entries_.find(it->second)->second.inode;
    vfs::Dirent d{inode.ino(), it->first + 1, vfs::DirentType(inode.mode()), it->second};
    if (!sink(d)) return it->first;
    from = it->first + 1;
  }
  return from;
}

std::vector<RefPtr<TmpInode>> TmpDir::TakeAll() {
  std::vector<RefPtr<TmpInode>> all;
  for (auto& [name, entry] : entries_) all.push_back(std::move(entry.inode));
  entries_.clear();
  order_.clear();
  return all;
}

}  // namespace msentry::tmpfs
