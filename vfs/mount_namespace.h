// MountNamespace: a tree of mounts (mount_namespaces(7)). Tasks share one until
// unshare(CLONE_NEWNS).
//
// Every mount is private: propagation between namespaces is not implemented, and asking for shared
// or slave mounts gives EINVAL.
//
// Locks: mutex_ serialises changes of the tree; each Mount's own mutex guards its links. Path walk
// takes only the latter. References are dropped after the locks.
#pragma once

#include <string>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/location.h"

namespace msentry::vfs {

// One line of /proc/PID/mountinfo, paths as seen from the asking task's root.
struct MountInfo {
  uint64_t id = 0, parent_id = 0, dev = 0;
  std::string root;  // path of the mount's root inside its file system
  std::string mount_point;
  std::string options;                      // "rw,nosuid,relatime"
  std::string type, source, super_options;  // super_options starts with ro or rw
};

class MountNamespace : public RefCounted<MountNamespace> {
 public:
  // With `fs` as the root mount. `flags` are MountFlag bits, everywhere below as well.
  static RefPtr<MountNamespace> Create(RefPtr<FileSystem> fs, uint32_t flags);
  ~MountNamespace();

  // Root of the topmost mount on "/": where a process that enters the namespace starts.
  Location Root() const;

  // Attaches `fs` (or a subtree of it) on `at`. ENOTDIR/EINVAL as mount(2): directories go on
  // directories, files on files. ENOENT when `at` was removed.
  Result<RefPtr<Mount>> Attach(RefPtr<FileSystem> fs, const Location& at, uint32_t flags);
  // The part of `fs` below its directory `root`.
  Result<RefPtr<Mount>> AttachSubtree(RefPtr<FileSystem> fs, RefPtr<Dentry> root,
                                      const Location& at, uint32_t flags);
  Result<RefPtr<Mount>> Bind(const Location& source, const Location& at, bool recursive);
  // MS_MOVE. ELOOP into itself, EINVAL for the root mount.
  Result<> Move(const Location& source, const Location& at);
  // MS_REMOUNT|MS_BIND: flags of the mount only.
  Result<> SetFlags(Mount& mount, uint32_t flags);
  // umount2(2); `at` must be the root of a mount of this namespace (EINVAL). EBUSY unless lazy when
  // something is mounted below or in use: pass the only Location you hold, moved.
  Result<> Detach(Location at, bool lazy);
  // pivot_root(2).
  Result<> PivotRoot(const Location& new_root, const Location& put_old);

  // A copy of the whole tree (CLONE_NEWNS); `translate` is called for every location to carry over
  // (a task's root and cwd) and must be given the new one.
  RefPtr<MountNamespace> Clone(std::vector<Location*> translate) const;

  // Is `mount` attached in this namespace?
  bool Contains(const Mount& mount) const;
  // In mount order, only what is reachable from `root`.
  std::vector<MountInfo> List(const Location& root) const;
  // Changes whenever the tree does (poll on /proc/self/mounts).
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  explicit MountNamespace(RefPtr<Mount> root);  // for MakeRef

 private:
  Result<> AttachLocked(const RefPtr<Mount>& mount, const Location& at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool ContainsLocked(const Mount& mount) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Cuts `mount` from its parent; the references to drop after the lock go to `drop`.
  void UnlinkLocked(Mount& mount, std::vector<Location>* drop)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  RefPtr<Mount> root_ ABSL_GUARDED_BY(mutex_);
  std::vector<RefPtr<Mount>> mounts_ ABSL_GUARDED_BY(mutex_);  // all attached ones, in order
  std::atomic<uint64_t> generation_{1};
};

// The path of `location` as seen from `root`, as getcwd(2) and /proc/PID/fd build it. A removed
// file ends in " (deleted)"; what is not below `root` gets the prefix "(unreachable)".
std::string PathOf(const Location& location, const Location& root);
// For getcwd(2): ENOENT when it was removed.
Result<std::string> PathForGetcwd(const Location& location, const Location& root);

}  // namespace msentry::vfs
