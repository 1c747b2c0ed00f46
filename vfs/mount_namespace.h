// MountNamespace: a tree of mounts (mount_namespaces(7)). Tasks share one until
// unshare(CLONE_NEWNS).
//
// Mounts are private until made shared or slave; then mounting and unmounting propagates between
// peers, in whatever namespace they are (mount_propagation.cc).
//
// Locks: the topology lock, one for all namespaces because of propagation, serialises changes; each
// Mount's own mutex guards its links. Path walk takes only the latter. References are dropped after
// the locks.
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
  std::string propagation;                  // "shared:1 master:2 ", or nothing
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
  // MS_SHARED and its like, on the mount at `at`, with MS_REC on those below too. EINVAL: not a
  // mount.
  Result<> SetPropagation(const Location& at, Propagation kind, bool recursive);
  // MS_MOVE. ELOOP into itself, EINVAL for the root mount.
  Result<> Move(const Location& source, const Location& at);
  // MS_REMOUNT|MS_BIND: flags of the mount only.
  Result<> SetFlags(Mount& mount, uint32_t flags);
  // umount2(2); `at` must be the root of a mount of this namespace (EINVAL). EBUSY unless lazy when
  // something is mounted below or in use: pass the only Location you hold, moved.
  Result<> Detach(Location at, bool lazy);
  // The root of the topmost mount at `at`, which may be a mount's root already covered by another.
  static Location Top(Location at);
  // pivot_root(2).
  Result<> PivotRoot(const Location& new_root, const Location& put_old);

  // A copy of the whole tree (CLONE_NEWNS); `translate` is called for every location to carry over
  // (a task's root and cwd) and must be given the new one.
  // ENOSPC: there would be too many mounts.
  Result<RefPtr<MountNamespace>> Clone(std::vector<Location*> translate) const;

  // Is `mount` attached in this namespace?
  bool Contains(const Mount& mount) const;
  // In mount order, only what is reachable from `root`.
  std::vector<MountInfo> List(const Location& root) const;
  // Changes whenever the tree does (poll on /proc/self/mounts).
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // Inode number of /proc/PID/ns/mnt; set once, by the kernel.
  uint64_t number() const { return number_; }
  void set_number(uint64_t number) { number_ = number; }

  MountNamespace() = default;  // for MakeRef

 private:
  static Mutex& Topology();  // the lock of all trees

  // Where a mount made by copying another stands to the original's peers.
  enum class CopyKind : uint8_t { kLike, kSlave, kPrivate };
  // Not attached yet; joins the peer groups. Mounts below that are unbindable are left out.
  static RefPtr<Mount> CopyMount(const Mount& from, RefPtr<Dentry> root, CopyKind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  std::vector<RefPtr<Mount>> Below(const RefPtr<Mount>& mount, const Dentry* inside) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  // `mount` and, if `recursive`, what is mounted below `root` on it, as one detached tree whose
  // first is its top.
  Result<std::vector<RefPtr<Mount>>> CopyTree(const RefPtr<Mount>& mount, RefPtr<Dentry> root,
                                              bool recursive, CopyKind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());

  Result<> CheckPlace(const Mount& mount, const Location& at) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  // Puts a detached tree (the first is its top, the others hang below it) at `at`, and copies of it
  // where the mount there propagates to.
  Result<> AttachTree(const std::vector<RefPtr<Mount>>& tree, const Location& at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  void Link(const RefPtr<Mount>& mount, const Location& at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  void Adopt(const std::vector<RefPtr<Mount>>& tree) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  // Cuts `mount` from its parent; the references to drop after the lock go to `drop`.
  static void Unlink(Mount& mount, std::vector<Location>* drop)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  // Takes `mount` and everything below out of this namespace and out of its peer groups.
  void Remove(const RefPtr<Mount>& mount, std::vector<Location>* drop,
              std::vector<RefPtr<Mount>>* dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());

  // mount_propagation.cc
  static void JoinPeers(Mount& mount, RefPtr<PeerGroup> group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  static void BecomeSlave(Mount& mount, RefPtr<PeerGroup> master)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  static void MakeShared(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  static void LeavePeers(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  static void LeaveMaster(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  static void Change(Mount& mount, Propagation kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  // Where something mounted on `mount` appears as well; `slave`: it goes one way only.
  struct Receiver {
    RefPtr<Mount> mount;
    bool slave;
  };
  static std::vector<Receiver> Receivers(const Mount& mount)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());
  Result<> Propagate(const std::vector<RefPtr<Mount>>& tree, const Location& at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(Topology());

  RefPtr<Mount> root_;                 // topology
  std::vector<RefPtr<Mount>> mounts_;  // topology; in the order of mounting
  std::atomic<uint64_t> generation_{0};
  uint64_t number_ = 0;
};

// The path of `location` as seen from `root`, as getcwd(2) and /proc/PID/fd build it. A removed
// file ends in " (deleted)"; what is not below `root` gets the prefix "(unreachable)".
std::string PathOf(const Location& location, const Location& root);
// For getcwd(2): ENOENT when it was removed.
Result<std::string> PathForGetcwd(const Location& location, const Location& root);

}  // namespace msentry::vfs
