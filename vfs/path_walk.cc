#include "vfs/path_walk.h"

#include "absl/container/inlined_vector.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

namespace {

constexpr size_t kMaxPrefetch = 16;

std::string_view SkipSlashes(std::string_view s) {
  size_t i = 0;
  while (i < s.size() && s[i] == '/') ++i;
  return s.substr(i);
}

std::string_view FirstName(std::string_view s) { return s.substr(0, s.find('/')); }

bool IsDots(std::string_view name) { return name == "." || name == ".."; }

// A miss, with the directory locked: ask the file system for `name`, and for what `rest` goes on
// with, and put what it says into the cache.
//
// The deeper directories are not locked, and need not be: `name` was not cached, so nobody else has
// a dentry below it, and whoever wants one must come through here.
Result<RefPtr<Dentry>> AskFileSystem(const OpContext& ctx, const RefPtr<Dentry>& dir,
                                     std::string_view name, std::string_view rest) {
  absl::InlinedVector<std::string_view, 8> names{name};
  for (rest = SkipSlashes(rest); !rest.empty() && names.size() < kMaxPrefetch;) {
    std::string_view next = FirstName(rest);
    if (IsDots(next) || next.size() > kNameMax) break;
    names.push_back(next);
    rest = SkipSlashes(rest.substr(next.size()));
  }
  const uint32_t fs_flags = dir->inode()->fs().flags();
  std::vector<PrefetchedName> found;
  if (names.size() == 1) {
    Result<RefPtr<Inode>> inode = dir->inode()->Lookup(ctx, name);
    if (!inode.ok() && inode.error() != Errno::kENOENT) return inode.error();
    bool hash =
        !(fs_flags & FileSystem::kNoCache) && (inode.ok() || !(fs_flags & FileSystem::kNoNegative));
    return dir->AddChild(name, inode.ok() ? std::move(*inode) : nullptr, hash);
  }
  TRY(dir->inode()->Prefetch(ctx, names, &found));
  RefPtr<Dentry> first, at = dir;
  for (size_t i = 0; i < found.size() && i < names.size(); ++i) {
    bool hash = !(fs_flags & FileSystem::kNoCache) &&
                (found[i].inode || !(fs_flags & FileSystem::kNoNegative));
    RefPtr<Dentry> d = at->AddChild(names[i], std::move(found[i].inode), hash);
    if (!first) first = d;
    if (d->negative() || !d->inode()->IsDir()) break;
    at = std::move(d);
  }
  if (!first) return Errno::kEIO;
  return first;
}

}  // namespace

Result<uint32_t> WalkFlagsOfResolve(uint64_t resolve) {
  constexpr uint64_t kNoXdev = 1, kNoMagic = 2, kNoLinks = 4, kBeneath = 8, kInRoot = 16,
                     kCached = 32;
  if (resolve & ~uint64_t{63}) return Errno::kEINVAL;
  if ((resolve & kBeneath) && (resolve & kInRoot)) return Errno::kEINVAL;
  uint32_t flags = 0;
  if (resolve & kNoXdev) flags |= kWalkNoXdev;
  if (resolve & kNoMagic) flags |= kWalkNoMagicLinks;
  if (resolve & kNoLinks) flags |= kWalkNoSymlinks;
  if (resolve & kBeneath) flags |= kWalkBeneath;
  if (resolve & kInRoot) flags |= kWalkInRoot;
  if (resolve & kCached) flags |= kWalkCached;
  return flags;
}

Result<RefPtr<Dentry>> PathWalker::LookupChildLocked(const OpContext& ctx,
                                                     const RefPtr<Dentry>& dir,
                                                     std::string_view name) {
  if (RefPtr<Dentry> cached = dir->FindCached(name)) {
    if (!(dir->inode()->fs().flags() & FileSystem::kRevalidate)) return cached;
    if (TRY(dir->inode()->Revalidate(ctx, *cached))) return cached;
    cached->PruneChildren();
    cached->Unhash(/*deleted=*/false);
  }
  if (name.size() > kNameMax) return Errno::kENAMETOOLONG;
  if (dir->IsDeleted()) return Errno::kENOENT;
  return AskFileSystem(ctx, dir, name, {});
}

