#include "vfs/mount_namespace.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"

namespace msentry::vfs {

namespace {

// All namespaces together: propagation multiplies.
constexpr int kMostMounts = 32768;
int total_mounts = 0;  // topology

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

Mutex& MountNamespace::Topology() {
  static auto* mutex = new Mutex();
  return *mutex;
}

Location MountNamespace::Top(Location at) {
  while (at.mount) {
    RefPtr<Mount> over = at.mount->MountedOn(*at.dentry);
    if (!over) break;
    RefPtr<Dentry> root = over->root();
    at = {std::move(over), std::move(root)};
  }
  return at;
}

RefPtr<MountNamespace> MountNamespace::Create(RefPtr<FileSystem> fs, uint32_t flags) {
  RefPtr<Dentry> root = fs->root();
  auto ns = MakeRef<MountNamespace>();
  MutexLock lock(Topology());
  ns->root_ = MakeRef<Mount>(std::move(fs), std::move(root), flags);
  ns->Adopt({ns->root_});
  return ns;
}

MountNamespace::~MountNamespace() {
  std::vector<Location> drop;
  std::vector<RefPtr<Mount>> dropped;
  RefPtr<Mount> root;
  MutexLock lock(Topology());
  root.swap(root_);
  if (root) Remove(root, &drop, &dropped);
}

Location MountNamespace::Root() const {
  Location at;
  {
    MutexLock lock(Topology());
    at.mount = root_;
  }
  at.dentry = at.mount->root();
  return Top(std::move(at));
}

bool MountNamespace::Contains(const Mount& mount) const {
  MutexLock lock(Topology());
  return mount.namespace_ == this;
}

// ---- Building blocks ----

void MountNamespace::Adopt(const std::vector<RefPtr<Mount>>& tree) {
  for (const RefPtr<Mount>& mount : tree) {
    mount->namespace_ = this;
    mount->attached_.store(true, std::memory_order_release);
    mounts_.push_back(mount);
    ++total_mounts;
  }
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

void MountNamespace::Link(const RefPtr<Mount>& mount, const Location& at) {
  at.dentry->AddMountPoint();
  {
    MutexLock lock(mount->mutex_);
    mount->parent_ = at.mount;
    mount->mount_point_ = at.dentry;
  }
  MutexLock lock(at.mount->mutex_);
  at.mount->children_[at.dentry.get()] = mount;
}

void MountNamespace::Unlink(Mount& mount, std::vector<Location>* drop) {
  Location from;
  {
    MutexLock lock(mount.mutex_);
    from.mount.swap(mount.parent_);
    from.dentry.swap(mount.mount_point_);
  }
  if (from.mount) {
    MutexLock lock(from.mount->mutex_);
    auto it = from.mount->children_.find(from.dentry.get());
    if (it != from.mount->children_.end() && it->second.get() == &mount) {
      drop->push_back({std::move(it->second), nullptr});
      from.mount->children_.erase(it);
    }
  }
  if (from.dentry) from.dentry->RemoveMountPoint();
  drop->push_back(std::move(from));
}

// The mounts below `mount` (only those on or below `inside`, when given), parents first.
std::vector<RefPtr<Mount>> MountNamespace::Below(const RefPtr<Mount>& mount,
                                                 const Dentry* inside) const {
  std::vector<RefPtr<Mount>> found;
  std::vector<RefPtr<Mount>> next{mount};
  for (size_t i = 0; i < next.size(); ++i) {
    const RefPtr<Mount> parent = next[i];
    std::vector<RefPtr<Mount>> children;
    {
      MutexLock lock(parent->mutex_);
      for (const auto& [dentry, child] : parent->children_) {
        if (i > 0 || inside == nullptr || dentry->IsInside(*inside)) children.push_back(child);
      }
    }
    // In the order of mounting: the table has none.
    std::sort(children.begin(), children.end(),
              [](const auto& a, const auto& b) { return a->id() < b->id(); });
    for (RefPtr<Mount>& child : children) {
      found.push_back(child);
      next.push_back(std::move(child));
    }
  }
  return found;
}

RefPtr<Mount> MountNamespace::CopyMount(const Mount& from, RefPtr<Dentry> root, CopyKind kind) {
  auto copy = MakeRef<Mount>(RefPtr<FileSystem>(from.fs_), std::move(root), from.flags());
  if (kind == CopyKind::kSlave && from.shared_) {
    BecomeSlave(*copy, from.shared_);
  } else if (kind == CopyKind::kLike) {
    if (from.shared_) JoinPeers(*copy, from.shared_);
    if (from.master_) BecomeSlave(*copy, from.master_);
  }
  return copy;
}

Result<std::vector<RefPtr<Mount>>> MountNamespace::CopyTree(const RefPtr<Mount>& mount,
                                                            RefPtr<Dentry> root, bool recursive,
                                                            CopyKind kind) {
  std::vector<RefPtr<Mount>> below;
  if (recursive) below = Below(mount, root.get());
  if (total_mounts + static_cast<int>(below.size()) + 1 > kMostMounts) return Errno::kENOSPC;
  std::vector<RefPtr<Mount>> tree{CopyMount(*mount, std::move(root), kind)};
  std::map<const Mount*, RefPtr<Mount>> copies{{mount.get(), tree[0]}};
  for (const RefPtr<Mount>& m : below) {
    const Location at = m->MountPoint();
    auto parent = copies.find(at.mount.get());
    if (m->unbindable_ || parent == copies.end()) continue;
    RefPtr<Mount> copy = CopyMount(*m, m->root(), kind);
    Link(copy, {parent->second, at.dentry});
    copies[m.get()] = copy;
    tree.push_back(std::move(copy));
  }
  return tree;
}

Result<> MountNamespace::CheckPlace(const Mount& mount, const Location& at) const {
  if (at.dentry->IsDeleted()) return Errno::kENOENT;
  if (at.inode().IsDir() != mount.root()->inode()->IsDir()) return Errno::kENOTDIR;
  if (!at.mount || at.mount->namespace_ != this) return Errno::kEINVAL;
  return Ok();
}

Result<> MountNamespace::AttachTree(const std::vector<RefPtr<Mount>>& tree, const Location& where) {
  const Location at = Top(where);
  const size_t copies = Receivers(*at.mount).size() + 1;
  if (total_mounts + static_cast<int>(tree.size() * copies) > kMostMounts) return Errno::kENOSPC;
  // What is mounted on a shared mount is shared too.
  if (at.mount->shared_) {
    for (const RefPtr<Mount>& mount : tree) MakeShared(*mount);
  }
  TRY(Propagate(tree, at));
  Link(tree[0], at);
  Adopt(tree);
  return Ok();
}

void MountNamespace::Remove(const RefPtr<Mount>& mount, std::vector<Location>* drop,
                            std::vector<RefPtr<Mount>>* dropped) {
  std::vector<RefPtr<Mount>> doomed = Below(mount, nullptr);
  doomed.push_back(mount);
  for (const RefPtr<Mount>& m : doomed) {
    Change(*m, Propagation::kPrivate);
    m->attached_.store(false, std::memory_order_release);
    Unlink(*m, drop);
    if (m->namespace_ != nullptr) --total_mounts;
    m->namespace_ = nullptr;
  }
  std::erase_if(mounts_, [&](RefPtr<Mount>& m) {
    if (m->namespace_ == this) return false;
    dropped->push_back(std::move(m));
    return true;
  });
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

// ---- Operations ----

Result<RefPtr<Mount>> MountNamespace::Attach(RefPtr<FileSystem> fs, const Location& at,
                                             uint32_t flags) {
  RefPtr<Dentry> root = fs->root();
  return AttachSubtree(std::move(fs), std::move(root), at, flags);
}

Result<RefPtr<Mount>> MountNamespace::AttachSubtree(RefPtr<FileSystem> fs, RefPtr<Dentry> root,
                                                    const Location& at, uint32_t flags) {
  if (!root) return Errno::kEINVAL;
  RefPtr<Mount> mount = MakeRef<Mount>(std::move(fs), std::move(root), flags);
  MutexLock lock(Topology());
  TRY(CheckPlace(*mount, at));
  TRY(AttachTree({mount}, at));
  return mount;
}

Result<RefPtr<Mount>> MountNamespace::Bind(const Location& source, const Location& at,
                                           bool recursive) {
  if (!source.mount || source.dentry->IsDeleted()) return Errno::kEINVAL;
  std::vector<Location> drop;
  std::vector<RefPtr<Mount>> dropped;
  MutexLock lock(Topology());
  if (source.mount->namespace_ != this || source.mount->unbindable_) return Errno::kEINVAL;
  std::vector<RefPtr<Mount>> tree =
      TRY(CopyTree(source.mount, source.dentry, recursive, CopyKind::kLike));
  Result<> attached = CheckPlace(*tree[0], at);
  if (attached.ok()) attached = AttachTree(tree, at);
  if (!attached.ok()) {
    Remove(tree[0], &drop, &dropped);
    return attached.error();
  }
  return tree[0];
}

Result<> MountNamespace::Move(const Location& source, const Location& at) {
  std::vector<Location> drop;
  MutexLock lock(Topology());
  RefPtr<Mount> mount = source.mount;
  if (!mount || source.dentry != mount->root() || mount->namespace_ != this) return Errno::kEINVAL;
  if (mount == root_) return Errno::kEINVAL;
  if (mount->MountPoint().mount->shared_) return Errno::kEINVAL;
  for (RefPtr<Mount> m = at.mount; m; m = m->MountPoint().mount) {
    if (m == mount) return Errno::kELOOP;
  }
  TRY(CheckPlace(*mount, at));
  std::vector<RefPtr<Mount>> tree = Below(mount, nullptr);
  tree.insert(tree.begin(), mount);
  if (at.mount->shared_) {
    for (const RefPtr<Mount>& m : tree) {
      if (m->unbindable_) return Errno::kEINVAL;
    }
  }
  // As if it were new: taken out of the list, then adopted again.
  Unlink(*mount, &drop);
  for (const RefPtr<Mount>& m : tree) {
    std::erase(mounts_, m);
    --total_mounts;
  }
  const Result<> attached = AttachTree(tree, at);
  if (attached.ok()) return Ok();
  const auto from = std::find_if(drop.begin(), drop.end(), [](const Location& l) { return !!l; });
  Link(mount, *from);
  Adopt(tree);
  return attached.error();
}

Result<> MountNamespace::SetPropagation(const Location& at, Propagation kind, bool recursive) {
  MutexLock lock(Topology());
  if (!at.mount || at.dentry != at.mount->root() || at.mount->namespace_ != this) {
    return Errno::kEINVAL;
  }
  std::vector<RefPtr<Mount>> mounts;
  if (recursive) mounts = Below(at.mount, nullptr);
  mounts.push_back(at.mount);
  for (const RefPtr<Mount>& mount : mounts) Change(*mount, kind);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

Result<> MountNamespace::SetFlags(Mount& mount, uint32_t flags) {
  MutexLock lock(Topology());
  if (mount.namespace_ != this) return Errno::kEINVAL;
  TRY(mount.SetFlags(flags));
  generation_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

Result<> MountNamespace::Detach(Location at, bool lazy) {
  std::vector<Location> drop;
  std::vector<RefPtr<Mount>> dropped;
  MutexLock lock(Topology());
  if (!at.mount || at.dentry != at.mount->root() || at.mount->namespace_ != this) {
    return Errno::kEINVAL;
  }
  if (at.mount == root_) return lazy ? Errno::kEINVAL : Errno::kEBUSY;
  const auto busy = [](const RefPtr<Mount>& mount, int own) {
    MutexLock mount_lock(mount->mutex_);
    return !mount->children_.empty() || mount->ref_count() > own;
  };
  // Ours: the list, the parent's table and `at`. Open files, roots and cwds hold more.
  if (!lazy && busy(at.mount, 3)) return Errno::kEBUSY;
  // The copies that propagation made; those that are used as something else stay.
  const Location place = at.mount->MountPoint();
  std::vector<RefPtr<Mount>> also;
  for (const Receiver& receiver : Receivers(*place.mount)) {
    RefPtr<Mount> copy = receiver.mount->MountedOn(*place.dentry);
    if (!copy || copy == at.mount) continue;
    const bool in_use = busy(copy, 3);
    if (!lazy && in_use) {
      MutexLock mount_lock(copy->mutex_);
      if (copy->children_.empty()) return Errno::kEBUSY;
      continue;
    }
    also.push_back(std::move(copy));
  }
  for (const RefPtr<Mount>& copy : also) {
    if (copy->namespace_ != nullptr) copy->namespace_->Remove(copy, &drop, &dropped);
  }
  Remove(at.mount, &drop, &dropped);
  return Ok();
}

Result<> MountNamespace::PivotRoot(const Location& new_root, const Location& put_old) {
  std::vector<Location> drop;
  MutexLock lock(Topology());
  RefPtr<Mount> fresh = new_root.mount, old = root_;
  if (!fresh || new_root.dentry != fresh->root() || fresh->namespace_ != this) {
    return Errno::kEINVAL;
  }
  if (fresh == old || put_old.mount == old) return Errno::kEBUSY;
  if (fresh->MountPoint().mount->shared_ || put_old.mount->shared_) return Errno::kEINVAL;
  // put_old must be reachable from new_root.
  RefPtr<Mount> m = put_old.mount;
  while (m && m != fresh) m = m->MountPoint().mount;
  if (!m) return Errno::kEINVAL;
  if (!put_old.inode().IsDir()) return Errno::kENOTDIR;
  if (put_old.dentry->IsDeleted()) return Errno::kENOENT;
  Unlink(*fresh, &drop);
  root_ = fresh;
  Link(old, Top(put_old));
  generation_.fetch_add(1, std::memory_order_acq_rel);
  return Ok();
}

Result<RefPtr<MountNamespace>> MountNamespace::Clone(std::vector<Location*> translate) const {
  auto ns = MakeRef<MountNamespace>();
  std::map<const Mount*, RefPtr<Mount>> copies;
  MutexLock lock(Topology());
  if (total_mounts + static_cast<int>(mounts_.size()) > kMostMounts) return Errno::kENOSPC;
  for (const RefPtr<Mount>& m : mounts_) {
    RefPtr<Mount> copy = CopyMount(*m, m->root(), CopyKind::kLike);
    copy->unbindable_ = m->unbindable_;
    ns->Adopt({copy});
    copies[m.get()] = std::move(copy);
  }
  ns->root_ = copies[root_.get()];
  for (const RefPtr<Mount>& m : mounts_) {
    const Location at = m->MountPoint();
    if (at.mount) ns->Link(copies[m.get()], {copies[at.mount.get()], at.dentry});
  }
  for (Location* l : translate) {
    auto it = copies.find(l->mount.get());
    if (it != copies.end()) l->mount = it->second;
  }
  return ns;
}

std::vector<MountInfo> MountNamespace::List(const Location& root) const {
  std::vector<RefPtr<Mount>> mounts;
  std::vector<std::string> propagation;
  {
    MutexLock lock(Topology());
    mounts = mounts_;
    for (const RefPtr<Mount>& m : mounts) {
      std::string text;
      if (m->shared_) absl::StrAppend(&text, "shared:", m->shared_->id, " ");
      if (m->master_) absl::StrAppend(&text, "master:", m->master_->id, " ");
      if (m->unbindable_) text += "unbindable ";
      propagation.push_back(std::move(text));
    }
  }
  std::vector<MountInfo> out;
  for (size_t i = 0; i < mounts.size(); ++i) {
    const RefPtr<Mount>& m = mounts[i];
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
    info.propagation = propagation[i];
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
