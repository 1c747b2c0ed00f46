// OverlayInode: finding names in the layers, and listing directories.
#include <dirent.h>

#include <unordered_set>

#include "fsimpl/overlay/overlay_inode.h"
#include "vfs/file_description.h"

namespace msentry::overlay {

Result<RefPtr<vfs::Inode>> RealLookupLocked(const vfs::OpContext& ctx, vfs::Inode& dir,
                                            std::string_view name) {
  Result<RefPtr<vfs::Inode>> inode = dir.Lookup(ctx, name);
  if (!inode.ok() && inode.error() == Errno::kENOENT) return RefPtr<vfs::Inode>();
  return inode;
}

Result<RefPtr<vfs::Inode>> RealLookup(const vfs::OpContext& ctx, vfs::Inode& dir,
                                      std::string_view name) {
  sched::FiberMutexLock lock(dir.dir_mutex());
  return RealLookupLocked(ctx, dir, name);
}

bool IsWhiteout(const vfs::OpContext& ctx, vfs::Inode& inode) {
  if (inode.type() != S_IFCHR) [[likely]]
    return false;
  Result<vfs::Attributes> a = inode.GetAttr(ctx, vfs::kAttrIdentity);
  return a.ok() && a->rdev == 0;
}

bool IsOpaque(const vfs::OpContext& ctx, vfs::Inode& dir) {
  Result<std::string> value = dir.GetXattr(ctx, kOpaque);
  return value.ok() && *value == "y";
}

// A directory that was moved: its lower part is where it came from.
Result<> OverlayInode::FindRedirected(std::string_view path, Found* found) {
  const vfs::OpContext ctx = overlay().Internal();
  for (size_t layer = 0; layer < overlay().lower_count(); ++layer) {
    RefPtr<Inode> at(&overlay().lower_root(layer));
    std::string_view rest = path;
    while (at && !rest.empty()) {
      const std::string_view name = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      if (name.empty()) continue;
      if (!at->IsDir()) {
        at.Reset();
      } else {
        at = TRY(RealLookup(ctx, *at, name));
      }
    }
    if (!at) continue;
    if (!at->IsDir()) break;  // a whiteout, or a file: hides what is below
    const bool opaque = layer + 1 < overlay().lower_count() && IsOpaque(ctx, *at);
    found->lowers.push_back(std::move(at));
    if (opaque) break;
  }
  found->lower_path = path;
  return Ok();
}

Result<Found> OverlayInode::Find(std::string_view name) {
  const vfs::OpContext ctx = overlay().Internal();
  Found found;
  if (name == kLinksName && overlay().IsRoot(*this)) return found;
  if (Inode* u = upper()) {
    found.upper = TRY(RealLookup(ctx, *u, name));
    if (found.upper) {
      if (IsWhiteout(ctx, *found.upper)) return Found();
      if (!found.upper->IsDir() || IsOpaque(ctx, *found.upper)) return found;
      Result<std::string> redirect = found.upper->GetXattr(ctx, kRedirect);
      if (redirect.ok() && !redirect->empty()) {
        TRY(FindRedirected(*redirect, &found));
        return found;
      }
    }
  }
  for (size_t i = 0; i < lowers_.size(); ++i) {
    RefPtr<Inode> lower = TRY(RealLookup(ctx, *lowers_[i], name));
    if (!lower) continue;
    if (!lower->IsDir()) {
      if (!found.any() && !IsWhiteout(ctx, *lower)) found.lowers.push_back(std::move(lower));
      break;
    }
    const bool opaque = i + 1 < lowers_.size() && IsOpaque(ctx, *lower);
    found.lowers.push_back(std::move(lower));
    if (opaque) break;
  }
  if (!found.lowers.empty() && found.lowers[0]->IsDir()) {
    found.lower_path = lower_path_ + "/" + std::string(name);
  }
  return found;
}

Result<bool> OverlayInode::LowerHas(std::string_view name) {
  const vfs::OpContext ctx = overlay().Internal();
  for (const RefPtr<Inode>& dir : lowers_) {
    RefPtr<Inode> lower = TRY(RealLookup(ctx, *dir, name));
    if (lower) return !IsWhiteout(ctx, *lower);
  }
  return false;
}

Result<RefPtr<vfs::Inode>> OverlayInode::Lookup(const vfs::OpContext&, std::string_view name) {
  Found found = TRY(Find(name));
  if (!found.any()) return Errno::kENOENT;
  return RefPtr<Inode>(overlay().InodeFor(std::move(found), this, name));
}

Result<> OverlayInode::Prefetch(const vfs::OpContext& caller,
                                std::span<const std::string_view> names,
                                std::vector<vfs::PrefetchedName>* out) {
  // What lies only in one lower layer is found in one go, to any depth.
  if (lowers_.size() != 1) return Inode::Prefetch(caller, names, out);
  const vfs::OpContext ctx = overlay().Internal();
  if (Inode* u = upper()) {
    RefPtr<Inode> above = TRY(RealLookup(ctx, *u, names[0]));
    if (above) return Inode::Prefetch(caller, names, out);
  }
  std::vector<vfs::PrefetchedName> lower;
  {
    sched::FiberMutexLock lock(lowers_[0]->dir_mutex());
    TRY(lowers_[0]->Prefetch(ctx, names, &lower));
  }
  RefPtr<OverlayInode> parent(this);
  for (size_t i = 0; i < lower.size(); ++i) {
    if (!lower[i].inode || IsWhiteout(ctx, *lower[i].inode)) {
      out->push_back({nullptr});
      break;
    }
    Found found;
    if (lower[i].inode->IsDir()) {
      found.lower_path = parent->lower_path_ + "/" + std::string(names[i]);
    }
    found.lowers.push_back(std::move(lower[i].inode));
    RefPtr<OverlayInode> inode = overlay().InodeFor(std::move(found), parent.get(), names[i]);
    out->push_back({inode});
    if (inode->upper()) break;  // a copy made through another name: what is below may differ
    parent = std::move(inode);
  }
  return Ok();
}

void OverlayInode::NamesChanged() {
  std::shared_ptr<const Entries> dropped;
  MutexLock lock(mutex_);
  dropped.swap(listing_);
  ++changes_;
}

Result<std::shared_ptr<const OverlayInode::Entries>> OverlayInode::Listing() {
  constexpr size_t kKept = 4096;
  uint64_t changes;
  {
    MutexLock lock(mutex_);
    if (listing_) return listing_;
    changes = changes_;
  }
  auto fresh = std::make_shared<Entries>();
  TRY(List([&](Entry&& e) {
    fresh->push_back(std::move(e));
    return true;
  }));
  std::shared_ptr<const Entries> listing = std::move(fresh);
  MutexLock lock(mutex_);
  if (changes == changes_ && listing->size() <= kKept) listing_ = listing;
  return listing;
}

Result<> OverlayInode::List(absl::FunctionRef<bool(Entry&&)> visit) {
  const vfs::OpContext ctx = overlay().Internal();
  std::vector<std::pair<RefPtr<Inode>, bool>> layers;
  if (Inode* u = upper()) layers.emplace_back(RefPtr<Inode>(u), true);
  for (const RefPtr<Inode>& lower : lowers_) layers.emplace_back(lower, false);
  std::unordered_set<std::string> seen;
  const bool root = overlay().IsRoot(*this);
  for (size_t i = 0; i < layers.size(); ++i) {
    const RefPtr<Inode>& dir = layers[i].first;
    const bool is_upper = layers[i].second;
    const bool last = i + 1 == layers.size();
    vfs::Location at{nullptr, vfs::Dentry::MakeUnnamed(dir, "overlay")};
    RefPtr<vfs::FileDescription> file = TRY(dir->Open(ctx, {at, O_RDONLY | O_DIRECTORY}));
    std::vector<Entry> entries;
    for (bool more = true; more;) {
      more = false;
      TRY(file->IterateDirents(ctx, [&](const vfs::Dirent& d) {
        more = true;
        if (d.name != "." && d.name != ".." && !(root && d.name == kLinksName)) {
          entries.push_back({std::string(d.name), d.type, overlay().InoOf(d.ino, is_upper)});
        }
        return true;
      }));
    }
    for (Entry& e : entries) {
      if (e.type == DT_CHR) {
        RefPtr<Inode> inode = TRY(RealLookup(ctx, *dir, e.name));
        if (inode && IsWhiteout(ctx, *inode)) {
          seen.insert(std::move(e.name));
          continue;
        }
      }
      if (i > 0 && seen.contains(e.name)) continue;
      if (!last) seen.insert(e.name);
      if (!visit(std::move(e))) return Ok();
    }
  }
  return Ok();
}

}  // namespace msentry::overlay
