// Mount: one place where a file system (or a subtree of one) is attached.
//
// Flags are per mount, as in Linux: ro, nosuid, nodev, noexec, noatime, nodiratime, relatime.
// Topology (parent, mount point, children) and propagation are changed only by MountNamespace.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/dentry.h"

namespace msentry::vfs {

class FileSystem;
class Mount;
class MountNamespace;
struct Location;

// Mounts that pass each other what is mounted and unmounted on them, and those that only get it
// (mount_namespaces(7), Documentation/filesystems/sharedsubtree.txt). Guarded by the topology lock
// of mount_namespace.h; the pointers are of attached mounts.
struct PeerGroup : RefCounted<PeerGroup> {
  explicit PeerGroup(int number) : id(number) {}
  const int id;
  std::vector<Mount*> peers, slaves;
};

// mount(2)'s MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE.
enum class Propagation : uint8_t { kPrivate, kShared, kSlave, kUnbindable };

enum MountFlag : uint32_t {
  kMountReadOnly = 1,
  kMountNoSuid = 2,
  kMountNoDev = 4,
  kMountNoExec = 8,
  kMountNoAtime = 16,
  kMountNoDirAtime = 32,
  kMountRelatime = 64,
  kMountStrictAtime = 128,
};

class Mount : public RefCounted<Mount> {
 public:
  // `root` is a dentry of `fs`: its root, or for a bind mount any dentry.
  Mount(RefPtr<FileSystem> fs, RefPtr<Dentry> root, uint32_t flags);
  ~Mount();

  FileSystem& fs() const { return *fs_; }
  const RefPtr<Dentry>& root() const { return root_; }
  uint64_t id() const { return id_; }
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }

  // EROFS when the mount or its file system is read-only. Pairs with nothing: for one-shot changes.
  Result<> CheckWritable() const;
  // A description open for writing: remounting read-only fails with EBUSY meanwhile.
  Result<> BeginWrite();
  void EndWrite();

  // The mount on top of `dentry` of this mount; null when none. Cheap when !IsMountPoint().
  RefPtr<Mount> MountedOn(const Dentry& dentry) const;
  // Where this mount sits; empty for the root of a namespace, and once unmounted.
  Location MountPoint() const;
  bool attached() const { return attached_.load(std::memory_order_acquire); }

 private:
  friend class MountNamespace;
  Result<> SetFlags(uint32_t flags);  // EBUSY: read-only while something is open for writing
  const RefPtr<FileSystem> fs_;
  const RefPtr<Dentry> root_;
  const uint64_t id_;
  std::atomic<uint32_t> flags_;
  std::atomic<int32_t> writers_{0};  // descriptions open for writing
  std::atomic<bool> attached_{false};
  // Under the topology lock.
  MountNamespace* namespace_ = nullptr;  // that it is attached in
  RefPtr<PeerGroup> shared_, master_;
  bool unbindable_ = false;

  mutable Mutex mutex_;
  RefPtr<Mount> parent_ ABSL_GUARDED_BY(mutex_);
  RefPtr<Dentry> mount_point_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const Dentry*, RefPtr<Mount>> children_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::vfs
