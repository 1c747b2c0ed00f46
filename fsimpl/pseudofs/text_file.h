// An open TextInode.
#pragma once

#include <string>

#include "fsimpl/pseudofs/pseudofs.h"

namespace msentry::pseudofs {

class TextFile : public vfs::SeekableFile {
 public:
  using SeekableFile::SeekableFile;
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) override;
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t offset) override;
  Result<> Fsync(const vfs::OpContext&, bool) override { return Errno::kEINVAL; }
  Result<int64_t> Seek(const vfs::OpContext& ctx, int64_t offset, int whence) override;
  Result<vfs::HostMappingInfo> HostBacking(bool) override { return text_inode().mmap_error(); }
  bool SupportsEpoll() const override { return text_inode().pollable(); }

 private:
  TextInode& text_inode() const { return static_cast<TextInode&>(inode()); }

  sched::FiberMutex text_mutex_;  // below position_mutex_
  std::string text_ ABSL_GUARDED_BY(text_mutex_);
  bool generated_ ABSL_GUARDED_BY(text_mutex_) = false;
};

}  // namespace msentry::pseudofs
