// Making and removing names: mkdir, mknod, symlink, link, unlink, rmdir.
#include <sys/inotify.h>

#include "absl/functional/function_ref.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"
#include "vfs/vfs.h"

namespace msentry::vfs {

namespace {

using MakeFn = absl::FunctionRef<Result<RefPtr<Inode>>(Inode& dir, std::string_view name)>;

// The common part of everything that makes a name.
Result<Location> MakeName(const WalkContext& walk, std::string_view path, bool directory,
                          MakeFn make) {
  ParentAndName p = TRY(PathWalker(walk, 0).ResolveParent(path));
  if (p.kind != ParentAndName::kNormal) return Errno::kEEXIST;
  RefPtr<Dentry> child = TRY(PathWalker::LookupChild(walk.op, p.parent.dentry, p.name));
  if (!child->negative()) return Errno::kEEXIST;
  if (p.trailing_slash && !directory) return Errno::kENOENT;
  child.Reset();
  Inode& dir = p.parent.inode();
  {
    sched::FiberMutexLock lock(dir.dir_mutex());
    child = TRY(PathWalker::LookupChildLocked(walk.op, p.parent.dentry, p.name));
    if (!child->negative()) return Errno::kEEXIST;
    TRY(p.parent.mount->CheckWritable());
    if (p.parent.dentry->IsDeleted()) return Errno::kENOENT;
    TRY(CheckCreate(walk.op, dir));
    RefPtr<Inode> inode = TRY(make(dir, p.name));
    child->Instantiate(std::move(inode), !(dir.fs().flags() & FileSystem::kNoCache));
  }
  NotifyName(dir, p.name, directory, IN_CREATE);
  return Location{std::move(p.parent.mount), std::move(child)};
}

struct Removal {
  ParentAndName p;
  RefPtr<Dentry> child;
};

// After the name went: the cache, and who watches.
void AfterRemoval(const Removal& r, bool directory) {
  RefPtr<Inode> inode(r.child->inode());
  if (directory) r.child->PruneChildren();
  r.child->Unhash(/*deleted=*/true);
  Inode& dir = r.p.parent.inode();
  // The next lookup need not ask: the directory is still locked.
  if (!(dir.fs().flags() & (FileSystem::kNoCache | FileSystem::kNoNegative))) {
    r.p.parent.dentry->AddChild(r.p.name, nullptr);
  }
}

}  // namespace

Result<> Mkdir(const WalkContext& walk, std::string_view path, uint32_t mode) {
  TRY(MakeName(walk, path, true, [&](Inode& dir, std::string_view name) {
    NewFile f = PrepareNewFile(walk.op, dir, S_IFDIR | (mode & 01777));
    return dir.Mkdir(walk.op, name, f.mode & kModeBits, f.owner);
  }));
  return Ok();
}

Result<Location> MakeNode(const WalkContext& walk, std::string_view path, uint32_t mode,
                          uint64_t rdev) {
  const uint32_t type = mode & S_IFMT ? mode & S_IFMT : uint32_t{S_IFREG};
  if (type == S_IFDIR) return Errno::kEPERM;
  if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO &&
      type != S_IFSOCK) {
    return Errno::kEINVAL;
  }
  const bool device = type == S_IFCHR || type == S_IFBLK;
  return MakeName(walk, path, false,
                  [&](Inode& dir, std::string_view name) -> Result<RefPtr<Inode>> {
                    if (device && !walk.op.creds.HasCap(auth::Cap::kMknod)) return Errno::kEPERM;
                    if (device) TRY(walk.op.vfs.CheckDevice(walk.op, type, rdev, 0));
                    NewFile f = PrepareNewFile(walk.op, dir, type | (mode & kModeBits));
                    if (type == S_IFREG) {
                      return dir.Create(walk.op, name, f.mode & kModeBits, f.owner);
                    }
                    return dir.Mknod(walk.op, name, f.mode, device ? rdev : 0, f.owner);
                  });
}

Result<> Mknod(const WalkContext& walk, std::string_view path, uint32_t mode, uint64_t rdev) {
  TRY(MakeNode(walk, path, mode, rdev));
  return Ok();
}

Result<> Symlink(const WalkContext& walk, std::string_view target, std::string_view path) {
  if (target.empty()) return Errno::kENOENT;
  if (target.size() >= kPathMax) return Errno::kENAMETOOLONG;
  TRY(MakeName(walk, path, false, [&](Inode& dir, std::string_view name) {
    NewFile f = PrepareNewFile(walk.op, dir, S_IFLNK | 0777);
    return dir.Symlink(walk.op, name, target, f.owner);
  }));
  return Ok();
}

