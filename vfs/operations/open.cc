// open(2): what to resolve, what to make, what to check, and who opens it.
#include <sys/inotify.h>

#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"
#include "vfs/vfs.h"

namespace msentry::vfs {

namespace {

int AccessMask(int flags) {
  int mask = 0;
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      mask = kMayRead;
      break;
    case O_WRONLY:
      mask = kMayWrite;
      break;
    default:
      mask = kMayRead | kMayWrite;
      break;
  }
  if (flags & O_TRUNC) mask |= kMayWrite;
  return mask;
}

// Everything Linux's may_open() refuses.
Result<> CheckOpen(const OpContext& ctx, const Location& at, int flags, int mask) {
  Inode& inode = at.inode();
  const uint32_t mount_flags = at.mount ? at.mount->flags() : 0;
  switch (inode.type()) {
    case S_IFLNK:
      return Errno::kELOOP;
    case S_IFDIR:
      if (mask & kMayWrite) return Errno::kEISDIR;
      break;
    case S_IFCHR:
    case S_IFBLK:
      if (!inode.OpensSpecial() &&
          (mount_flags & kMountNoDev || inode.fs().flags() & FileSystem::kNoDev)) {
        return Errno::kEACCES;
      }
      break;
    case S_IFREG:
      if (mask & kMayWrite && at.mount) TRY(at.mount->CheckWritable());
      break;
    default:
      break;
  }
  if (mask) TRY(CheckAccess(ctx, inode, mask));
  if (flags & O_NOATIME && !OwnerOrCapable(ctx.creds, inode)) return Errno::kEPERM;
  return Ok();
}

Result<RefPtr<FileDescription>> Dispatch(const OpContext& ctx, const OpenArgs& args) {
  Inode& inode = args.location.inode();
  if (!inode.OpensSpecial()) {
    switch (inode.type()) {
      case S_IFIFO:
        if (!ctx.vfs.fifo_opener()) return Errno::kENXIO;
        return ctx.vfs.fifo_opener()(ctx, args);
      case S_IFCHR:
      case S_IFBLK: {
        Attributes attrs = TRY(inode.GetAttr(ctx, kAttrIdentity));
        TRY(ctx.vfs.CheckDevice(ctx, inode.type(), attrs.rdev, AccessMask(args.flags)));
        return ctx.vfs.devices().Open(ctx, args, inode.type(), attrs.rdev);
      }
      case S_IFSOCK:
        return Errno::kENXIO;
      default:
        break;
    }
  }
  return inode.Open(ctx, args);
}

// Takes what an open for writing holds; gives it back unless Keep() is called.
class WriteHold {
 public:
  Result<> Take(const Location& at) {
    TRY(at.inode().AllowWrite());
    inode_ = &at.inode();
    if (at.mount) {
      TRY(at.mount->BeginWrite());
      mount_ = at.mount.get();
    }
    return Ok();
  }
  ~WriteHold() {
    if (mount_) mount_->EndWrite();
    if (inode_) inode_->EndWrite();
  }
  bool Keep() {
    bool had = inode_ != nullptr;
    mount_ = nullptr;
    inode_ = nullptr;
    return had;
  }

