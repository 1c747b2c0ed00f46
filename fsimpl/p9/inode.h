// P9Inode: a file on the host. Owns a fid of it as long as it lives.
//
// Caches, under mutex_ (never held across a message): attributes, up to two donated host fds, a
// directory's listing and names, whether there are extended attributes at all. With cache=fscache
// they are believed until we change something ourselves; with remote_revalidating attributes are
// asked for again and neither listings nor names are kept.
//
// Size, blocks, link count and times are the host's: after a change through a donated fd they are
// read back from that fd with fstat(2) when somebody asks, which is no message.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "fsimpl/p9/client.h"
#include "fsimpl/p9/dir_names.h"
#include "fsimpl/p9/fd_cache.h"
#include "fsimpl/p9/file_system.h"
#include "fsimpl/p9/listing.h"
#include "sentry/base/mutex.h"
#include "vfs/host_file.h"
#include "vfs/inode.h"

namespace msentry::p9 {

class P9Inode final : public vfs::Inode, public vfs::HostFileOwner {
 public:
  P9Inode(RefPtr<P9FileSystem> fs, FidNumber fid, const Attr& attr, std::string target);
  ~P9Inode() override;

  P9FileSystem& p9fs() const { return static_cast<P9FileSystem&>(fs()); }
  Client& client() const { return p9fs().client(); }
  FidNumber fid() const { return fid_; }

  // The server said this about us just now.
  void Learn(const Attr& attr);
  // The fd cache takes back what we keep.
  void DropFds();
  // The directory's entries; `reload` when a caller starts from the beginning.
  Result<std::shared_ptr<const Listing>> GetListing();

  // vfs::Inode
  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override;
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override;
  Result<> Prefetch(const vfs::OpContext& ctx, std::span<const std::string_view> names,
                    std::vector<vfs::PrefetchedName>* found) override;
  Result<RefPtr<vfs::Inode>> Create(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                                    NewOwner owner) override;
  Result<RefPtr<vfs::Inode>> Mkdir(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                                   NewOwner owner) override;
  Result<RefPtr<vfs::Inode>> Mknod(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                                   uint64_t rdev, NewOwner owner) override;
  Result<RefPtr<vfs::Inode>> Symlink(const vfs::OpContext& ctx, std::string_view name,
                                     std::string_view target, NewOwner owner) override;
  Result<> Link(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& target) override;
  Result<> Unlink(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& victim) override;
  Result<> Rmdir(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& victim) override;
  Result<> Rename(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& moved,
                  vfs::Inode& new_dir, std::string_view new_name, vfs::Inode* replaced,
                  unsigned flags) override;
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override;
  const std::string* CachedLink() const override { return link_.load(std::memory_order_acquire); }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;
  Result<std::string> GetXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<> SetXattr(const vfs::OpContext& ctx, std::string_view name, std::string_view value,
                    int flags) override;
  Result<> RemoveXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<std::vector<std::string>> ListXattr(const vfs::OpContext& ctx) override;
  Result<bool> Revalidate(const vfs::OpContext& ctx, vfs::Dentry& dentry) override;

  // vfs::HostFileOwner
  void AfterHostWrite(const vfs::OpContext& ctx, uint64_t end) override;
  void AfterHostRead(const vfs::OpContext& ctx) override;
  bool AwaitFreedSpace() override { return client().AwaitClunks(); }
  Result<RefPtr<vfs::HostFd>> FdForMapping(const RefPtr<vfs::HostFd>& opened,
                                           bool shared_writable) override;
  Result<uint64_t> HostFileSize(const vfs::OpContext& ctx) override;

  // For RemoteFile: data changed through a handle.
  void MarkStale() { stale_.store(true, std::memory_order_release); }

 private:
  // Makes attr_ good enough for `wanted`.
  Result<> Refresh(vfs::AttrMask wanted);
  void LearnFromFd(int fd);
  Result<RefPtr<vfs::HostFd>> HostFdFor(int access_mode);
  RefPtr<vfs::HostFd> AnyFd();
  void KeepFd(RefPtr<vfs::HostFd> fd, int access_mode);
  // Names in this directory changed: `update` brings names_ up to date.
  void Changed(absl::FunctionRef<void(DirNames&)> update);
  // A change of names failed: what is there now is the server's secret.
  void ChangeFailed();
  // The server knows no such name: after some of these we ask for all names. dir_mutex held, or
  // nobody can change this directory.
  void CountMiss();
  bool KnownAbsent(std::string_view name);
  // Nobody has this file open and it has one name: nobody can tell when exactly that goes. Gives up
  // the fds that we keep.
  bool LeaveUnseen();
  Result<RefPtr<vfs::Inode>> MakeNode(std::string_view name, uint32_t mode, uint64_t rdev,
                                      std::string_view target, NewOwner owner);
  Result<> Remove(std::string_view name, vfs::Inode& victim, bool directory);
  Result<bool> KnownWithoutXattrs();
  void SetLink(std::string target);

  const FidNumber fid_;
  const uint64_t qid_path_;
  std::atomic<const std::string*> link_{nullptr};  // owned; set once
  // Something changed that attr_ does not show yet. Set after the change, cleared before asking.
  std::atomic<bool> stale_{false};
  std::atomic<bool> mapped_shared_{false};  // changes happen that we are not told of
  std::atomic<bool> no_xattrs_{false};
  std::atomic<int64_t> learned_at_{0};

  Mutex mutex_;
  Attr attr_ ABSL_GUARDED_BY(mutex_);
  RefPtr<vfs::HostFd> read_fd_ ABSL_GUARDED_BY(mutex_);   // O_RDONLY
  RefPtr<vfs::HostFd> write_fd_ ABSL_GUARDED_BY(mutex_);  // O_RDWR, or O_WRONLY when that is all
  bool write_fd_reads_ ABSL_GUARDED_BY(mutex_) = true;
  std::shared_ptr<const Listing> listing_ ABSL_GUARDED_BY(mutex_);
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;  // of the directory, for the listing's sake
  DirNames names_ ABSL_GUARDED_BY(mutex_);
  uint32_t names_refusals_ ABSL_GUARDED_BY(mutex_) = 0;  // of the client, when names_ was true
  FdCacheHook hook_;
};

}  // namespace msentry::p9
