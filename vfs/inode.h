// Inode: one file of a file system, whatever its names. File systems derive from it.
//
// Division of work: vfs/operations resolves paths, checks permissions, mount flags and name rules,
// takes the directory locks, keeps the dentry cache and raises inotify events; an Inode only does
// the thing itself. So an implementation of Unlink does not check the sticky bit, and nothing but
// vfs/operations (and stacked file systems such as overlay) calls these virtuals.
//
// Locks: `dir_mutex()` is held by the caller around every virtual that looks up or changes names of
// a directory (parent before child; two unrelated directories by address, under the file system's
// rename mutex). It may be held across a round trip to the gofer. The other virtuals lock for
// themselves. All may park the fiber unless their comment says otherwise.
//
// Lifetime: an inode keeps its FileSystem alive. mode, uid and gid are mirrored in the base class
// as atomics, so that a path walk over cached dentries checks search permission without a virtual
// call or lock: every implementation calls CacheOwner() whenever it learns or changes them.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"
#include "vfs/context.h"
#include "vfs/types.h"

namespace msentry::vfs {

class Dentry;
class FileDescription;
class FileLocks;
class FileSystem;
class InodeWatches;
struct Location;

// What Inode::Open gets. `flags` are open(2)'s, already validated; O_CREAT, O_EXCL, O_TRUNC,
// O_CLOEXEC and O_PATH have been dealt with.
struct OpenArgs {
  const Location& location;  // for the description to keep
  int flags = 0;
};

// State that something outside the file system attaches to an inode: the pipe of a FIFO, the
// listening socket bound to a socket inode.
class InodeAttachment : public RefCounted<InodeAttachment> {
 public:
  virtual ~InodeAttachment() = default;
};

// One step of a prefetch: the inode found, or null where the name does not exist.
struct PrefetchedName {
  RefPtr<class Inode> inode;
};

class Inode : public RefCounted<Inode> {
 public:
  // `mode` has type and permission bits. The type never changes.
  Inode(RefPtr<FileSystem> fs, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid);
  virtual ~Inode();

  FileSystem& fs() const { return *fs_; }
  uint64_t ino() const { return ino_; }
  uint32_t mode() const { return mode_.load(std::memory_order_relaxed); }
  uint32_t uid() const { return uid_.load(std::memory_order_relaxed); }
  uint32_t gid() const { return gid_.load(std::memory_order_relaxed); }
  uint32_t type() const { return mode() & S_IFMT; }
  bool IsDir() const { return type() == S_IFDIR; }
  bool IsRegular() const { return type() == S_IFREG; }
  bool IsSymlink() const { return type() == S_IFLNK; }

  // ---- Attributes ----
  // Fills in all but `dev` (vfs::GetAttr does).
  virtual Result<Attributes> GetAttr(const OpContext& ctx, AttrMask wanted) = 0;
  // Stores `attrs.set` fields. kSize only for regular files. Default: EPERM.
  virtual Result<> SetAttr(const OpContext& ctx, const SetAttributes& attrs);
  // May the credentials do `mask` (MAY_* of permissions.h) here? Default: mode bits and
  // capabilities (permissions.h). Override only for files with rules of their own, as in /proc;
  // then construct with `set_custom_permission()` so that path walk asks.
  virtual Result<> CheckPermission(const OpContext& ctx, int mask);

  // ---- Directories (dir_mutex held; default ENOTDIR, for changes EPERM) ----
  // ENOENT when there is no such name. Never "." or "..".
  virtual Result<RefPtr<Inode>> Lookup(const OpContext& ctx, std::string_view name);
  // Hint: resolve names[0] here, names[1] in the result, and so on, as far as one message gets, and
  // append what was found: stop after a null, a non-directory or a symlink. At least one entry on
  // success. Default: Lookup(names[0]). Only called when no dentry for names[0] is cached.
  virtual Result<> Prefetch(const OpContext& ctx, std::span<const std::string_view> names,
                            std::vector<PrefetchedName>* found);
  // New names. The name does not exist. `mode` has permission bits with the umask applied; owner is
  // (uid, gid), decided by vfs (set-gid directories).
  struct NewOwner {
    uint32_t uid = 0, gid = 0;
  };
  virtual Result<RefPtr<Inode>> Create(const OpContext& ctx, std::string_view name, uint32_t mode,
                                       NewOwner owner);
  virtual Result<RefPtr<Inode>> Mkdir(const OpContext& ctx, std::string_view name, uint32_t mode,
                                      NewOwner owner);
  // FIFO, socket, char or block device; `mode` includes the type.
  virtual Result<RefPtr<Inode>> Mknod(const OpContext& ctx, std::string_view name, uint32_t mode,
                                      uint64_t rdev, NewOwner owner);
  virtual Result<RefPtr<Inode>> Symlink(const OpContext& ctx, std::string_view name,
                                        std::string_view target, NewOwner owner);
  // A file without a name (O_TMPFILE). Default: EOPNOTSUPP.
  virtual Result<RefPtr<Inode>> CreateUnnamed(const OpContext& ctx, uint32_t mode, NewOwner owner);
  virtual Result<> Link(const OpContext& ctx, std::string_view name, Inode& target);
  virtual Result<> Unlink(const OpContext& ctx, std::string_view name, Inode& victim);
  virtual Result<> Rmdir(const OpContext& ctx, std::string_view name, Inode& victim);
  // Moves `name` (inode `moved`) to `new_name` in `new_dir`, replacing `replaced` (may be null),
  // or exchanging with it. `flags`: RENAME_EXCHANGE, RENAME_NOREPLACE (already checked),
  // RENAME_WHITEOUT.
  virtual Result<> Rename(const OpContext& ctx, std::string_view name, Inode& moved, Inode& new_dir,
                          std::string_view new_name, Inode* replaced, unsigned flags);

