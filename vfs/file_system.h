// FileSystem: one mounted instance of a file system (Linux's super block).
//
//   class TmpFs : public FileSystem {
//     static Result<RefPtr<TmpFs>> Create(const Options&);   // calls SetRoot(root inode)
//   };
//
// It owns its root dentry and, through it, every cached dentry. When the last mount goes away (and
// the last open file with it) Shutdown() is called and the dentries are dropped; inodes that are
// still referenced keep the object itself alive.
#pragma once

#include <atomic>
#include <string>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"
#include "vfs/context.h"
#include "vfs/dentry.h"
#include "vfs/types.h"

namespace msentry::vfs {

class FileSystem : public RefCounted<FileSystem> {
 public:
  enum Flag : uint32_t {
    kRevalidate = 1,   // ask Inode::Revalidate before a cached dentry is believed
    kNoCache = 2,      // dentries are not kept after their last use (procfs)
    kReadOnly = 4,     // the super block itself is read-only
    kNoDev = 8,        // device nodes do not work, whatever the mount says
    kPseudo = 16,      // "nodev" in /proc/filesystems
    kNoNegative = 32,  // negative dentries are not cached
  };

  // `type` as in /proc/filesystems. The device number is allocated here (anonymous: major 0).
  FileSystem(std::string type, uint32_t flags);
  virtual ~FileSystem();

  const std::string& type() const { return type_; }
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void SetReadOnly(bool on);
  uint64_t dev() const { return dev_; }
  // What mountinfo shows as the mount source ("none", "overlay", a device). Set before mounting.
  const std::string& source() const { return source_; }
  void set_source(std::string source) { source_ = std::move(source); }
  // The root; valid from SetRoot to Shutdown. Keeps a reference.
  RefPtr<Dentry> root() const { return root_; }

  virtual Result<StatFs> GetStatFs(const OpContext& ctx) = 0;
  virtual Result<> Sync(const OpContext& ctx);  // syncfs(2); default: nothing to do
  // Super block options for mountinfo, e.g. "size=65536k,mode=755" (without ro/rw).
  virtual std::string ShowOptions() const;
  // mount(2) with MS_REMOUNT and data. Default: EINVAL unless `data` is empty.
  virtual Result<> Remount(const OpContext& ctx, std::string_view data);
  // An overlay file says the device number of its layer for some files; default: dev().
  virtual uint64_t DevOf(const Attributes&) const { return dev_; }

  // Serialises renames of directories within this file system, so that "is an ancestor of" holds.
  sched::FiberMutex& rename_mutex() { return rename_mutex_; }

  // For vfs::Mount only.
  void AddUser();
  void DropUser();

 protected:
  void SetRoot(RefPtr<Inode> root);
  // The last mount is gone: release what refers to inodes (caches, connections). May not park.
  virtual void Shutdown() {}

 private:
  const std::string type_;
  std::atomic<uint32_t> flags_;
  const uint64_t dev_;
  std::string source_ = "none";
  RefPtr<Dentry> root_;  // written by SetRoot and when the last mount goes
  std::atomic<int> users_{0};
  sched::FiberMutex rename_mutex_;
};

}  // namespace msentry::vfs
