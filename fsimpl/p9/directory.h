// P9Directory: an open directory. Reads from a snapshot that is taken when reading starts at the
// beginning, so entries neither repeat nor get lost while names are removed.
#pragma once

#include "fsimpl/p9/inode.h"
#include "vfs/file_description.h"

namespace msentry::p9 {

class P9Directory : public vfs::DirectoryFile {
 public:
  P9Directory(vfs::Location location, int flags, P9Inode& inode)
      : DirectoryFile(std::move(location), flags), inode_(inode) {}

  Result<> Fsync(const vfs::OpContext& ctx, bool data_only) override;

 protected:
  Result<int64_t> Iterate(const vfs::OpContext& ctx, int64_t position,
                          vfs::DirentSink sink) override;

 private:
  P9Inode& inode_;                          // the description keeps it
  std::shared_ptr<const Listing> listing_;  // guarded by position_mutex_
};

}  // namespace msentry::p9
