// P9FileSystem: one attach point of a gofer as a file system. Keeps the table of inodes by qid, so
// that two names of one file are one inode.
#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "fsimpl/p9/client.h"
#include "fsimpl/p9/p9.h"
#include "sentry/base/mutex.h"
#include "vfs/file_system.h"

namespace msentry::p9 {

class P9Inode;

class P9FileSystem : public vfs::FileSystem {
 public:
  static Result<RefPtr<P9FileSystem>> Create(std::shared_ptr<Client> client,
                                             const MountOptions& options);

  Client& client() const { return *client_; }
  bool caching() const { return options_.cache == CachePolicy::kFscache; }
  bool read_only() const { return options_.read_only; }

  // The inode of a file just walked to or made: the one that is known already (then `fid` is given
  // back), or a new one that owns `fid`. `target`: of a link, when known.
  RefPtr<P9Inode> InodeFor(FidNumber fid, const Attr& attr, std::string_view target);
  void Forget(P9Inode& inode, uint64_t qid_path);

  Result<vfs::StatFs> GetStatFs(const vfs::OpContext& ctx) override;
  Result<> Sync(const vfs::OpContext& ctx) override;
  std::string ShowOptions() const override;

 private:
  P9FileSystem(std::shared_ptr<Client> client, const MountOptions& options);

  const std::shared_ptr<Client> client_;
  const MountOptions options_;
  FidNumber root_fid_ = kNoFid;  // set by Create
  Mutex mutex_;
  absl::flat_hash_map<uint64_t, P9Inode*> inodes_ ABSL_GUARDED_BY(mutex_);  // no references
};

}  // namespace msentry::p9
