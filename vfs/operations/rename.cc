// rename(2) and renameat2(2).
//
// Locks: the file system's rename mutex (for directories that change parents, so that "is inside"
// holds still), then both directories. Parent before child where one is inside the other, else by
// address; then a replaced directory's own.
#include <linux/fs.h>
#include <sys/inotify.h>

#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

namespace {

// Locks one or two directories. Which, and in what order, is known only at run time: the
// annotations cannot follow.
class TwoDirs {
 public:
  TwoDirs(const Location& a, const Location& b) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Inode* x = &a.inode();
    Inode* y = &b.inode();
    const bool swap =
        a.dentry->IsInside(*b.dentry) || (!b.dentry->IsInside(*a.dentry) && std::less<>()(y, x));
    first_ = swap ? y : x;
    second_ = x == y ? nullptr : (swap ? x : y);
    first_->dir_mutex().Lock();
    if (second_) second_->dir_mutex().Lock();
  }
  ~TwoDirs() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (second_) second_->dir_mutex().Unlock();
    first_->dir_mutex().Unlock();
  }

 private:
  Inode* first_;
  Inode* second_;
};

// The lock of a directory that is replaced, which may be none (again beyond the annotations).
class MaybeLock {
 public:
  explicit MaybeLock(Inode* dir) ABSL_NO_THREAD_SAFETY_ANALYSIS : dir_(dir) {
    if (dir_) dir_->dir_mutex().Lock();
  }
  ~MaybeLock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (dir_) dir_->dir_mutex().Unlock();
  }

 private:
  Inode* const dir_;
};

struct Names {
  ParentAndName from, to;
  RefPtr<Dentry> old_dentry, target;
  bool exchange = false;
};

Result<> Check(const OpContext& ctx, const Names& n, unsigned flags) {
  Inode& moved = *n.old_dentry->inode();
  Inode* replaced = n.target->inode();
  Inode& from_dir = n.from.parent.inode();
  Inode& to_dir = n.to.parent.inode();
  if (replaced && flags & RENAME_NOREPLACE) return Errno::kEEXIST;
  if (n.exchange && !replaced) return Errno::kENOENT;
  if (!moved.IsDir()) {
    if (n.from.trailing_slash) return Errno::kENOTDIR;
    if (!n.exchange && n.to.trailing_slash) return Errno::kENOTDIR;
  }
  if (n.exchange && replaced && !replaced->IsDir() && n.to.trailing_slash) return Errno::kENOTDIR;
  // A directory into itself, or onto its own ancestor.
  if (n.to.parent.dentry->IsInside(*n.old_dentry)) return Errno::kEINVAL;
  if (n.from.parent.dentry->IsInside(*n.target)) {
    return n.exchange ? Errno::kEINVAL : Errno::kENOTEMPTY;
  }
  TRY(CheckDelete(ctx, from_dir, moved));
  if (n.to.parent.dentry->IsDeleted()) return Errno::kENOENT;
  if (!replaced) {
    TRY(CheckCreate(ctx, to_dir));
  } else {
    TRY(CheckDelete(ctx, to_dir, *replaced));
    if (!n.exchange) {
      if (moved.IsDir() && !replaced->IsDir()) return Errno::kENOTDIR;
      if (!moved.IsDir() && replaced->IsDir()) return Errno::kEISDIR;
    }
  }
  // A directory that changes its parent has its ".." rewritten.
  if (&from_dir != &to_dir) {
    if (moved.IsDir()) TRY(CheckAccess(ctx, moved, kMayWrite));
    if (n.exchange && replaced->IsDir()) TRY(CheckAccess(ctx, *replaced, kMayWrite));
  }
  if (n.old_dentry->IsMountPoint() || n.target->IsMountPoint()) return Errno::kEBUSY;
  return Ok();
}

