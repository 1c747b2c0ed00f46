// stat, access, readlink, chmod, chown, utimes, truncate, statfs.
#include <sys/inotify.h>
#include <sys/statvfs.h>

#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

Result<Attributes> GetAttr(const OpContext& ctx, const Location& location, AttrMask wanted) {
  Inode& inode = location.inode();
  Attributes attrs = TRY(inode.GetAttr(ctx, wanted));
  attrs.dev = inode.fs().DevOf(attrs);
  return attrs;
}

Result<Attributes> GetAttr(const OpContext& ctx, FileDescription& file, AttrMask wanted) {
  Attributes attrs = TRY(file.GetAttr(ctx, wanted));
  attrs.dev = file.inode().fs().DevOf(attrs);
  return attrs;
}

Result<Attributes> Stat(const WalkContext& walk, std::string_view path, uint32_t flags,
                        AttrMask wanted) {
  Location at = TRY(PathWalker(walk, flags).Resolve(path));
  return GetAttr(walk.op, at, wanted);
}

Result<std::string> ReadLink(const WalkContext& walk, std::string_view path, uint32_t flags) {
  Location at = TRY(PathWalker(walk, flags & ~kWalkFollow).Resolve(path));
  // readlinkat with an empty path on something that is no link is ENOENT (readlink(2)).
  if (!at.inode().IsSymlink()) return path.empty() ? Errno::kENOENT : Errno::kEINVAL;
  return at.inode().ReadLink(walk.op);
}

Result<> Access(const WalkContext& walk, std::string_view path, int mask, uint32_t flags) {
  Location at = TRY(PathWalker(walk, flags).Resolve(path));
  Inode& inode = at.inode();
  if (mask & kMayExec && inode.IsRegular() && at.mount && at.mount->flags() & kMountNoExec) {
    return Errno::kEACCES;
  }
  if (mask) TRY(CheckAccess(walk.op, inode, mask));
  const bool special = S_ISCHR(inode.mode()) || S_ISBLK(inode.mode()) || S_ISFIFO(inode.mode()) ||
                       S_ISSOCK(inode.mode());
  if (mask & kMayWrite && !special && at.mount) TRY(at.mount->CheckWritable());
  return Ok();
}

Result<> SetAttr(const OpContext& ctx, const Location& location, SetAttributes attrs) {
  Inode& inode = location.inode();
  if (location.mount) TRY(location.mount->CheckWritable());
  if (attrs.set & SetAttributes::kMode && inode.IsSymlink()) return Errno::kEOPNOTSUPP;
  TRY(CheckSetAttr(ctx, inode, &attrs));
  TRY(inode.SetAttr(ctx, attrs));
  if (InotifyActive()) {
    const uint32_t times = SetAttributes::kAtime | SetAttributes::kMtime;
    uint32_t mask = IN_ATTRIB;
    if (!(attrs.set & ~(times | SetAttributes::kAtimeNow | SetAttributes::kMtimeNow))) {
      // Only one of the times: what a read or a write would have told.
      if (!(attrs.set & SetAttributes::kAtime)) mask = IN_MODIFY;
      if (!(attrs.set & SetAttributes::kMtime)) mask = IN_ACCESS;
    }
    NotifyFile(*location.dentry, mask);
  }
  return Ok();
}

Result<> SetAttr(const WalkContext& walk, std::string_view path, uint32_t flags,
                 SetAttributes attrs) {
  Location at = TRY(PathWalker(walk, flags).Resolve(path));
  return SetAttr(walk.op, at, attrs);
}

Result<> Truncate(const WalkContext& walk, std::string_view path, uint64_t size) {
  const OpContext& ctx = walk.op;
  if (size > INT64_MAX) return Errno::kEINVAL;
  Location at = TRY(PathWalker(walk, kWalkFollow).Resolve(path));
  Inode& inode = at.inode();
  if (inode.IsDir()) return Errno::kEISDIR;
  if (!inode.IsRegular()) return Errno::kEINVAL;
  if (at.mount) TRY(at.mount->CheckWritable());
  TRY(CheckAccess(ctx, inode, kMayWrite));
  if (size > ctx.fsize_limit) {
    ctx.fsize_exceeded = true;
    return Errno::kEFBIG;
  }
  TRY(inode.AllowWrite());
  SetAttributes attrs;
  attrs.set = SetAttributes::kSize;
  attrs.size = size;
  const uint32_t mode = ModeAfterWrite(ctx.creds, inode.mode());
  if (mode != inode.mode()) {
    attrs.set |= SetAttributes::kMode;
    attrs.mode = mode & kModeBits;
  }
  Result<> result = inode.SetAttr(ctx, attrs);
  inode.EndWrite();
  if (result.ok() && InotifyActive()) NotifyFile(*at.dentry, IN_MODIFY);
  return result;
}

Result<StatFs> GetStatFs(const OpContext& ctx, const Location& location) {
  FileSystem& fs = location.inode().fs();
  StatFs st = TRY(fs.GetStatFs(ctx));
  const uint32_t flags = location.mount ? location.mount->flags() : 0;
  st.fsid = fs.dev();
  st.flags |= 0x20;  // ST_VALID
  if (flags & kMountReadOnly || fs.flags() & FileSystem::kReadOnly) st.flags |= ST_RDONLY;
  if (flags & kMountNoSuid) st.flags |= ST_NOSUID;
  if (flags & kMountNoDev) st.flags |= ST_NODEV;
  if (flags & kMountNoExec) st.flags |= ST_NOEXEC;
  if (flags & kMountNoAtime) st.flags |= ST_NOATIME;
  if (flags & kMountNoDirAtime) st.flags |= ST_NODIRATIME;
  if (flags & kMountRelatime) st.flags |= ST_RELATIME;
  return st;
}

Result<Location> ResolveDirectory(const WalkContext& walk, std::string_view path) {
  Location at = TRY(PathWalker(walk, kWalkFollow | kWalkDirectory).Resolve(path));
  TRY(CheckAccess(walk.op, at.inode(), kMayExec));
  return at;
}

}  // namespace msentry::vfs
