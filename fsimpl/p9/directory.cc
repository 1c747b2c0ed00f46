#include "fsimpl/p9/directory.h"

namespace msentry::p9 {
namespace {

constexpr int64_t kDots = 2;  // positions of "." and ".."

}  // namespace

Result<int64_t> P9Directory::Iterate(const vfs::OpContext&, int64_t position,
                                     vfs::DirentSink sink) {
  if (position == 0 || !listing_) listing_ = TRY(inode_.GetListing());
  if (!EmitDots(&position, sink)) return position;
  while (position - kDots < static_cast<int64_t>(listing_->size())) {
    Dirent entry = listing_->entry(static_cast<size_t>(position - kDots));
    if (!sink({.ino = entry.qid.path,
               .next = position + 1,
               .type = entry.type,
               .name = entry.name})) {
      break;
    }
    ++position;
  }
  return position;
}

Result<> P9Directory::Fsync(const vfs::OpContext&, bool data_only) {
  if (!inode_.client().extended()) return Ok();
  return inode_.client().Sync(inode_.fid(),
                              data_only ? Client::SyncKind::kData : Client::SyncKind::kFile);
}

}  // namespace msentry::p9