void Announce(const OpContext& ctx, const Names& n, Inode* replaced) {
  if (!InotifyActive()) return;
  Inode& moved = *n.old_dentry->inode();
  const uint32_t cookie = NextMoveCookie();
  NotifyName(n.from.parent.inode(), n.from.name, moved.IsDir(), IN_MOVED_FROM, cookie);
  NotifyName(n.to.parent.inode(), n.to.name, moved.IsDir(), IN_MOVED_TO, cookie);
  NotifyInode(moved, IN_MOVE_SELF);
  if (!replaced) return;
  if (n.exchange) {
    const uint32_t back = NextMoveCookie();
    NotifyName(n.to.parent.inode(), n.to.name, replaced->IsDir(), IN_MOVED_FROM, back);
    NotifyName(n.from.parent.inode(), n.from.name, replaced->IsDir(), IN_MOVED_TO, back);
    NotifyInode(*replaced, IN_MOVE_SELF);
    return;
  }
  NotifyInode(*replaced, IN_ATTRIB);
  Result<Attributes> left = replaced->GetAttr(ctx, kAttrNlink);
  if (replaced->IsDir() || (left.ok() && left->nlink == 0)) EndWatches(*replaced, IN_DELETE_SELF);
}

}  // namespace

Result<> Rename(const WalkContext& from, std::string_view from_path, const WalkContext& to,
                std::string_view to_path, unsigned flags) {
  const OpContext& ctx = from.op;
  if (flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) {
    return Errno::kEINVAL;
  }
  if (flags & RENAME_EXCHANGE && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) {
    return Errno::kEINVAL;
  }
  if (flags & RENAME_WHITEOUT && !ctx.creds.HasCap(auth::Cap::kMknod)) return Errno::kEPERM;
  Names n;
  n.exchange = flags & RENAME_EXCHANGE;
  n.from = TRY(PathWalker(from, 0).ResolveParent(from_path));
  n.to = TRY(PathWalker(to, 0).ResolveParent(to_path));
  if (n.from.parent.mount != n.to.parent.mount) return Errno::kEXDEV;
  if (n.from.kind != ParentAndName::kNormal) return Errno::kEBUSY;
  if (n.to.kind != ParentAndName::kNormal) {
    return flags & RENAME_NOREPLACE ? Errno::kEEXIST : Errno::kEBUSY;
  }
  Inode& from_dir = n.from.parent.inode();
  Inode& to_dir = n.to.parent.inode();
  RefPtr<Inode> replaced;
  {
    sched::FiberMutexLock rename_lock(from_dir.fs().rename_mutex());
    TwoDirs lock(n.from.parent, n.to.parent);
    n.old_dentry = TRY(PathWalker::LookupChildLocked(ctx, n.from.parent.dentry, n.from.name));
    if (n.old_dentry->negative()) return Errno::kENOENT;
    n.target = TRY(PathWalker::LookupChildLocked(ctx, n.to.parent.dentry, n.to.name));
    replaced = RefPtr<Inode>(n.target->inode());
    TRY(n.from.parent.mount->CheckWritable());
    TRY(Check(ctx, n, flags));
    // Two names of one file: nothing to do, and neither goes (rename(2)).
    if (replaced.get() == n.old_dentry->inode()) return Ok();
    MaybeLock victim_lock(replaced && replaced->IsDir() && !n.exchange ? replaced.get() : nullptr);
    TRY(from_dir.Rename(ctx, n.from.name, *n.old_dentry->inode(), to_dir, n.to.name, replaced.get(),
                        flags));
    if (n.exchange) {
      n.old_dentry->ExchangeWith(*n.target);
    } else {
      if (replaced && replaced->IsDir()) n.target->PruneChildren();
      n.old_dentry->MoveTo(n.to.parent.dentry, n.to.name);
      const bool cache =
          !(from_dir.fs().flags() & (FileSystem::kNoCache | FileSystem::kNoNegative));
      if (cache && !(flags & RENAME_WHITEOUT)) {
        n.from.parent.dentry->AddChild(n.from.name, nullptr);
      }
    }
  }
  Announce(ctx, n, replaced.get());
  return Ok();
}

}  // namespace msentry::vfs