 private:
  Inode* inode_ = nullptr;
  Mount* mount_ = nullptr;
};

// `mask`: access to check; 0 for a file that this call made.
Result<RefPtr<FileDescription>> Finish(const OpContext& ctx, const Location& at, int flags,
                                       int mask) {
  Inode& inode = at.inode();
  if (flags & O_PATH) {
    if (flags & O_DIRECTORY && !inode.IsDir()) return Errno::kENOTDIR;
    return RefPtr<FileDescription>(MakeRef<PathOnlyFile>(at, flags));
  }
  if (flags & O_DIRECTORY && !inode.IsDir()) return Errno::kENOTDIR;
  TRY(CheckOpen(ctx, at, flags, mask));
  WriteHold hold;
  if (inode.IsRegular() && AccessMask(flags) & kMayWrite) TRY(hold.Take(at));
  if (flags & O_TRUNC && inode.IsRegular() && mask) {
    SetAttributes attrs;
    attrs.set = SetAttributes::kSize;
    const uint32_t mode = ModeAfterWrite(ctx.creds, inode.mode());
    if (mode != inode.mode()) {
      attrs.set |= SetAttributes::kMode;
      attrs.mode = mode & kModeBits;
    }
    TRY(inode.SetAttr(ctx, attrs));
    if (InotifyActive()) NotifyFile(*at.dentry, IN_MODIFY);
  }
  // What follows is seen by the file: its own flags only.
  const int file_flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC);
  RefPtr<FileDescription> file = TRY(Dispatch(ctx, {at, file_flags | (flags & O_NOCTTY)}));
  const bool writer = (flags & O_ACCMODE) != O_RDONLY && hold.Keep();
  file->SetHolds(writer, false, true);
  if (InotifyActive()) NotifyFile(*at.dentry, IN_OPEN);
  return file;
}

Result<RefPtr<FileDescription>> OpenTmpfile(const WalkContext& walk, std::string_view path,
                                            const OpenHow& how, uint32_t walk_flags) {
  if (!(how.flags & (O_WRONLY | O_RDWR))) return Errno::kEINVAL;
  Location dir = TRY(PathWalker(walk, walk_flags | kWalkDirectory).Resolve(path));
  TRY(CheckAccess(walk.op, dir.inode(), kMayWrite | kMayExec));
  TRY(dir.mount->CheckWritable());
  NewFile fresh = PrepareNewFile(walk.op, dir.inode(), S_IFREG | (how.mode & kModeBits));
  RefPtr<Inode> inode =
      TRY(dir.inode().CreateUnnamed(walk.op, fresh.mode & kModeBits, fresh.owner));
  Location at{dir.mount, Dentry::MakeUnnamed(inode, absl::StrCat("#", inode->ino()))};
  return Finish(walk.op, at, how.flags & ~(O_TMPFILE | O_DIRECTORY), 0);
}

// Makes `p.name` if it still is not there; null (in `made`) when somebody else was faster.
Result<RefPtr<Dentry>> CreateLocked(const OpContext& ctx, const ParentAndName& p, uint32_t mode,
                                    bool* made) {
  Inode& dir = p.parent.inode();
  sched::FiberMutexLock lock(dir.dir_mutex());
  RefPtr<Dentry> child = TRY(PathWalker::LookupChildLocked(ctx, p.parent.dentry, p.name));
  if (!child->negative()) return child;
  TRY(p.parent.mount->CheckWritable());
  if (p.parent.dentry->IsDeleted()) return Errno::kENOENT;
  TRY(CheckCreate(ctx, dir));
  NewFile fresh = PrepareNewFile(ctx, dir, S_IFREG | (mode & kModeBits));
  RefPtr<Inode> inode = TRY(dir.Create(ctx, p.name, fresh.mode & kModeBits, fresh.owner));
  child->Instantiate(std::move(inode), !(dir.fs().flags() & FileSystem::kNoCache));
  NotifyName(dir, p.name, false, IN_CREATE);
  *made = true;
  return child;
}