Result<RefPtr<Dentry>> PathWalker::LookupChild(const OpContext& ctx, const RefPtr<Dentry>& dir,
                                               std::string_view name) {
  if (RefPtr<Dentry> cached = dir->FindCached(name)) {
    if (!(dir->inode()->fs().flags() & FileSystem::kRevalidate)) return cached;
  }
  sched::FiberMutexLock lock(dir->inode()->dir_mutex());
  return LookupChildLocked(ctx, dir, name);
}

Result<RefPtr<Dentry>> PathWalker::Child(const Location& at, std::string_view name,
                                         std::string_view rest) {
  RefPtr<Dentry> cached = at.dentry->FindCached(name);
  const bool revalidate = at.mount && at.mount->fs().flags() & FileSystem::kRevalidate;
  if (cached && !revalidate) [[likely]]
    return cached;
  if (flags_ & kWalkCached) return Errno::kEAGAIN;
  if (name.size() > kNameMax) return Errno::kENAMETOOLONG;
  cached.Reset();
  sched::FiberMutexLock lock(at.inode().dir_mutex());
  cached = at.dentry->FindCached(name);
  if (cached && revalidate && !TRY(at.inode().Revalidate(c_.op, *cached))) {
    cached->PruneChildren();
    cached->Unhash(/*deleted=*/false);
    cached.Reset();
  }
  if (cached) return cached;
  if (at.dentry->IsDeleted()) return Errno::kENOENT;
  return AskFileSystem(c_.op, at.dentry, name, rest);
}

Result<> PathWalker::CrossMounts(Location* at) {
  while (at->dentry->IsMountPoint()) [[unlikely]] {
      RefPtr<Mount> over = at->mount->MountedOn(*at->dentry);
      if (!over) break;
      if (flags_ & kWalkNoXdev) return Errno::kEXDEV;
      RefPtr<Dentry> root = over->root();
      *at = {std::move(over), std::move(root)};
    }
  return Ok();
}

Result<> PathWalker::DotDot(Location* at) {
  for (;;) {
    if (*at == Root()) {
      if (flags_ & kWalkBeneath) return Errno::kEXDEV;
      break;
    }
    if (at->mount && at->dentry == at->mount->root()) {
      Location up = at->mount->MountPoint();
      if (!up) break;  // the root of the namespace, or an unmounted tree
      if (flags_ & kWalkNoXdev) return Errno::kEXDEV;
      *at = std::move(up);
      continue;
    }
    RefPtr<Dentry> parent = at->dentry->parent();
    if (parent) at->dentry = std::move(parent);
    break;
  }
  TRY(CheckNotMoved());
  return CrossMounts(at);
}

// A directory that was moved out of the scope while we stood in it would let ".." pass by its root.
Result<> PathWalker::CheckNotMoved() const {
  if (scoped() && Dentry::RenameSequence() != sequence_) return Errno::kEAGAIN;
  return Ok();
}

Result<> PathWalker::Start(std::string_view* path, Location* at) {
  if (path->size() >= kPathMax) return Errno::kENAMETOOLONG;
  sequence_ = Dentry::RenameSequence();
  if (path->starts_with('/')) {
    if (flags_ & kWalkBeneath) return Errno::kEXDEV;
    *at = Root();
    *path = SkipSlashes(*path);
    return Ok();
  }
  if (path->empty() && !(flags_ & kWalkEmptyPath)) return Errno::kENOENT;
  *at = c_.start;
  return Ok();
}

