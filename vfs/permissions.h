// The permission rules of Linux's VFS, in one place (path_resolution(7), inode(7),
// capabilities(7)). Pure functions of credentials and attributes; nothing here parks.
#pragma once

#include "sentry/auth/credentials.h"
#include "sentry/base/result.h"
#include "vfs/inode.h"

namespace msentry::vfs {

inline constexpr int kMayExec = 1, kMayWrite = 2, kMayRead = 4;

// Mode bits, then CAP_DAC_OVERRIDE / CAP_DAC_READ_SEARCH. EACCES.
Result<> CheckMode(const auth::Credentials& creds, uint32_t mode, uint32_t uid, uint32_t gid,
                   int mask);
inline Result<> CheckMode(const auth::Credentials& creds, const Inode& inode, int mask) {
  return CheckMode(creds, inode.mode(), inode.uid(), inode.gid(), mask);
}
// The same, asking inodes that have rules of their own.
inline Result<> CheckAccess(const OpContext& ctx, Inode& inode, int mask) {
  if (inode.custom_permission()) [[unlikely]]
    return inode.CheckPermission(ctx, mask);
  return CheckMode(ctx.creds, inode, mask);
}
bool OwnerOrCapable(const auth::Credentials& creds, const Inode& inode);  // CAP_FOWNER
// Remove or replace `victim` in `dir`: write and search on the directory, sticky bit. EACCES,
// EPERM.
Result<> CheckDelete(const OpContext& ctx, Inode& dir, const Inode& victim);
Result<> CheckCreate(const OpContext& ctx, Inode& dir);
// /proc/sys/fs/protected_{symlinks,hardlinks,fifos,regular} as Linux has them by default: a link in
// a sticky world-writable directory is followed only by its owner, or if the directory's owner is
// the link's. EACCES.
Result<> CheckProtectedSymlink(const OpContext& ctx, const Inode& dir, const Inode& link);
Result<> CheckProtectedHardlink(const OpContext& ctx, Inode& target);  // EPERM
Result<> CheckProtectedCreate(const OpContext& ctx, const Inode& dir,
                              const Inode& existing);  // EACCES
// Who may change what (chmod, chown, utimes, truncate). May adjust `attrs`: a chmod drops S_ISGID
// for a non-member, a chown drops set-id bits (kMode is added). EPERM, EACCES.
Result<> CheckSetAttr(const OpContext& ctx, Inode& inode, SetAttributes* attrs);
// The mode after a write or truncation by these credentials (drops set-id bits without CAP_FSETID);
// unchanged when there is nothing to drop.
uint32_t ModeAfterWrite(const auth::Credentials& creds, uint32_t mode);
// Owner and mode of a new file in `dir`: umask, set-gid directories.
struct NewFile {
  uint32_t mode;
  Inode::NewOwner owner;
};
NewFile PrepareNewFile(const OpContext& ctx, const Inode& dir, uint32_t mode);
// By the name's prefix: user.* on files and directories by mode, trusted.* CAP_SYS_ADMIN,
// security.* as Linux. EPERM, EACCES, EOPNOTSUPP, ENODATA (reading trusted.* without capability).
Result<> CheckXattr(const OpContext& ctx, Inode& inode, std::string_view name, bool write);

}  // namespace msentry::vfs