Result<RefPtr<FileDescription>> OpenCreate(const WalkContext& walk, std::string_view path,
                                           const OpenHow& how, uint32_t walk_flags) {
  const int flags = how.flags;
  const bool follow = !(flags & (O_NOFOLLOW | O_EXCL));
  PathWalker walker(walk, walk_flags);
  ParentAndName p = TRY(walker.ResolveParent(path));
  for (;;) {
    if (p.kind != ParentAndName::kNormal || p.trailing_slash) return Errno::kEISDIR;
    RefPtr<Dentry> child = TRY(PathWalker::LookupChild(walk.op, p.parent.dentry, p.name));
    if (child->negative()) {
      if (walk_flags & kWalkCached) return Errno::kEAGAIN;
      bool made = false;
      child = TRY(CreateLocked(walk.op, p, how.mode, &made));
      if (made) return Finish(walk.op, {p.parent.mount, std::move(child)}, flags, 0);
    }
    if (flags & O_EXCL) return Errno::kEEXIST;
    Location at{p.parent.mount, std::move(child)};
    while (RefPtr<Mount> over = at.mount->MountedOn(*at.dentry)) {
      if (walk_flags & kWalkNoXdev) return Errno::kEXDEV;
      at = {over, over->root()};
    }
    Inode& inode = at.inode();
    if (inode.IsSymlink()) {
      if (!follow || walk_flags & kWalkNoSymlinks) return Errno::kELOOP;
      if (inode.IsMagicLink()) {
        if (walk_flags & kWalkNoMagicLinks) return Errno::kELOOP;
        at = TRY(inode.FollowMagicLink(walk.op));
        if (at.inode().IsDir()) return Errno::kEISDIR;
        return Finish(walk.op, at, flags, AccessMask(flags));
      }
      p = TRY(walker.ResolveParentOfLink(p.parent, at));
      continue;
    }
    if (inode.IsDir()) return Errno::kEISDIR;
    TRY(CheckProtectedCreate(walk.op, p.parent.inode(), inode));
    return Finish(walk.op, at, flags, AccessMask(flags));
  }
}

}  // namespace

Result<RefPtr<FileDescription>> Open(const WalkContext& walk, std::string_view path,
                                     const OpenHow& how) {
  uint32_t walk_flags = how.walk;
  if (how.flags & O_PATH) {
    const int flags = how.flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (!(flags & O_NOFOLLOW)) walk_flags |= kWalkFollow;
    if (flags & O_DIRECTORY) walk_flags |= kWalkDirectory;
    Location at = TRY(PathWalker(walk, walk_flags).Resolve(path));
    return Finish(walk.op, at, flags, 0);
  }
  if ((how.flags & O_TMPFILE) == O_TMPFILE) {
    if (how.flags & O_CREAT) return Errno::kEINVAL;
    if (!(how.flags & O_NOFOLLOW)) walk_flags |= kWalkFollow;
    return OpenTmpfile(walk, path, how, walk_flags);
  }
  if (how.flags & O_CREAT) {
    if (how.flags & O_DIRECTORY) return Errno::kEINVAL;
    return OpenCreate(walk, path, how, walk_flags);
  }
  if (!(how.flags & O_NOFOLLOW)) walk_flags |= kWalkFollow;
  if (how.flags & O_DIRECTORY) walk_flags |= kWalkDirectory;
  Location at = TRY(PathWalker(walk, walk_flags).Resolve(path));
  return Finish(walk.op, at, how.flags, AccessMask(how.flags));
}

Result<RefPtr<FileDescription>> OpenLocation(const OpContext& ctx, const Location& location,
                                             int flags) {
  if (flags & O_CREAT) return Errno::kEINVAL;
  return Finish(ctx, location, flags, flags & O_PATH ? 0 : AccessMask(flags));
}

Result<RefPtr<FileDescription>> OpenForExec(const WalkContext& walk, std::string_view path,
                                            uint32_t walk_flags) {
  Location at = TRY(PathWalker(walk, walk_flags).Resolve(path));
  Inode& inode = at.inode();
  if (inode.IsSymlink()) return Errno::kELOOP;
  if (!inode.IsRegular()) return Errno::kEACCES;
  if (at.mount && at.mount->flags() & kMountNoExec) return Errno::kEACCES;
  TRY(CheckAccess(walk.op, inode, kMayExec));
  TRY(inode.DenyWrite());
  Result<RefPtr<FileDescription>> file = inode.Open(walk.op, {at, O_RDONLY});
  if (!file.ok()) {
    inode.EndDenyWrite();
    return file.error();
  }
  (*file)->SetHolds(false, true, true);
  if (InotifyActive()) NotifyFile(*at.dentry, IN_OPEN);
  return file;
}

}  // namespace msentry::vfs
