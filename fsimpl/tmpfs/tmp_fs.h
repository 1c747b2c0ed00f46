// The file system object of tmpfs: limits and what is used of them. Internal to tmpfs.
#pragma once

#include <atomic>

#include "fsimpl/tmpfs/tmpfs.h"
#include "vfs/file_system.h"

namespace msentry::tmpfs {

inline constexpr uint64_t kPage = 4096;
inline uint64_t PagesOf(uint64_t bytes) { return bytes / kPage + (bytes % kPage != 0); }

class TmpFs final : public vfs::FileSystem {
 public:
  explicit TmpFs(const Options& options);
  void MakeRoot(const Options& options);

  // Takes up to `pages` and says how many there were: 0 on a full file system.
  uint64_t ChargeSome(uint64_t pages);
  bool Charge(uint64_t pages);  // all or none
  void Uncharge(uint64_t pages) {
    used_pages_.fetch_sub(pages, std::memory_order_relaxed);
    all_pages.fetch_sub(pages, std::memory_order_relaxed);
  }
  bool ChargeInode();
  void UnchargeInode() { used_inodes_.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

  Result<vfs::StatFs> GetStatFs(const vfs::OpContext& ctx) override;
  std::string ShowOptions() const override;
  Result<> Remount(const vfs::OpContext& ctx, std::string_view data) override;

 protected:
  void Shutdown() override;

 private:
  std::atomic<uint64_t> max_pages_, max_inodes_;
  const uint32_t mode_;
  std::atomic<uint64_t> used_pages_{0}, used_inodes_{0}, next_ino_{1};
  static std::atomic<uint64_t> all_pages;  // used_pages_ of all
  friend uint64_t TotalPages();
  RefPtr<class TmpDir> tree_;  // until Shutdown; written by MakeRoot
};

}  // namespace msentry::tmpfs