Result<> Link(const WalkContext& from, std::string_view from_path, uint32_t from_flags,
              const WalkContext& to, std::string_view to_path) {
  Location old = TRY(PathWalker(from, from_flags).Resolve(from_path));
  ParentAndName p = TRY(PathWalker(to, 0).ResolveParent(to_path));
  if (p.kind != ParentAndName::kNormal) return Errno::kEEXIST;
  Inode& dir = p.parent.inode();
  Inode& target = old.inode();
  {
    sched::FiberMutexLock lock(dir.dir_mutex());
    RefPtr<Dentry> child = TRY(PathWalker::LookupChildLocked(to.op, p.parent.dentry, p.name));
    if (!child->negative()) return Errno::kEEXIST;
    if (p.trailing_slash) return Errno::kENOENT;
    if (old.mount != p.parent.mount || &target.fs() != &dir.fs()) return Errno::kEXDEV;
    TRY(p.parent.mount->CheckWritable());
    TRY(CheckProtectedHardlink(to.op, target));
    if (p.parent.dentry->IsDeleted()) return Errno::kENOENT;
    TRY(CheckCreate(to.op, dir));
    if (target.IsDir()) return Errno::kEPERM;
    TRY(dir.Link(to.op, p.name, target));
    child->Instantiate(RefPtr<Inode>(&target), !(dir.fs().flags() & FileSystem::kNoCache));
  }
  NotifyInode(target, IN_ATTRIB);
  NotifyName(dir, p.name, false, IN_CREATE);
  return Ok();
}

Result<> Unlink(const WalkContext& walk, std::string_view path) {
  Removal r;
  r.p = TRY(PathWalker(walk, 0).ResolveParent(path));
  if (r.p.kind != ParentAndName::kNormal) return Errno::kEISDIR;
  Inode& dir = r.p.parent.inode();
  {
    sched::FiberMutexLock lock(dir.dir_mutex());
    r.child = TRY(PathWalker::LookupChildLocked(walk.op, r.p.parent.dentry, r.p.name));
    if (r.child->negative()) return Errno::kENOENT;
    Inode& victim = *r.child->inode();
    if (r.p.trailing_slash) return victim.IsDir() ? Errno::kEISDIR : Errno::kENOTDIR;
    TRY(r.p.parent.mount->CheckWritable());
    TRY(CheckDelete(walk.op, dir, victim));
    if (victim.IsDir()) return Errno::kEISDIR;
    if (r.child->IsMountPoint()) return Errno::kEBUSY;
    TRY(dir.Unlink(walk.op, r.p.name, victim));
    AfterRemoval(r, false);
  }
  if (InotifyActive()) {
    Result<Attributes> left = r.child->inode()->GetAttr(walk.op, kAttrNlink);
    if (left.ok() && left->nlink == 0) {
      // With the last name gone the watches end when the last open file is; nearly always now.
      NotifyInode(*r.child->inode(), IN_ATTRIB);
      EndWatches(*r.child->inode(), IN_DELETE_SELF);
    } else {
      NotifyInode(*r.child->inode(), IN_ATTRIB);
    }
    NotifyName(dir, r.p.name, false, IN_DELETE);
  }
  return Ok();
}

Result<> Rmdir(const WalkContext& walk, std::string_view path) {
  Removal r;
  r.p = TRY(PathWalker(walk, 0).ResolveParent(path));
  switch (r.p.kind) {
    case ParentAndName::kNormal:
      break;
    case ParentAndName::kDot:
      return Errno::kEINVAL;
    case ParentAndName::kDotDot:
      return Errno::kENOTEMPTY;
    case ParentAndName::kRoot:
      return Errno::kEBUSY;
  }
  Inode& dir = r.p.parent.inode();
  {
    sched::FiberMutexLock lock(dir.dir_mutex());
    r.child = TRY(PathWalker::LookupChildLocked(walk.op, r.p.parent.dentry, r.p.name));
    if (r.child->negative()) return Errno::kENOENT;
    Inode& victim = *r.child->inode();
    TRY(r.p.parent.mount->CheckWritable());
    TRY(CheckDelete(walk.op, dir, victim));
    if (!victim.IsDir()) return Errno::kENOTDIR;
    if (r.child->IsMountPoint()) return Errno::kEBUSY;
    // The victim's own lock: nobody makes a name in it while it goes.
    sched::FiberMutexLock victim_lock(victim.dir_mutex());
    TRY(dir.Rmdir(walk.op, r.p.name, victim));
    AfterRemoval(r, true);
  }
  if (InotifyActive()) {
    EndWatches(*r.child->inode(), IN_DELETE_SELF);
    NotifyName(dir, r.p.name, true, IN_DELETE);
  }
  return Ok();
}

}  // namespace msentry::vfs
