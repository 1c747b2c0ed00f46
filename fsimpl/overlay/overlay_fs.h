// The file system object of overlay: the layers, and which overlay inode stands for which real one.
// Internal to overlay.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "fsimpl/overlay/overlay.h"
#include "sentry/base/mutex.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"

namespace msentry::overlay {

class OverlayInode;

inline constexpr std::string_view kOpaque = "trusted.overlay.opaque";
inline constexpr std::string_view kRedirect = "trusted.overlay.redirect";
// On the upper layer's root: it has the lower one's owner and mode. Ours alone.
inline constexpr std::string_view kPrepared = "trusted.overlay.msentry-prepared";
inline constexpr std::string_view kPrivatePrefix = "trusted.overlay.";
// A directory in the upper layer's root that nobody sees. It holds the copies of files with several
// lower names whose name in the upper layer was removed while lower ones are left.
inline constexpr std::string_view kLinksName = ".msentry-links";

// What a name leads to in the layers: an upper file, or a lower one, or for directories both.
struct Found {
  RefPtr<vfs::Inode> upper;
  std::vector<RefPtr<vfs::Inode>> lowers;  // topmost first; at most one that is no directory
  std::string lower_path;                  // of lowers, from the roots of their layers
  bool any() const { return upper || !lowers.empty(); }
};

class OverlayFs final : public vfs::FileSystem {
 public:
  OverlayFs(const vfs::OpContext& ctx, const Options& options);

  bool has_upper() const { return upper_ != nullptr; }
  vfs::Inode& upper_root() const { return *upper_->root()->inode(); }
  size_t lower_count() const { return lower_.size(); }
  vfs::Inode& lower_root(size_t i) const { return *lower_[i]->root()->inode(); }
  // For the overlay's own work on the layers: without the caller's limits.
  vfs::OpContext Internal() const { return vfs::OpContext(vfs_, *creds_); }

  // The inode for `found`, the one that is in use if there is one. `parent` and `name`: where it
  // was found (null parent: the root, or a file without a name).
  RefPtr<OverlayInode> InodeFor(Found found, OverlayInode* parent, std::string_view name);
  // `inode` has an upper file now.
  void Register(OverlayInode& inode, vfs::Inode& upper);
  void Forget(OverlayInode& inode);
  // Keeps an inode with more names than we know until the end: its other names must find the copy.
  void Pin(RefPtr<OverlayInode> inode);
  // The inode number to show for a real inode: for a copy, that of the original.
  uint64_t InoOf(const vfs::Inode& real, bool upper) const { return InoOf(real.ino(), upper); }
  uint64_t InoOf(uint64_t real_ino, bool upper) const;
  // A name of `upper` was removed: if it was the last, its number may come back for another file.
  void NameGone(const vfs::OpContext& ctx, vfs::Inode& upper);

  Result<vfs::StatFs> GetStatFs(const vfs::OpContext& ctx) override;
  Result<> Sync(const vfs::OpContext& ctx) override;
  std::string ShowOptions() const override { return show_options_; }

  void Start(RefPtr<OverlayInode> root);
  bool IsRoot(const OverlayInode& inode) const { return &inode == root_inode_; }
  // The directory kLinksName, made when it is not there yet.
  Result<RefPtr<vfs::Inode>> LinksDirectory();

 protected:
  void Shutdown() override;

 private:
  vfs::Vfs& vfs_;
  const auth::CredsRef creds_;
  const std::vector<RefPtr<vfs::FileSystem>> lower_;
  const RefPtr<vfs::FileSystem> upper_;
  const std::string show_options_;
  const OverlayInode* root_inode_ = nullptr;  // set by Start
  bool tag_upper_ = false;                    // the layers' inode numbers are not known to differ

  mutable Mutex mutex_;
  absl::flat_hash_map<const vfs::Inode*, OverlayInode*> by_real_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, uint64_t> copied_ino_ ABSL_GUARDED_BY(mutex_);  // upper's → shown
  std::vector<RefPtr<OverlayInode>> pinned_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::overlay
