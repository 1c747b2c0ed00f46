// tmpfs(5): files in memory, for /tmp, /dev/shm and memfd_create(2).
//
//   RefPtr<vfs::FileSystem> tmp = TRY(tmpfs::Create({.max_bytes = 1 << 30}));
//
// The content of a regular file is a memfd on the host, so mapping it is native; a small file that
// nobody maps is a string in the sentry and costs no host fd. Memory is charged by the page when it
// is written; a shared writable mapping charges the whole file at once, because what it touches
// later is not seen. Over the limit: ENOSPC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/context.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"

namespace msentry::tmpfs {

struct Options {
  uint64_t max_bytes = 0;   // 0: half of the host's memory
  uint64_t max_inodes = 0;  // 0: one per two pages of that
  uint32_t mode = 01777;
  uint32_t uid = 0, gid = 0;
  std::string type = "tmpfs";  // devtmpfs says otherwise
};

Result<RefPtr<vfs::FileSystem>> Create(const Options& options);
// From mount(2)'s data: "size=64m,nr_inodes=1k,mode=755,uid=0,gid=0". EINVAL.
Result<Options> ParseOptions(std::string_view data);

// Pages charged in all file systems of this type, memfds included: "Shmem" of /proc/meminfo.
uint64_t TotalPages();

// memfd_create(2). `shm` is a file system made by Create, never mounted. `name` as the caller gave
// it; flags MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL, MFD_EXEC (MFD_CLOEXEC is the caller's).
Result<RefPtr<vfs::FileDescription>> CreateMemfd(const vfs::OpContext& ctx, vfs::FileSystem& shm,
                                                 std::string_view name, uint32_t flags);
// fcntl(F_GET_SEALS), F_ADD_SEALS. EINVAL for files that are not ours.
Result<uint32_t> GetSeals(vfs::FileDescription& file);
Result<> AddSeals(vfs::FileDescription& file, uint32_t seals);

}  // namespace msentry::tmpfs
