// Dentry: a name in a directory, with the inode it leads to, or with none (negative: the name is
// known not to exist). Dentries form the tree of one file system and are its name cache.
//
// A dentry is *hashed* while its parent's table holds it; the table owns one reference. Removing a
// name unhashes the dentry: users that still hold it see IsDeleted(). A negative dentry becomes
// positive when the name is created, never the other way. The cache is bounded: DentryCache evicts
// hashed dentries without other users, second chance first (vfs/dentry_cache.h). Children refer to
// their parent, so directories with cached children, mount points and roots stay.
//
// Locks: mutex_ guards the children table, the parent pointer and the name. Only one dentry's mutex
// is held at a time; changes of names happen under the directories' Inode::dir_mutex, so a reader
// may look without it, and must take it (and look again) before it believes a miss.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"

namespace msentry::vfs {

class DentryCache;
class Inode;

class Dentry : public RefCounted<Dentry> {
 public:
  // A root, or a nameless file (O_TMPFILE, memfd, pipes: `name` is what /proc/PID/fd shows).
  static RefPtr<Dentry> MakeRoot(RefPtr<Inode> inode);
  static RefPtr<Dentry> MakeUnnamed(RefPtr<Inode> inode, std::string name);
  ~Dentry();

  // Null when negative. A positive dentry never changes its inode: the pointer is good while the
  // caller holds this dentry.
  Inode* inode() const { return inode_.load(std::memory_order_acquire); }
  bool negative() const { return inode() == nullptr; }

  RefPtr<Dentry> parent() const;  // null for a root, or an unnamed file
  std::string name() const;
  // Name and parent as one consistent pair.
  RefPtr<Dentry> ParentAndName(std::string* name) const;
  bool is_root() const { return root_; }
  bool unnamed() const { return unnamed_; }
  // Its name was removed (unlink, rmdir, or replaced by rename).
  bool IsDeleted() const { return deleted_.load(std::memory_order_acquire); }

  // Is `this` equal to or below `ancestor`? Stable only under the rename mutex.
  bool IsInside(const Dentry& ancestor) const;

  // ---- Cache operations ----
  // The hashed child, positive or negative; null on a miss. Never parks.
  RefPtr<Dentry> FindCached(std::string_view name);
  // A new child with `inode` (null: negative), hashed unless `hash` is false. dir_mutex of this
  // directory held; no child of that name is hashed.
  RefPtr<Dentry> AddChild(std::string_view name, RefPtr<Inode> inode, bool hash = true);
  // This negative dentry got an inode (create). The parent's dir_mutex held.
  void Instantiate(RefPtr<Inode> inode, bool hash = true);
  // Takes the child out of the table: it is deleted, or (`deleted` false) no longer believed.
  void Unhash(bool deleted);
  // Moves this dentry below `new_parent` as `new_name`, unhashing (as deleted) what was there.
  // dir_mutexes and rename mutex held.
  void MoveTo(const RefPtr<Dentry>& new_parent, std::string_view new_name);
  // Swaps names and places with `other` (RENAME_EXCHANGE).
  void ExchangeWith(Dentry& other);
  // Unhashes every cached descendant (not as deleted): the file system goes away, or the directory
  // was removed.
  void PruneChildren();

  // How many mounts, in any namespace, sit on this dentry: path walk's hint.
  bool IsMountPoint() const { return mounts_.load(std::memory_order_acquire) != 0; }
  void AddMountPoint() { mounts_.fetch_add(1, std::memory_order_acq_rel); }
  void RemoveMountPoint() { mounts_.fetch_sub(1, std::memory_order_acq_rel); }

  // Bumped by every rename of a directory, in any file system: a walk that must not escape from a
  // subtree (RESOLVE_BENEATH, IN_ROOT) compares it.
  static uint64_t RenameSequence();

  Dentry(RefPtr<Dentry> parent, std::string_view name, RefPtr<Inode> inode);  // for MakeRef

 private:
  friend class DentryCache;
  // Table changes; each takes the mutex of the directory it is called on.
  void HashChild(Dentry* child);
  bool UnhashChild(Dentry* child);  // false: it was not hashed
  RefPtr<Dentry> AnyChild() const;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const;
    size_t operator()(const Dentry* d) const;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Dentry* a, const Dentry* b) const { return a == b; }
    bool operator()(const Dentry* a, std::string_view b) const;
    bool operator()(std::string_view a, const Dentry* b) const { return (*this)(b, a); }
  };
  using Children = absl::flat_hash_set<Dentry*, Hash, Equal>;

  std::atomic<Inode*> inode_{nullptr};  // owns one reference when not null
  mutable Mutex mutex_;
  std::unique_ptr<Children> children_ ABSL_GUARDED_BY(mutex_);
  RefPtr<Dentry> parent_;  // changed under mutex_ and the old and new parents' dir_mutex
  std::string name_;       // likewise; also read under the parent's mutex_ through its table
  std::atomic<bool> deleted_{false};
  std::atomic<bool> hashed_{false};
  std::atomic<bool> referenced_{false};  // second chance, set by FindCached
  bool root_ = false, unnamed_ = false;  // immutable
  std::atomic<int32_t> mounts_{0};
  // The DentryCache's list, under its lock.
  Dentry* lru_prev_ = nullptr;
  Dentry* lru_next_ = nullptr;
};

}  // namespace msentry::vfs
