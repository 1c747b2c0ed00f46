#include "fsimpl/overlay/overlay_fs.h"

#include "fsimpl/overlay/overlay_inode.h"

namespace msentry::overlay {

namespace {
constexpr uint64_t kMagic = 0x794c7630;
constexpr uint64_t kUpperTag = uint64_t{1} << 62;
}  // namespace

OverlayFs::OverlayFs(const vfs::OpContext& ctx, const Options& options)
    : FileSystem("overlay", options.upper ? uint32_t{kPseudo} : uint32_t{kPseudo | kReadOnly}),
      vfs_(ctx.vfs),
      creds_(&ctx.creds),
      lower_(options.lower),
      upper_(options.upper),
      show_options_(options.show_options) {
  set_source("overlay");
  for (const auto& fs : lower_) {
    fs->AddUser();
    // Files of one gofer have numbers that differ, whatever tree they are in.
    if (upper_ && fs->type() != upper_->type()) tag_upper_ = true;
  }
  if (upper_) {
    upper_->AddUser();
    if (upper_->type() == "tmpfs") tag_upper_ = true;
  }
}

void OverlayFs::Start(RefPtr<OverlayInode> root) {
  root_inode_ = root.get();
  SetRoot(std::move(root));
}

Result<RefPtr<vfs::Inode>> OverlayFs::LinksDirectory() {
  const vfs::OpContext ctx = Internal();
  RefPtr<vfs::Dentry> top = upper_->root();
  if (!top) return Errno::kENOENT;  // unmounted, but for an inode that somebody watches
  vfs::Inode& root = *top->inode();
  sched::FiberMutexLock lock(root.dir_mutex());
  RefPtr<vfs::Inode> there = TRY(RealLookupLocked(ctx, root, kLinksName));
  if (there) return there;
  return root.Mkdir(ctx, kLinksName, 0700, {0, 0});
}

namespace {

// The root of an upper layer that was made a moment ago gets what the merged root has to show,
// once: what the guest makes of it later stays. A host without extended attributes cannot keep the
// mark, nor owners that it does not know.
Result<> PrepareUpperRoot(const vfs::OpContext& ctx, vfs::Inode& lower, vfs::Inode& upper) {
  if (upper.GetXattr(ctx, kPrepared).ok()) return Ok();
  const vfs::Attributes a = TRY(lower.GetAttr(ctx, vfs::kAttrAll));
  vfs::SetAttributes to;
  to.set = vfs::SetAttributes::kMode | vfs::SetAttributes::kUid | vfs::SetAttributes::kGid |
           vfs::SetAttributes::kAtime | vfs::SetAttributes::kMtime;
  to.mode = a.mode & vfs::kModeBits;
  to.uid = a.uid;
  to.gid = a.gid;
  to.atime = a.atime;
  to.mtime = a.mtime;
  Result<> done = upper.SetAttr(ctx, to);
  if (done.ok()) done = upper.SetXattr(ctx, kPrepared, "y", 0);
  return !done.ok() && done.error() == Errno::kEOPNOTSUPP ? Ok() : done;
}

}  // namespace

Result<RefPtr<vfs::FileSystem>> Create(const vfs::OpContext& ctx, const Options& options) {
  if (options.lower.empty()) return Errno::kEINVAL;
  Found root;
  for (const auto& fs : options.lower) {
    RefPtr<vfs::Dentry> top = fs->root();
    if (!top || !top->inode()->IsDir()) return Errno::kENOTDIR;
    root.lowers.emplace_back(top->inode());
  }
  if (options.upper) {
    RefPtr<vfs::Dentry> top = options.upper->root();
    if (!top || !top->inode()->IsDir()) return Errno::kENOTDIR;
    root.upper = RefPtr<vfs::Inode>(top->inode());
    TRY(PrepareUpperRoot(ctx, *root.lowers[0], *root.upper));
  }
  RefPtr<OverlayFs> fs = MakeRef<OverlayFs>(ctx, options);
  fs->Start(fs->InodeFor(std::move(root), nullptr, {}));
  return RefPtr<vfs::FileSystem>(std::move(fs));
}

uint64_t OverlayFs::InoOf(uint64_t real_ino, bool upper) const {
  if (!upper) return real_ino;
  {
    MutexLock lock(mutex_);
    auto it = copied_ino_.find(real_ino);
    if (it != copied_ino_.end()) return it->second;
  }
  return tag_upper_ ? real_ino | kUpperTag : real_ino;
}

RefPtr<OverlayInode> OverlayFs::InodeFor(Found found, OverlayInode* parent, std::string_view name) {
  const vfs::Inode* key = found.upper ? found.upper.get() : found.lowers[0].get();
  RefPtr<OverlayInode> inode;
  {
    MutexLock lock(mutex_);
    auto it = by_real_.find(key);
    if (it != by_real_.end() && it->second->TryRef()) {
      inode = RefPtr<OverlayInode>::Adopt(it->second);
    }
  }
  if (!inode) {
    // A merged directory shows its original's number even when the copy was made by an earlier run.
    const uint64_t ino = !found.lowers.empty() && (found.upper ? found.upper->IsDir() : true)
                             ? found.lowers[0]->ino()
                             : InoOf(*key, found.upper != nullptr);
    RefPtr<OverlayInode> fresh =
        MakeRef<OverlayInode>(RefPtr<OverlayFs>(this), ino, std::move(found));
    MutexLock lock(mutex_);
    OverlayInode*& slot = by_real_[key];
    if (slot && slot->TryRef()) {
      inode =
          RefPtr<OverlayInode>::Adopt(slot);  // another fiber was faster; ours goes after the lock
      slot = inode.get();
    } else {
      slot = fresh.get();
      inode.swap(fresh);
    }
    if (inode->upper() && inode->IsMerged()) copied_ino_[inode->upper()->ino()] = inode->ino();
  }
  if (parent) inode->AddName(*parent, name);
  return inode;
}

void OverlayFs::Register(OverlayInode& inode, vfs::Inode& upper) {
  MutexLock lock(mutex_);
  by_real_[&upper] = &inode;
  copied_ino_[upper.ino()] = inode.ino();
}

void OverlayFs::Forget(OverlayInode& inode) {
  auto erase = [&](const vfs::Inode* real) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto it = by_real_.find(real);
    if (it != by_real_.end() && it->second == &inode) by_real_.erase(it);
  };
  MutexLock lock(mutex_);
  if (inode.upper()) erase(inode.upper());
  for (const auto& lower : inode.lowers()) erase(lower.get());
}

