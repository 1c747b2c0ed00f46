#include "vfs/mount_namespace.h"

#include "absl/strings/str_cat.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"

namespace msentry::vfs {

namespace {

// Moves `at` up to the top of whatever is stacked on it.
void ToTop(Location* at) {
  while (RefPtr<Mount> over = at->mount->MountedOn(*at->dentry)) {
    RefPtr<Dentry> root = over->root();
    *at = {std::move(over), std::move(root)};
  }
}

std::string OptionsOf(uint32_t flags) {
  std::string s = flags & kMountReadOnly ? "ro" : "rw";
  if (flags & kMountNoSuid) s += ",nosuid";
  if (flags & kMountNoDev) s += ",nodev";
  if (flags & kMountNoExec) s += ",noexec";
  if (flags & kMountNoAtime) s += ",noatime";
  if (flags & kMountNoDirAtime) s += ",nodiratime";
  if (flags & kMountRelatime) s += ",relatime";
  return s;
}

}  // namespace

MountNamespace::MountNamespace(RefPtr<Mount> root) {
  root->attached_.store(true, std::memory_order_release);
  mounts_.push_back(root);
  root_ = std::move(root);
}

RefPtr<MountNamespace> MountNamespace::Create(RefPtr<FileSystem> fs, uint32_t flags) {
  RefPtr<Dentry> root = fs->root();
  return MakeRef<MountNamespace>(MakeRef<Mount>(std::move(fs), std::move(root), flags));
}

MountNamespace::~MountNamespace() {
  std::vector<Location> drop;
  std::vector<RefPtr<Mount>> mounts;
  {
    MutexLock lock(mutex_);
    mounts.swap(mounts_);
    for (const RefPtr<Mount>& m : mounts) UnlinkLocked(*m, &drop);
  }
}

Location MountNamespace::Root() const {
  Location at;
  {
    MutexLock lock(mutex_);
    at.mount = root_;
  }
  at.dentry = at.mount->root();
  ToTop(&at);
  return at;
}

bool MountNamespace::ContainsLocked(const Mount& mount) const {
  for (const RefPtr<Mount>& m : mounts_) {
    if (m.get() == &mount) return true;
  }
  return false;
}

bool MountNamespace::Contains(const Mount& mount) const {
  MutexLock lock(mutex_);
  return ContainsLocked(mount);
}

Result<> MountNamespace::AttachLocked(const RefPtr<Mount>& mount, const Location& where) {
  if (where.dentry->IsDeleted()) return Errno::kENOENT;
  if (where.inode().IsDir() != mount->root()->inode()->IsDir()) return Errno::kENOTDIR;
  if (!where.mount || !ContainsLocked(*where.mount)) return Errno::kEINVAL;
  Location at = where;
  ToTop(&at);
  at.dentry->AddMountPoint();
  {
    MutexLock lock(mount->mutex_);
    mount->parent_ = at.mount;
    mount->mount_point_ = at.dentry;
  }
  {
    MutexLock lock(at.mount->mutex_);
    at.mount->children_[at.dentry.get()] = mount;
  }
  mount->attached_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

void MountNamespace::UnlinkLocked(Mount& mount, std::vector<Location>* drop) {
  mount.attached_.store(false, std::memory_order_release);
  Location from;
  {
    MutexLock lock(mount.mutex_);
    from.mount.swap(mount.parent_);
    from.dentry.swap(mount.mount_point_);
  }
  if (from.mount) {
    MutexLock lock(from.mount->mutex_);
    auto it = from.mount->children_.find(from.dentry.get());
    if (it != from.mount->children_.end()) {
      drop->push_back({std::move(it->second), nullptr});
      from.mount->children_.erase(it);
    }
  }
  if (from.dentry) from.dentry->RemoveMountPoint();
  drop->push_back(std::move(from));
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

Result<RefPtr<Mount>> MountNamespace::Attach(RefPtr<FileSystem> fs, const Location& at,
                                             uint32_t flags) {
  RefPtr<Dentry> root = fs->root();
  return AttachSubtree(std::move(fs), std::move(root), at, flags);
}

Result<RefPtr<Mount>> MountNamespace::AttachSubtree(RefPtr<FileSystem> fs, RefPtr<Dentry> root,
                                                    const Location& at, uint32_t flags) {
  if (!root) return Errno::kEINVAL;
  RefPtr<Mount> mount = MakeRef<Mount>(std::move(fs), std::move(root), flags);
  MutexLock lock(mutex_);
  TRY(AttachLocked(mount, at));
  mounts_.push_back(mount);
  return mount;
}

Result<RefPtr<Mount>> MountNamespace::Bind(const Location& source, const Location& at,
                                           bool recursive) {
  if (!source.mount || source.dentry->IsDeleted()) return Errno::kEINVAL;
  RefPtr<Mount> top =
      MakeRef<Mount>(RefPtr<FileSystem>(&source.mount->fs()), source.dentry, source.mount->flags());
  MutexLock lock(mutex_);
  if (!ContainsLocked(*source.mount)) return Errno::kEINVAL;
  // What to copy is decided before the new mount appears, which may lie below its own source.
  std::vector<RefPtr<Mount>> originals;
  std::map<const Mount*, RefPtr<Mount>> copies{{source.mount.get(), top}};
  if (recursive) {
    for (const RefPtr<Mount>& m : mounts_) {
      Location mp = m->MountPoint();
      if (mp.mount && copies.contains(mp.mount.get()) &&
          (mp.mount != source.mount || mp.dentry->IsInside(*source.dentry))) {
        copies[m.get()] = MakeRef<Mount>(RefPtr<FileSystem>(&m->fs()), m->root(), m->flags());
        originals.push_back(m);
      }
    }
  }
  TRY(AttachLocked(top, at));
  mounts_.push_back(top);
  for (const RefPtr<Mount>& m : originals) {
    Location mp = m->MountPoint();
    const RefPtr<Mount>& copy = copies[m.get()];
    if (AttachLocked(copy, {copies[mp.mount.get()], mp.dentry}).ok()) mounts_.push_back(copy);
  }
  return top;
}

Result<> MountNamespace::Move(const Location& source, const Location& at) {
  std::vector<Location> drop;
  MutexLock lock(mutex_);
  RefPtr<Mount> mount = source.mount;
  if (!mount || source.dentry != mount->root() || !ContainsLocked(*mount)) return Errno::kEINVAL;
  if (mount == root_) return Errno::kEINVAL;
  for (RefPtr<Mount> m = at.mount; m; m = m->MountPoint().mount) {
    if (m == mount) return Errno::kELOOP;
  }
  if (at.dentry->IsDeleted()) return Errno::kENOENT;
  if (at.inode().IsDir() != mount->root()->inode()->IsDir()) return Errno::kENOTDIR;
  if (!ContainsLocked(*at.mount)) return Errno::kEINVAL;
  UnlinkLocked(*mount, &drop);
  return AttachLocked(mount, at);
}

Result<> MountNamespace::SetFlags(Mount& mount, uint32_t flags) {
  MutexLock lock(mutex_);
  if (!ContainsLocked(mount)) return Errno::kEINVAL;
  TRY(mount.SetFlags(flags));
  generation_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

Result<> MountNamespace::Detach(Location at, bool lazy) {
  std::vector<Location> drop;
  std::vector<RefPtr<Mount>> drop_mounts;
  MutexLock lock(mutex_);
  if (!at.mount || at.dentry != at.mount->root() || !ContainsLocked(*at.mount)) {
    return Errno::kEINVAL;
  }
  if (at.mount == root_) return lazy ? Errno::kEINVAL : Errno::kEBUSY;
  bool has_children;
  {
    MutexLock mount_lock(at.mount->mutex_);
    has_children = !at.mount->children_.empty();
  }
  // Ours: the list, the parent's table and `at`. Open files, roots and cwds hold more.
  if (!lazy && (has_children || at.mount->ref_count() > 3)) return Errno::kEBUSY;
  // The whole subtree goes; children first is not needed, each is cut by itself.
  std::set<const Mount*> doomed{at.mount.get()};
  std::vector<RefPtr<Mount>> kept;
  for (RefPtr<Mount>& m : mounts_) {
    RefPtr<Mount> parent = m->MountPoint().mount;
    if (parent && doomed.contains(parent.get())) doomed.insert(m.get());
    (doomed.contains(m.get()) ? drop_mounts : kept).push_back(std::move(m));
  }
  mounts_.swap(kept);
  for (const RefPtr<Mount>& m : drop_mounts) UnlinkLocked(*m, &drop);
  return Ok();
}

Result<> MountNamespace::PivotRoot(const Location& new_root, const Location& put_old) {
  std::vector<Location> drop;
  MutexLock lock(mutex_);
  RefPtr<Mount> fresh = new_root.mount, old = root_;
  if (!fresh || new_root.dentry != fresh->root() || !ContainsLocked(*fresh)) return Errno::kEINVAL;
  if (fresh == old || put_old.mount == old) return Errno::kEBUSY;
  // put_old must be reachable from new_root.
  RefPtr<Mount> m = put_old.mount;
  while (m && m != fresh) m = m->MountPoint().mount;
  if (!m) return Errno::kEINVAL;
  if (!put_old.inode().IsDir()) return Errno::kENOTDIR;
  UnlinkLocked(*fresh, &drop);
  fresh->attached_.store(true, std::memory_order_release);
  root_ = fresh;
  return AttachLocked(old, put_old);
}

RefPtr<MountNamespace> MountNamespace::Clone(std::vector<Location*> translate) const {
  MutexLock lock(mutex_);
  std::map<const Mount*, RefPtr<Mount>> copies;
  for (const RefPtr<Mount>& m : mounts_) {
    copies[m.get()] = MakeRef<Mount>(RefPtr<FileSystem>(&m->fs()), m->root(), m->flags());
  }
  RefPtr<MountNamespace> ns = MakeRef<MountNamespace>(copies[root_.get()]);
  MutexLock ns_lock(ns->mutex_);
  for (const RefPtr<Mount>& m : mounts_) {
    Location mp = m->MountPoint();
    if (m == root_ || !mp.mount) continue;
    const RefPtr<Mount>& copy = copies[m.get()];
    mp.dentry->AddMountPoint();
    RefPtr<Mount> parent = copies[mp.mount.get()];
    {
      MutexLock parent_lock(parent->mutex_);
      parent->children_[mp.dentry.get()] = copy;
    }
    MutexLock copy_lock(copy->mutex_);
    copy->parent_ = std::move(parent);
    copy->mount_point_ = mp.dentry;
    copy->attached_.store(true, std::memory_order_release);
    ns->mounts_.push_back(copy);
  }
  for (Location* l : translate) {
    auto it = copies.find(l->mount.get());
    if (it != copies.end()) l->mount = it->second;
  }
  return ns;
}

std::vector<MountInfo> MountNamespace::List(const Location& root) const {
  std::vector<RefPtr<Mount>> mounts;
  {
    MutexLock lock(mutex_);
    mounts = mounts_;
  }
  std::vector<MountInfo> out;
  for (const RefPtr<Mount>& m : mounts) {
    std::string where = PathOf({m, m->root()}, root);
    if (!where.starts_with('/')) continue;  // not below this root
    MountInfo info;
    info.id = m->id();
    RefPtr<Mount> parent = m->MountPoint().mount;
    info.parent_id = parent ? parent->id() : m->id();
    info.dev = m->fs().dev();
    // Path of a bind mount's root inside its own file system: up the dentries alone.
    for (RefPtr<Dentry> d = m->root(); d && !d->is_root();) {
      std::string name;
      RefPtr<Dentry> up = d->ParentAndName(&name);
      info.root = absl::StrCat("/", name, info.root);
      d = std::move(up);
    }
    if (info.root.empty()) info.root = "/";
    info.mount_point = std::move(where);
    info.options = OptionsOf(m->flags());
    info.type = m->fs().type();
    info.source = m->fs().source();
    info.super_options = m->fs().flags() & FileSystem::kReadOnly ? "ro" : "rw";
    std::string more = m->fs().ShowOptions();
    if (!more.empty()) absl::StrAppend(&info.super_options, ",", more);
    out.push_back(std::move(info));
  }
  return out;
}

}  // namespace msentry::vfs
