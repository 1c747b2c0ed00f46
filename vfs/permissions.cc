#include "vfs/permissions.h"

#include "vfs/file_system.h"

namespace msentry::vfs {

using auth::Cap;
using auth::Credentials;

Result<> CheckMode(const Credentials& creds, uint32_t mode, uint32_t uid, uint32_t gid, int mask) {
  uint32_t bits = mode;
  if (creds.fsuid == uid) {
    bits >>= 6;
  } else if ((bits >> 3 & 7) != (bits & 7) && creds.InGroup(gid)) {
    bits >>= 3;
  }
  uint32_t wanted = mask & 7;
  if ((wanted & ~bits) == 0) return Ok();
  if (S_ISDIR(mode)) {
    if (creds.HasCap(Cap::kDacOverride)) return Ok();
    if (!(wanted & kMayWrite) && creds.HasCap(Cap::kDacReadSearch)) return Ok();
    return Errno::kEACCES;
  }
  if (wanted == kMayRead && creds.HasCap(Cap::kDacReadSearch)) return Ok();
  // Execution needs at least one execute bit even for root.
  if ((!(wanted & kMayExec) || mode & 0111) && creds.HasCap(Cap::kDacOverride)) return Ok();
  return Errno::kEACCES;
}

bool OwnerOrCapable(const Credentials& creds, const Inode& inode) {
  return creds.fsuid == inode.uid() || creds.HasCap(Cap::kFowner);
}

Result<> CheckCreate(const OpContext& ctx, Inode& dir) {
  return CheckAccess(ctx, dir, kMayWrite | kMayExec);
}

Result<> CheckDelete(const OpContext& ctx, Inode& dir, const Inode& victim) {
  TRY(CheckAccess(ctx, dir, kMayWrite | kMayExec));
  if (dir.mode() & S_ISVTX && ctx.creds.fsuid != victim.uid() && ctx.creds.fsuid != dir.uid() &&
      !ctx.creds.HasCap(Cap::kFowner)) {
    return Errno::kEPERM;
  }
  return Ok();
}

namespace {
bool StickyWorldWritable(const Inode& dir) {
  return (dir.mode() & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
}
}  // namespace

Result<> CheckProtectedSymlink(const OpContext& ctx, const Inode& dir, const Inode& link) {
  if (!StickyWorldWritable(dir)) return Ok();
  if (link.uid() == ctx.creds.fsuid || link.uid() == dir.uid()) return Ok();
  return Errno::kEACCES;
}

Result<> CheckProtectedHardlink(const OpContext& ctx, Inode& target) {
  if (OwnerOrCapable(ctx.creds, target)) return Ok();
  uint32_t mode = target.mode();
  bool safe = S_ISREG(mode) && !(mode & S_ISUID) &&
              (mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP) &&
              CheckAccess(ctx, target, kMayRead | kMayWrite).ok();
  if (!safe) return Errno::kEPERM;
  return Ok();
}

Result<> CheckProtectedCreate(const OpContext& ctx, const Inode& dir, const Inode& existing) {
  if (!StickyWorldWritable(dir)) return Ok();
  if (!S_ISFIFO(existing.mode()) && !existing.IsRegular()) return Ok();
  if (existing.uid() == dir.uid() || existing.uid() == ctx.creds.fsuid) return Ok();
  return Errno::kEACCES;
}

Result<> CheckSetAttr(const OpContext& ctx, Inode& inode, SetAttributes* a) {
  const Credentials& creds = ctx.creds;
  const bool owner = creds.fsuid == inode.uid();
  if (a->set & SetAttributes::kUid && !creds.HasCap(Cap::kChown) &&
      !(owner && a->uid == inode.uid())) {
    return Errno::kEPERM;
  }
  if (a->set & SetAttributes::kGid && !creds.HasCap(Cap::kChown) &&
      !(owner && (creds.InGroup(a->gid) || a->gid == inode.gid()))) {
    return Errno::kEPERM;
  }
  if (a->set & SetAttributes::kMode) {
    if (!OwnerOrCapable(creds, inode)) return Errno::kEPERM;
    uint32_t gid = a->set & SetAttributes::kGid ? a->gid : inode.gid();
    if (!creds.InGroup(gid) && !creds.HasCap(Cap::kFsetid)) a->mode &= ~uint32_t{S_ISGID};
  }
  const uint32_t times = SetAttributes::kAtime | SetAttributes::kMtime;
  if (a->set & times && !OwnerOrCapable(creds, inode)) {
    // Both to now is allowed to whoever may write; anything else to the owner only.
    bool both_now = (a->set & (times | SetAttributes::kAtimeNow | SetAttributes::kMtimeNow)) ==
                    (times | SetAttributes::kAtimeNow | SetAttributes::kMtimeNow);
    if (!both_now) return Errno::kEPERM;
    TRY(CheckAccess(ctx, inode, kMayWrite));
  }
  // A change of owner or group makes set-id programs ordinary, whoever does it.
  if (a->set & (SetAttributes::kUid | SetAttributes::kGid) && !inode.IsDir() &&
      !(a->set & SetAttributes::kMode)) {
    uint32_t mode = inode.mode();
    uint32_t kept = mode & ~uint32_t{S_ISUID};
    if (mode & S_IXGRP) kept &= ~uint32_t{S_ISGID};
    if (kept != mode) {
      a->set |= SetAttributes::kMode;
      a->mode = kept & kModeBits;
    }
  }
  return Ok();
}

uint32_t ModeAfterWrite(const Credentials& creds, uint32_t mode) {
  if (!(mode & (S_ISUID | S_ISGID)) || creds.HasCap(Cap::kFsetid)) return mode;
  mode &= ~uint32_t{S_ISUID};
  if (mode & S_IXGRP) mode &= ~uint32_t{S_ISGID};
  return mode;
}

NewFile PrepareNewFile(const OpContext& ctx, const Inode& dir, uint32_t mode) {
  NewFile f;
  f.mode = (mode & (S_IFMT | kModeBits)) & ~(ctx.umask & 0777);
  f.owner = {ctx.creds.fsuid, ctx.creds.fsgid};
  if (dir.mode() & S_ISGID) {
    f.owner.gid = dir.gid();
    if (S_ISDIR(mode)) {
      f.mode |= S_ISGID;
    } else if ((f.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
               !ctx.creds.InGroup(dir.gid()) && !ctx.creds.HasCap(Cap::kFsetid)) {
      f.mode &= ~uint32_t{S_ISGID};
    }
  }
  return f;
}

Result<> CheckXattr(const OpContext& ctx, Inode& inode, std::string_view name, bool write) {
  if (name.starts_with("trusted.")) {
    if (ctx.creds.HasCap(Cap::kSysAdmin)) return Ok();
    return write ? Errno::kEPERM : Errno::kENODATA;
  }
  if (name.starts_with("user.")) {
    if (name.size() == 5) return Errno::kEINVAL;
    if (!inode.IsRegular() && !inode.IsDir()) return write ? Errno::kEPERM : Errno::kENODATA;
    if (inode.IsDir() && inode.mode() & S_ISVTX && write && !OwnerOrCapable(ctx.creds, inode)) {
      return Errno::kEPERM;
    }
    return CheckAccess(ctx, inode, write ? kMayWrite : kMayRead);
  }
  if (name.starts_with("security.")) {
    if (!write) return Ok();
    if (name == "security.capability") {
      if (!ctx.creds.HasCap(Cap::kSetfcap)) return Errno::kEPERM;
      return Ok();
    }
    if (!ctx.creds.HasCap(Cap::kSysAdmin)) return Errno::kEPERM;
    return Ok();
  }
  // system.posix_acl_*: access control lists are configured out.
  return Errno::kEOPNOTSUPP;
}

}  // namespace msentry::vfs