  // ---- Symbolic links ----
  virtual Result<std::string> ReadLink(const OpContext& ctx);  // default EINVAL
  // The target when it never changes and is in memory, else null: path walk follows it without a
  // copy. Must not park.
  virtual const std::string* CachedLink() const { return nullptr; }
  // A link that leads to an object instead of a path (/proc/PID/fd/N, exe, cwd, root).
  virtual bool IsMagicLink() const { return false; }
  virtual Result<Location> FollowMagicLink(const OpContext& ctx);

  // ---- Opening ----
  // Regular files, directories, and whatever else has an implementation of its own. FIFOs and
  // device nodes of ordinary file systems are opened by vfs through Vfs's registries instead,
  // unless OpensSpecial().
  virtual Result<RefPtr<FileDescription>> Open(const OpContext& ctx, const OpenArgs& args);
  virtual bool OpensSpecial() const { return false; }

  // ---- Extended attributes (names with their prefix, e.g. "user.x"; default EOPNOTSUPP) ----
  virtual Result<std::string> GetXattr(const OpContext& ctx, std::string_view name);
  virtual Result<> SetXattr(const OpContext& ctx, std::string_view name, std::string_view value,
                            int flags);  // XATTR_CREATE, XATTR_REPLACE
  virtual Result<> RemoveXattr(const OpContext& ctx, std::string_view name);
  virtual Result<std::vector<std::string>> ListXattr(const OpContext& ctx);

  // ---- Dentry cache ----
  // Only for file systems with FileSystem::kRevalidate: is what `dentry` (in this directory) says
  // still true? May update attributes. false drops the dentry and looks up again.
  virtual Result<bool> Revalidate(const OpContext& ctx, Dentry& dentry);

  // ---- Generic parts, created on demand ----
  FileLocks& locks();
  FileLocks* locks_if_any() const { return locks_.load(std::memory_order_acquire); }
  InodeWatches& watches();
  InodeWatches* watches_if_any() const { return watches_.load(std::memory_order_acquire); }
  // The attachment, made with `make` when there is none yet (null `make`: null when none).
  RefPtr<InodeAttachment> attachment() const;
  RefPtr<InodeAttachment> AttachOnce(absl::FunctionRef<RefPtr<InodeAttachment>()> make);
  void Detach();

  sched::FiberMutex& dir_mutex() { return mutex_; }      // directories: names
  sched::FiberMutex& content_mutex() { return mutex_; }  // regular files: size and appends

  // Text and write exclusion (ETXTBSY): a count of writers (> 0) or of executions (< 0).
  Result<> AllowWrite();  // ETXTBSY while executed
  void EndWrite();
  Result<> DenyWrite();  // ETXTBSY while open for writing; exec holds it
  void EndDenyWrite();

  bool custom_permission() const { return custom_permission_; }

 protected:
  void CacheOwner(uint32_t mode, uint32_t uid, uint32_t gid) {
    mode_.store(mode, std::memory_order_relaxed);
    uid_.store(uid, std::memory_order_relaxed);
    gid_.store(gid, std::memory_order_relaxed);
  }
  void set_custom_permission() { custom_permission_ = true; }

 private:
  const RefPtr<FileSystem> fs_;
  const uint64_t ino_;
  std::atomic<uint32_t> mode_, uid_, gid_;
  bool custom_permission_ = false;  // set in constructors only
  std::atomic<int32_t> write_count_{0};
  sched::FiberMutex mutex_;
  std::atomic<FileLocks*> locks_{nullptr};       // owned; made once
  std::atomic<InodeWatches*> watches_{nullptr};  // owned; made once
  mutable Mutex attachment_mutex_;
  RefPtr<InodeAttachment> attachment_ ABSL_GUARDED_BY(attachment_mutex_);
};

}  // namespace msentry::vfs