// `at` holds the link's directory, and the result.
Result<> PathWalker::FollowLink(Location* at, const Location& link, Want want,
                                ParentAndName* parent) {
  Inode& inode = link.inode();
  if (flags_ & kWalkNoSymlinks) return Errno::kELOOP;
  if (++links_ > kMaxSymlinks) return Errno::kELOOP;
  TRY(CheckProtectedSymlink(c_.op, at->inode(), inode));
  if (inode.IsMagicLink()) {
    if (flags_ & kWalkNoMagicLinks) return Errno::kELOOP;
    if (scoped()) return Errno::kEXDEV;
    Location target = TRY(inode.FollowMagicLink(c_.op));
    if (flags_ & kWalkNoXdev && target.mount != at->mount) return Errno::kEXDEV;
    *at = std::move(target);
    return Ok();
  }
  std::string copy;
  std::string_view text;
  if (const std::string* cached = inode.CachedLink()) {
    text = *cached;  // `link` keeps it
  } else {
    if (flags_ & kWalkCached) return Errno::kEAGAIN;
    copy = TRY(inode.ReadLink(c_.op));
    text = copy;
  }
  if (text.empty()) return Errno::kENOENT;
  if (text.size() >= kPathMax) return Errno::kENAMETOOLONG;
  if (text[0] == '/') {
    if (flags_ & kWalkBeneath) return Errno::kEXDEV;
    if (flags_ & kWalkNoXdev && at->mount != Root().mount) return Errno::kEXDEV;
    *at = Root();
    text = SkipSlashes(text);
  }
  return Walk(text, at, want, parent);
}

Result<> PathWalker::Walk(std::string_view path, Location* at, Want want, ParentAndName* parent) {
  bool must_be_directory = false;
  if (path.empty() && want == Want::kParent) {
    parent->parent = *at;
    parent->kind = ParentAndName::kRoot;
    return Ok();
  }
  while (!path.empty()) {
    std::string_view name = FirstName(path);
    std::string_view after = path.substr(name.size());
    std::string_view next = SkipSlashes(after);
    const bool last = next.empty();
    const bool slash = !after.empty();

    if (at->dentry->negative() || !at->inode().IsDir()) return Errno::kENOTDIR;
    TRY(CheckAccess(c_.op, at->inode(), kMayExec));

    if (last && want == Want::kParent) {
      parent->parent = *at;
      parent->name = name;
      parent->trailing_slash = slash;
      parent->kind = name == "."    ? ParentAndName::kDot
                     : name == ".." ? ParentAndName::kDotDot
                                    : ParentAndName::kNormal;
      return Ok();
    }
    path = next;
    must_be_directory = slash;
    if (name[0] == '.' && name.size() <= 2 && IsDots(name)) {
      must_be_directory = true;
      if (name.size() == 2) TRY(DotDot(at));
      continue;
    }
    RefPtr<Dentry> child = TRY(Child(*at, name, after));
    if (child->negative()) return Errno::kENOENT;
    if (!child->IsMountPoint() && !child->inode()->IsSymlink()) [[likely]] {
      at->dentry = std::move(child);
      continue;
    }
    Location there{at->mount, std::move(child)};
    TRY(CrossMounts(&there));
    if (there.inode().IsSymlink() &&
        (!last || slash || want == Want::kThrough || flags_ & kWalkFollow)) {
      // A final link goes on with what the caller wants; one on the way must lead somewhere.
      TRY(FollowLink(at, there, last && !slash ? want : Want::kThrough, parent));
      continue;
    }
    *at = std::move(there);
  }
  if (must_be_directory && !at->inode().IsDir()) return Errno::kENOTDIR;
  return Ok();
}

Result<Location> PathWalker::Resolve(std::string_view path) {
  Location at;
  TRY(Start(&path, &at));
  TRY(Walk(path, &at, Want::kFinal, nullptr));
  if (flags_ & kWalkDirectory && !at.inode().IsDir()) return Errno::kENOTDIR;
  return at;
}

Result<ParentAndName> PathWalker::ResolveParent(std::string_view path) {
  ParentAndName out;
  Location at;
  if (path.empty()) return Errno::kENOENT;
  TRY(Start(&path, &at));
  TRY(Walk(path, &at, Want::kParent, &out));
  return out;
}

Result<ParentAndName> PathWalker::ResolveParentOfLink(const Location& parent,
                                                      const Location& link) {
  ParentAndName out;
  Location at = parent;
  TRY(FollowLink(&at, link, Want::kParent, &out));
  return out;
}

}  // namespace msentry::vfs
