// OverlayInode: making and removing names.
#include "absl/cleanup/cleanup.h"
#include "fsimpl/overlay/overlay_inode.h"
#include "vfs/file_description.h"

namespace msentry::overlay {

Result<> OverlayInode::Whiteout(Inode& dir, std::string_view name) {
  TRY(dir.Mknod(overlay().Internal(), name, S_IFCHR, 0, {0, 0}));
  return Ok();
}

// The common part of everything that makes a name: the directory gets a copy, a whiteout goes.
Result<RefPtr<vfs::Inode>> OverlayInode::Make(std::string_view name, MakeFn make) {
  const vfs::OpContext ctx = overlay().Internal();
  if (name == kLinksName && overlay().IsRoot(*this)) return Errno::kEPERM;
  TRY(EnsureUpper());
  Inode& dir = *upper();
  sched::FiberMutexLock lock(dir.dir_mutex());
  auto changed = absl::MakeCleanup([this] { NamesChanged(); });
  bool hidden = false;
  if (!lowers_.empty()) {
    RefPtr<Inode> there = TRY(RealLookupLocked(ctx, dir, name));
    if (there) {
      TRY(dir.Unlink(ctx, name, *there));  // a whiteout: vfs has looked
      hidden = true;
    }
  }
  Result<RefPtr<Inode>> real = make(dir);
  Result<> made = Ok();
  if (!real.ok()) {
    made = real.error();
  } else if (hidden && (*real)->IsDir()) {
    // What a lower layer has under this name must not shine through.
    made = (*real)->SetXattr(ctx, kOpaque, "y", 0);
    if (!made.ok()) {
      Result<> undone = dir.Rmdir(ctx, name, **real);
      if (!undone.ok()) return undone.error();
    }
  }
  if (!made.ok()) {
    if (hidden) TRY(Whiteout(dir, name));
    return made.error();
  }
  return real;
}

Result<RefPtr<vfs::Inode>> OverlayInode::Create(const vfs::OpContext& ctx, std::string_view name,
                                                uint32_t mode, NewOwner owner) {
  Found found;
  found.upper = TRY(Make(name, [&](Inode& dir) { return dir.Create(ctx, name, mode, owner); }));
  return RefPtr<Inode>(overlay().InodeFor(std::move(found), this, name));
}

Result<RefPtr<vfs::Inode>> OverlayInode::Mkdir(const vfs::OpContext& ctx, std::string_view name,
                                               uint32_t mode, NewOwner owner) {
  Found found;
  found.upper = TRY(Make(name, [&](Inode& dir) { return dir.Mkdir(ctx, name, mode, owner); }));
  return RefPtr<Inode>(overlay().InodeFor(std::move(found), this, name));
}

Result<RefPtr<vfs::Inode>> OverlayInode::Mknod(const vfs::OpContext& ctx, std::string_view name,
                                               uint32_t mode, uint64_t rdev, NewOwner owner) {
  if ((mode & S_IFMT) == S_IFCHR && rdev == 0) return Errno::kEPERM;  // our own whiteouts
  Found found;
  found.upper =
      TRY(Make(name, [&](Inode& dir) { return dir.Mknod(ctx, name, mode, rdev, owner); }));
  return RefPtr<Inode>(overlay().InodeFor(std::move(found), this, name));
}

Result<RefPtr<vfs::Inode>> OverlayInode::Symlink(const vfs::OpContext& ctx, std::string_view name,
                                                 std::string_view target, NewOwner owner) {
  Found found;
  found.upper = TRY(Make(name, [&](Inode& dir) { return dir.Symlink(ctx, name, target, owner); }));
  return RefPtr<Inode>(overlay().InodeFor(std::move(found), this, name));
}

Result<RefPtr<vfs::Inode>> OverlayInode::CreateUnnamed(const vfs::OpContext& ctx, uint32_t mode,
                                                       NewOwner owner) {
  if (!overlay().has_upper()) return Errno::kEROFS;
  Found found;
  Result<RefPtr<Inode>> real = overlay().upper_root().CreateUnnamed(ctx, mode, owner);
  if (real.ok()) {
    found.upper = std::move(*real);
    return RefPtr<Inode>(overlay().InodeFor(std::move(found), nullptr, {}));
  }
  if (real.error() != Errno::kEOPNOTSUPP) return real.error();
  // A layer that has no files without names: it gets one where nobody sees it, as long as it lives.
  static std::atomic<uint64_t> next{0};
  const std::string hidden = "unnamed-" + std::to_string(next.fetch_add(1));
  RefPtr<Inode> links = TRY(overlay().LinksDirectory());
  {
    sched::FiberMutexLock lock(links->dir_mutex());
    found.upper = TRY(links->Create(ctx, hidden, mode, owner));
  }
  RefPtr<OverlayInode> inode = overlay().InodeFor(std::move(found), nullptr, {});
  inode->hidden_name_ = hidden;
  return RefPtr<Inode>(std::move(inode));
}

void OverlayInode::DropHiddenName() {
  const vfs::OpContext ctx = overlay().Internal();
  Result<RefPtr<Inode>> links = overlay().LinksDirectory();
  if (!links.ok()) return;  // it stays there, unseen
  sched::FiberMutexLock lock((*links)->dir_mutex());
  (void)(*links)->Unlink(ctx, hidden_name_, *upper()).ok();
}

Result<> OverlayInode::Link(const vfs::OpContext& ctx, std::string_view name, Inode& target) {
  OverlayInode& file = static_cast<OverlayInode&>(target);
  TRY(file.EnsureUpper());
  TRY(Make(name, [&](Inode& dir) -> Result<RefPtr<Inode>> {
    TRY(dir.Link(ctx, name, *file.upper()));
    return RefPtr<Inode>(file.upper());
  }));
  file.AddName(*this, name);
  MutexLock lock(file.mutex_);
  if (!file.lowers_.empty()) ++file.link_change_;
  return Ok();
}

// Removes the whiteouts of a directory that shows nothing, so that the upper directory is empty.
Result<> OverlayInode::ClearWhiteouts() {
  const vfs::OpContext ctx = overlay().Internal();
  bool empty = true;
  TRY(List([&](Entry&&) { return empty = false; }));
  if (!empty) return Errno::kENOTEMPTY;
  Inode* dir = upper();
  if (!dir || lowers_.empty()) return Ok();
  // Everything that is left in the upper directory is a whiteout: list that layer alone.
  Found only;
  only.upper = RefPtr<Inode>(dir);
  vfs::Location at{nullptr, vfs::Dentry::MakeUnnamed(only.upper, "overlay")};
  RefPtr<vfs::FileDescription> file = TRY(dir->Open(ctx, {at, O_RDONLY | O_DIRECTORY}));
  std::vector<std::string> names;
  for (bool more = true; more;) {
    more = false;
    TRY(file->IterateDirents(ctx, [&](const vfs::Dirent& d) {
      more = true;
      if (d.name != "." && d.name != "..") names.emplace_back(d.name);
      return true;
    }));
  }
  sched::FiberMutexLock lock(dir->dir_mutex());
  for (const std::string& name : names) {
    RefPtr<Inode> whiteout = TRY(RealLookupLocked(ctx, *dir, name));
    if (whiteout) TRY(dir->Unlink(ctx, name, *whiteout));
  }
  return Ok();
}

Result<> OverlayInode::Remove(std::string_view name, OverlayInode& victim) {
  const vfs::OpContext ctx = overlay().Internal();
  if (!overlay().has_upper()) return Errno::kEROFS;
  const bool hide = TRY(LowerHas(name));
  if (hide) TRY(EnsureUpper());
  auto changed = absl::MakeCleanup([this] { NamesChanged(); });
  if (victim.IsDir()) TRY(victim.ClearWhiteouts());
  sched::FiberMutexLock victim_lock(victim.copy_mutex_);
  TRY(victim.BeforeNameGoes());
  if (Inode* dir = upper()) {
    sched::FiberMutexLock lock(dir->dir_mutex());
    RefPtr<Inode> real = TRY(victim.UpperNamed(ctx, *dir, name));
    if (real) {
      if (victim.IsDir()) {
        TRY(dir->Rmdir(ctx, name, *real));
      } else {
        TRY(dir->Unlink(ctx, name, *real));
      }
      overlay().NameGone(ctx, *real);
    }
    if (hide) TRY(Whiteout(*dir, name));
  }
  victim.AfterNameWent(*this, name);
  return Ok();
}

Result<RefPtr<vfs::Inode>> OverlayInode::UpperNamed(const vfs::OpContext& ctx, Inode& dir,
                                                    std::string_view name) {
  // Of a file with several names only some may be in the upper layer; of all else we know.
  if (IsDir() || lowers_.empty() || !upper()) return RefPtr<Inode>(upper());
  return RealLookupLocked(ctx, dir, name);
}

Result<> OverlayInode::BeforeNameGoes() {
  if (IsDir() || lowers_.empty() || !upper() || in_links_) return Ok();
  {
    MutexLock lock(mutex_);
    if (static_cast<int64_t>(lower_links_) + link_change_ <= 1) return Ok();
  }
  const vfs::OpContext ctx = overlay().Internal();
  if (TRY(upper()->GetAttr(ctx, vfs::kAttrNlink)).nlink > 1) return Ok();
  // The lower names that are left lead to the copy, which must not go with its only upper name.
  RefPtr<Inode> links = TRY(overlay().LinksDirectory());
  sched::FiberMutexLock lock(links->dir_mutex());
  TRY(links->Link(ctx, std::to_string(ino()), *upper()));
  in_links_ = true;
  return Ok();
}

void OverlayInode::AfterNameWent(OverlayInode& parent, std::string_view name) {
  RemoveName(parent, name);
  if (lowers_.empty()) return;
  bool first;
  {
    MutexLock lock(mutex_);
    first = link_change_-- == 0;
  }
  // The original goes on saying how many names it has: what is gone from them, we must remember.
  if (first && !IsDir() && !upper()) {
    Result<vfs::Attributes> a = lowers_[0]->GetAttr(overlay().Internal(), vfs::kAttrNlink);
    if (a.ok() && a->nlink > 1) overlay().Pin(RefPtr<OverlayInode>(this));
  }
  if (!in_links_) return;
  {
    MutexLock lock(mutex_);
    if (static_cast<int64_t>(lower_links_) + link_change_ > 0) return;
  }
  const vfs::OpContext ctx = overlay().Internal();
  Result<RefPtr<Inode>> links = overlay().LinksDirectory();
  if (!links.ok()) return;  // the file stays there, unseen
  sched::FiberMutexLock lock((*links)->dir_mutex());
  if ((*links)->Unlink(ctx, std::to_string(ino()), *upper()).ok()) in_links_ = false;
}

Result<> OverlayInode::Unlink(const vfs::OpContext&, std::string_view name, Inode& victim) {
  return Remove(name, static_cast<OverlayInode&>(victim));
}

Result<> OverlayInode::Rmdir(const vfs::OpContext&, std::string_view name, Inode& victim) {
  return Remove(name, static_cast<OverlayInode&>(victim));
}

}  // namespace msentry::overlay
