// The file operations that take paths: what the system calls use. Each resolves, checks permissions
// and mount flags, takes the directory locks, does it, keeps the dentry cache right and raises
// inotify events. One .cc per subject in vfs/operations/.
//
// `walk` says root, start directory and credentials (path_walk.h); `flags` are WalkFlag bits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vfs/file_description.h"
#include "vfs/path_walk.h"

namespace msentry::vfs {

// ---- open.cc: open(2), openat2(2), creat(2). `flags` are O_* with O_CLOEXEC ignored. ----
struct OpenHow {
  int flags = 0;
  uint32_t mode = 0;  // permission bits for O_CREAT and O_TMPFILE, umask not applied
  uint32_t walk = 0;  // kWalkBeneath and the other RESOLVE_* bits
};
Result<RefPtr<FileDescription>> Open(const WalkContext& walk, std::string_view path,
                                     const OpenHow& how);
// An already resolved file: /proc/PID/fd re-opens, exec, open_by_handle. O_CREAT is not allowed.
Result<RefPtr<FileDescription>> OpenLocation(const OpContext& ctx, const Location& location,
                                             int flags);
// For execve: must be a regular file with execute permission on a mount without noexec (EACCES);
// opened for reading whatever the read permission says. Holds off writers (ETXTBSY).
Result<RefPtr<FileDescription>> OpenForExec(const WalkContext& walk, std::string_view path,
                                            uint32_t walk_flags);

// ---- names.cc, rename.cc ----
Result<> Mkdir(const WalkContext& walk, std::string_view path, uint32_t mode);
Result<> Mknod(const WalkContext& walk, std::string_view path, uint32_t mode, uint64_t rdev);
// For bind(2) of a UNIX socket and such: makes the node and returns where it is.
Result<Location> MakeNode(const WalkContext& walk, std::string_view path, uint32_t mode,
                          uint64_t rdev);
Result<> Symlink(const WalkContext& walk, std::string_view target, std::string_view path);
// linkat(2): `from_flags` has kWalkFollow for AT_SYMLINK_FOLLOW, kWalkEmptyPath for AT_EMPTY_PATH.
Result<> Link(const WalkContext& from, std::string_view from_path, uint32_t from_flags,
              const WalkContext& to, std::string_view to_path);
Result<> Unlink(const WalkContext& walk, std::string_view path);
Result<> Rmdir(const WalkContext& walk, std::string_view path);
// renameat2(2): RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT.
Result<> Rename(const WalkContext& from, std::string_view from_path, const WalkContext& to,
                std::string_view to_path, unsigned flags);

// ---- attributes.cc ----
Result<Attributes> Stat(const WalkContext& walk, std::string_view path, uint32_t flags,
                        AttrMask wanted = kAttrAll);
Result<Attributes> GetAttr(const OpContext& ctx, const Location& location,
                           AttrMask wanted = kAttrAll);
Result<Attributes> GetAttr(const OpContext& ctx, FileDescription& file, AttrMask wanted = kAttrAll);
Result<std::string> ReadLink(const WalkContext& walk, std::string_view path, uint32_t flags);
// access(2): `ctx` must hold the credentials to check with (real ids, unless AT_EACCESS).
Result<> Access(const WalkContext& walk, std::string_view path, int mask, uint32_t flags);
// chmod, chown, utimensat, truncate; with all checks. The second for the f* calls.
Result<> SetAttr(const WalkContext& walk, std::string_view path, uint32_t flags,
                 SetAttributes attrs);
Result<> SetAttr(const OpContext& ctx, const Location& location, SetAttributes attrs);
Result<> Truncate(const WalkContext& walk, std::string_view path, uint64_t size);
Result<StatFs> GetStatFs(const OpContext& ctx, const Location& location);
// Search permission for chdir(2), chroot(2) (the capability is the caller's check).
Result<Location> ResolveDirectory(const WalkContext& walk, std::string_view path);

// ---- xattr.cc: on resolved files ----
Result<std::string> GetXattr(const OpContext& ctx, const Location& at, std::string_view name);
Result<> SetXattr(const OpContext& ctx, const Location& at, std::string_view name,
                  std::string_view value, int flags);
Result<> RemoveXattr(const OpContext& ctx, const Location& at, std::string_view name);
Result<std::vector<std::string>> ListXattr(const OpContext& ctx, const Location& at);

}  // namespace msentry::vfs