void OverlayFs::NameGone(const vfs::OpContext& ctx, vfs::Inode& upper) {
  {
    MutexLock lock(mutex_);
    if (!copied_ino_.contains(upper.ino())) return;
  }
  if (!upper.IsDir()) {
    Result<vfs::Attributes> left = upper.GetAttr(ctx, vfs::kAttrNlink);
    if (left.ok() && left->nlink != 0) return;
  }
  MutexLock lock(mutex_);
  copied_ino_.erase(upper.ino());
}

void OverlayFs::Pin(RefPtr<OverlayInode> inode) {
  MutexLock lock(mutex_);
  pinned_.push_back(std::move(inode));
}

Result<vfs::StatFs> OverlayFs::GetStatFs(const vfs::OpContext& ctx) {
  vfs::StatFs st = TRY((upper_ ? upper_ : lower_[0])->GetStatFs(ctx));
  st.type = kMagic;
  return st;
}

Result<> OverlayFs::Sync(const vfs::OpContext& ctx) {
  if (!upper_) return Ok();
  return upper_->Sync(ctx);
}

void OverlayFs::Shutdown() {
  std::vector<RefPtr<OverlayInode>> pinned;
  {
    MutexLock lock(mutex_);
    pinned.swap(pinned_);
  }
  pinned.clear();
  for (const auto& fs : lower_) fs->DropUser();
  if (upper_) upper_->DropUser();
}

}  // namespace msentry::overlay
