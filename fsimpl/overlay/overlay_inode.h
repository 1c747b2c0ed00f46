// OverlayInode: one file of the overlay. Internal to overlay.
//
// It refers to the real inodes: at most one upper, and the lower ones it was found with. Copy-up
// sets the upper one, once; nothing ever clears it.
//
// Locks, outer first: this file system's rename mutex and the directory's dir_mutex (taken by vfs),
// copy_mutex_ (copying up, and removing a name, of this inode; held across messages), the real
// directory's dir_mutex, mutex_. An ancestor's copy_mutex_ may be taken under a descendant's, never
// the other way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "fsimpl/overlay/overlay_fs.h"
#include "vfs/inode.h"

namespace msentry::overlay {

class OverlayInode final : public vfs::Inode {
 public:
  OverlayInode(RefPtr<OverlayFs> fs, uint64_t ino, Found found);
  ~OverlayInode() override;

  OverlayFs& overlay() const { return static_cast<OverlayFs&>(fs()); }
  vfs::Inode* upper() const { return upper_.load(std::memory_order_acquire); }
  const std::vector<RefPtr<vfs::Inode>>& lowers() const { return lowers_; }
  vfs::Inode& real() const { return upper() ? *upper() : *lowers_[0]; }
  bool IsMerged() const { return upper() && !lowers_.empty(); }
  const std::string& lower_path() const { return lower_path_; }

  // Where it can be found.
  void AddName(OverlayInode& parent, std::string_view name);
  void RemoveName(OverlayInode& parent, std::string_view name);

  // Makes an upper file with the same content and attributes, ancestors first. `size`: how much of
  // the content is wanted (a truncation comes next).
  Result<> EnsureUpper(uint64_t size = UINT64_MAX);
  // An unnamed dentry for the real file that is in use now, for opening it.
  RefPtr<vfs::Dentry> RealDentry(bool* is_upper);
  // Calls `visit` for every visible name (not "." and ".."), until it returns false.
  struct Entry {
    std::string name;
    uint8_t type;
    uint64_t ino;
  };
  Result<> List(absl::FunctionRef<bool(Entry&&)> visit);
  // All of them as they are now; kept until a name changes, when they are not too many.
  using Entries = std::vector<Entry>;
  Result<std::shared_ptr<const Entries>> Listing();

  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override;
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
  Result<RefPtr<Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override;
  Result<> Prefetch(const vfs::OpContext& ctx, std::span<const std::string_view> names,
                    std::vector<vfs::PrefetchedName>* found) override;
  Result<RefPtr<Inode>> Create(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                               NewOwner owner) override;
  Result<RefPtr<Inode>> Mkdir(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                              NewOwner owner) override;
  Result<RefPtr<Inode>> Mknod(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                              uint64_t rdev, NewOwner owner) override;
  Result<RefPtr<Inode>> Symlink(const vfs::OpContext& ctx, std::string_view name,
                                std::string_view target, NewOwner owner) override;
  Result<RefPtr<Inode>> CreateUnnamed(const vfs::OpContext& ctx, uint32_t mode,
                                      NewOwner owner) override;
  Result<> Link(const vfs::OpContext& ctx, std::string_view name, Inode& target) override;
  Result<> Unlink(const vfs::OpContext& ctx, std::string_view name, Inode& victim) override;
  Result<> Rmdir(const vfs::OpContext& ctx, std::string_view name, Inode& victim) override;
  Result<> Rename(const vfs::OpContext& ctx, std::string_view name, Inode& moved, Inode& new_dir,
                  std::string_view new_name, Inode* replaced, unsigned flags) override;
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override { return real().ReadLink(ctx); }
  const std::string* CachedLink() const override { return real().CachedLink(); }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;
  Result<std::string> GetXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<> SetXattr(const vfs::OpContext& ctx, std::string_view name, std::string_view value,
                    int flags) override;
  Result<> RemoveXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<std::vector<std::string>> ListXattr(const vfs::OpContext& ctx) override;

 private:
  struct Name {
    RefPtr<OverlayInode> parent;
    std::string name;
  };
  // lookup.cc
  Result<Found> Find(std::string_view name);
  Result<> FindRedirected(std::string_view path, Found* found);
  Result<bool> LowerHas(std::string_view name);
  // copy_up.cc
  Result<Name> FirstName() const;  // ENOENT: it has none left
  Result<> CopyUpSelf(uint64_t size);
  Result<RefPtr<Inode>> MakeCopy(Inode& dir, std::string_view name, uint64_t size);
  Result<> CopyContent(Inode& to, uint64_t size);
  Result<> CopyXattrs(Inode& to);
  // names.cc, rename.cc
  void NamesChanged();  // of this directory
  using MakeFn = absl::FunctionRef<Result<RefPtr<Inode>>(Inode& dir)>;
  Result<RefPtr<Inode>> Make(std::string_view name, MakeFn make);
  Result<> Remove(std::string_view name, OverlayInode& victim);
  Result<> Whiteout(Inode& dir, std::string_view name);
  Result<> ClearWhiteouts();
  // The upper file that `name` in the real directory `dir` (locked) is, if this file has one there.
  Result<RefPtr<Inode>> UpperNamed(const vfs::OpContext& ctx, Inode& dir, std::string_view name);
  // Around the removal of one of this file's names; copy_mutex_ held, or no name can change.
  Result<> BeforeNameGoes();
  void AfterNameWent(OverlayInode& parent, std::string_view name);
  Result<> PrepareMove(bool target_has_lower);
  void DropHiddenName();

  std::atomic<Inode*> upper_{nullptr};  // owns one reference
  const std::vector<RefPtr<Inode>> lowers_;
  std::string lower_path_;  // of a directory's lowers; immutable
  sched::FiberMutex copy_mutex_;
  std::string hidden_name_;  // of a file without a name, in kLinksName; set before anybody sees it
  bool in_links_ = false;    // the copy has a name in kLinksName; guarded like BeforeNameGoes

  mutable Mutex mutex_;
  std::vector<Name> names_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Entries> listing_ ABSL_GUARDED_BY(mutex_);  // of a directory
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;                    // of its names
  int32_t link_change_ ABSL_GUARDED_BY(mutex_) = 0;             // of a file with a lower original
  uint32_t lower_links_ ABSL_GUARDED_BY(mutex_) = 0;            // the original's, once copied up
  RefPtr<vfs::Dentry> real_dentry_[2] ABSL_GUARDED_BY(mutex_);  // lower, upper
};

// Helpers on real directories; they take the directory's dir_mutex. Null: no such name.
Result<RefPtr<vfs::Inode>> RealLookup(const vfs::OpContext& ctx, vfs::Inode& dir,
                                      std::string_view name);
Result<RefPtr<vfs::Inode>> RealLookupLocked(const vfs::OpContext& ctx, vfs::Inode& dir,
                                            std::string_view name);
bool IsWhiteout(const vfs::OpContext& ctx, vfs::Inode& inode);
bool IsOpaque(const vfs::OpContext& ctx, vfs::Inode& dir);

}  // namespace msentry::overlay
