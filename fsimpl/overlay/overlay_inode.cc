// OverlayInode: attributes and extended attributes.
#include "fsimpl/overlay/overlay_inode.h"

#include "vfs/dentry.h"

namespace msentry::overlay {

OverlayInode::OverlayInode(RefPtr<OverlayFs> fs, uint64_t ino, Found found)
    : Inode(std::move(fs), ino, (found.upper ? *found.upper : *found.lowers[0]).mode(),
            (found.upper ? *found.upper : *found.lowers[0]).uid(),
            (found.upper ? *found.upper : *found.lowers[0]).gid()),
      upper_(found.upper.Release()),
      lowers_(std::move(found.lowers)),
      lower_path_(std::move(found.lower_path)) {}

OverlayInode::~OverlayInode() {
  if (!hidden_name_.empty()) DropHiddenName();
  overlay().Forget(*this);
  if (Inode* u = upper_.load(std::memory_order_relaxed)) u->Unref();
}

void OverlayInode::AddName(OverlayInode& parent, std::string_view name) {
  MutexLock lock(mutex_);
  for (const Name& n : names_) {
    if (n.parent.get() == &parent && n.name == name) return;
  }
  // A file with more names than this is found by the ones we keep.
  constexpr size_t kMaxNames = 16;
  if (names_.size() >= kMaxNames) return;
  names_.push_back({RefPtr<OverlayInode>(&parent), std::string(name)});
}

void OverlayInode::RemoveName(OverlayInode& parent, std::string_view name) {
  std::vector<Name> drop;  // after the lock
  MutexLock lock(mutex_);
  for (auto it = names_.begin(); it != names_.end(); ++it) {
    if (it->parent.get() != &parent || it->name != name) continue;
    drop.push_back(std::move(*it));
    names_.erase(it);
    return;
  }
}

RefPtr<vfs::Dentry> OverlayInode::RealDentry(bool* is_upper) {
  Inode* u = upper();
  *is_upper = u != nullptr;
  MutexLock lock(mutex_);
  RefPtr<vfs::Dentry>& slot = real_dentry_[*is_upper];
  if (!slot) {
    slot = vfs::Dentry::MakeUnnamed(RefPtr<Inode>(u ? u : lowers_[0].get()), "overlay");
  }
  return slot;
}

Result<vfs::Attributes> OverlayInode::GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) {
  Inode* u = upper();
  vfs::Attributes a = TRY((u ? *u : *lowers_[0]).GetAttr(ctx, wanted));
  a.ino = ino();
  if (!hidden_name_.empty()) --a.nlink;
  if (lowers_.empty()) return a;
  if (IsDir()) {
    if (u) a.nlink = 1;  // of subdirectories in how many layers: 1 says "do not count"
    return a;
  }
  MutexLock lock(mutex_);
  a.nlink = (u ? lower_links_ : a.nlink) + link_change_;
  return a;
}

Result<> OverlayInode::SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) {
  TRY(EnsureUpper(attrs.set & vfs::SetAttributes::kSize ? attrs.size : UINT64_MAX));
  Inode& u = *upper();
  TRY(u.SetAttr(ctx, attrs));
  CacheOwner(u.mode(), u.uid(), u.gid());
  return Ok();
}

Result<std::string> OverlayInode::GetXattr(const vfs::OpContext& ctx, std::string_view name) {
  if (name.starts_with(kPrivatePrefix)) return Errno::kENODATA;
  return real().GetXattr(ctx, name);
}

Result<> OverlayInode::SetXattr(const vfs::OpContext& ctx, std::string_view name,
                                std::string_view value, int flags) {
  if (name.starts_with(kPrivatePrefix)) return Errno::kEPERM;
  TRY(EnsureUpper());
  return upper()->SetXattr(ctx, name, value, flags);
}

Result<> OverlayInode::RemoveXattr(const vfs::OpContext& ctx, std::string_view name) {
  if (name.starts_with(kPrivatePrefix)) return Errno::kEPERM;
  TRY(real().GetXattr(ctx, name));  // not worth a copy if there is nothing to remove
  TRY(EnsureUpper());
  return upper()->RemoveXattr(ctx, name);
}

Result<std::vector<std::string>> OverlayInode::ListXattr(const vfs::OpContext& ctx) {
  std::vector<std::string> names = TRY(real().ListXattr(ctx));
  std::erase_if(names, [](const std::string& n) { return n.starts_with(kPrivatePrefix); });
  return names;
}

}  // namespace msentry::overlay
