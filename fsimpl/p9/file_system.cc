#include "fsimpl/p9/file_system.h"

#include "fsimpl/p9/fd_cache.h"
#include "fsimpl/p9/inode.h"

namespace msentry::p9 {
namespace {

constexpr uint64_t kV9fsMagic = 0x01021997;

uint32_t FlagsFor(const MountOptions& options) {
  uint32_t flags = vfs::FileSystem::kPseudo;
  if (options.cache == CachePolicy::kRemoteRevalidating) flags |= vfs::FileSystem::kRevalidate;
  if (options.read_only) flags |= vfs::FileSystem::kReadOnly;
  return flags;
}

}  // namespace

P9FileSystem::P9FileSystem(std::shared_ptr<Client> client, const MountOptions& options)
    : FileSystem("9p", FlagsFor(options)), client_(std::move(client)), options_(options) {}

Result<RefPtr<P9FileSystem>> P9FileSystem::Create(std::shared_ptr<Client> client,
                                                  const MountOptions& options) {
  NewFile root = TRY(client->Attach(options.aname));
  RefPtr<P9FileSystem> fs =
      RefPtr<P9FileSystem>::Adopt(new P9FileSystem(std::move(client), options));
  fs->root_fid_ = root.fid;
  fs->SetRoot(fs->InodeFor(root.fid, root.attr, {}));
  return fs;
}

RefPtr<P9Inode> P9FileSystem::InodeFor(FidNumber fid, const Attr& attr, std::string_view target) {
  RefPtr<P9Inode> known;
  {
    MutexLock lock(mutex_);
    P9Inode*& slot = inodes_[attr.qid.path];
    // The server holds every file of ours open, so its number is not given to another file; a peer
    // that says otherwise gets a second inode.
    if (slot != nullptr && slot->type() == (attr.mode & S_IFMT) && slot->TryRef()) {
      known = RefPtr<P9Inode>::Adopt(slot);
    } else {
      RefPtr<P9Inode> fresh =
          MakeRef<P9Inode>(RefPtr<P9FileSystem>(this), fid, attr, std::string(target));
      slot = fresh.get();
      return fresh;
    }
  }
  known->Learn(attr);
  client_->Clunk(fid);
  return known;
}

void P9FileSystem::Forget(P9Inode& inode, uint64_t qid_path) {
  MutexLock lock(mutex_);
  auto it = inodes_.find(qid_path);
  if (it != inodes_.end() && it->second == &inode) inodes_.erase(it);
}

Result<vfs::StatFs> P9FileSystem::GetStatFs(const vfs::OpContext&) {
  Rstatfs r = TRY(client_->StatFs(root_fid_));
  return vfs::StatFs{.type = kV9fsMagic,
                     .block_size = r.bsize,
                     .blocks = r.blocks,
                     .blocks_free = r.bfree,
                     .blocks_available = r.bavail,
                     .files = r.files,
                     .files_free = r.ffree,
                     .fsid = r.fsid,
                     .name_length = r.namelen};
}

Result<> P9FileSystem::Sync(const vfs::OpContext&) {
  if (options_.read_only || !client_->extended()) return Ok();
  return client_->Sync(root_fid_, Client::SyncKind::kWholeFs);
}

std::string P9FileSystem::ShowOptions() const {
  return std::string("trans=fd,rfdno=4,wfdno=4,aname=")
      .append(options_.aname)
      .append(",cache=")
      .append(caching() ? "fscache" : "remote_revalidating");
}

Result<std::shared_ptr<Client>> Connect(ScopedFd socket, sched::Scheduler* scheduler,
                                        const ConnectOptions& options) {
  return Client::Connect(std::move(socket), scheduler, options);
}

Result<RefPtr<vfs::FileSystem>> NewFileSystem(std::shared_ptr<Client> client,
                                              const MountOptions& options) {
  return RefPtr<vfs::FileSystem>(TRY(P9FileSystem::Create(std::move(client), options)));
}

void Settle() { Client::SettleAll(); }

bool IsAlive(const Client& client) { return client.alive(); }

void SetFdCacheLimit(size_t fds) { FdCache::Get().SetLimit(fds); }

}  // namespace msentry::p9
