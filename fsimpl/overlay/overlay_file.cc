// OverlayInode: open files and directories.
#include "fsimpl/overlay/overlay_inode.h"
#include "vfs/file_description.h"

namespace msentry::overlay {

namespace {

// An open regular file: passes on to the real one. A description of the lower file moves on to the
// upper one as soon as there is one, so that it never shows old content.
class OverlayFile final : public vfs::SeekableFile {
 public:
  OverlayFile(vfs::Location location, int flags, OverlayInode& inode,
              RefPtr<vfs::FileDescription> real, bool is_upper)
      : SeekableFile(std::move(location), flags), overlay_inode_(inode) {
    (is_upper ? upper_ : lower_) = std::move(real);
    current_.store((is_upper ? upper_ : lower_).get(), std::memory_order_release);
    is_upper_.store(is_upper, std::memory_order_release);
  }

  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) override {
    return TRY(Real(ctx))->PRead(ctx, to, offset);
  }
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t offset) override {
    return TRY(Real(ctx))->PWrite(ctx, from, offset);
  }
  Result<vfs::HostMappingInfo> HostBacking(bool shared_writable) override {
    const vfs::OpContext ctx = overlay_inode_.overlay().Internal();
    vfs::FileDescription* real = TRY(Real(ctx));
    vfs::HostMappingInfo info = TRY(real->HostBacking(shared_writable));
    MutexLock lock(mutex_);
    mapped_[shared_writable].push_back(real);
    return info;
  }
  void OnMappingGone(bool shared_writable) override {
    vfs::FileDescription* real;
    {
      MutexLock lock(mutex_);
      real = mapped_[shared_writable].back();
      mapped_[shared_writable].pop_back();
    }
    real->OnMappingGone(shared_writable);
  }
  Result<> Fsync(const vfs::OpContext& ctx, bool data_only) override {
    if (!is_upper_.load(std::memory_order_acquire)) return Ok();
    return TRY(Real(ctx))->Fsync(ctx, data_only);
  }
  Result<> Allocate(const vfs::OpContext& ctx, int mode, uint64_t offset,
                    uint64_t length) override {
    return TRY(Real(ctx))->Allocate(ctx, mode, offset, length);
  }
  Result<size_t> CopyRangeFrom(const vfs::OpContext& ctx, vfs::FileDescription& source,
                               uint64_t source_offset, uint64_t offset, size_t n) override {
    return TRY(Real(ctx))->CopyRangeFrom(ctx, source, source_offset, offset, n);
  }
  Result<> Flush(const vfs::OpContext& ctx) override {
    return current_.load(std::memory_order_acquire)->Flush(ctx);
  }
  int host_fd() const override { return current_.load(std::memory_order_acquire)->host_fd(); }

 protected:
  Result<int64_t> SeekData(const vfs::OpContext& ctx, int64_t offset, bool hole) override {
    return TRY(Real(ctx))->Seek(ctx, offset, hole ? SEEK_HOLE : SEEK_DATA);
  }

 private:
  Result<vfs::FileDescription*> Real(const vfs::OpContext& ctx) {
    if (is_upper_.load(std::memory_order_acquire) || !overlay_inode_.upper()) [[likely]] {
      return current_.load(std::memory_order_acquire);
    }
    bool is_upper;
    vfs::Location at{nullptr, overlay_inode_.RealDentry(&is_upper)};
    RefPtr<vfs::FileDescription> real = TRY(at.inode().Open(ctx, {at, flags() & O_ACCMODE}));
    MutexLock lock(mutex_);
    if (!upper_) {
      upper_.swap(real);
      current_.store(upper_.get(), std::memory_order_release);
      is_upper_.store(true, std::memory_order_release);
    }
    return upper_.get();
  }

  OverlayInode& overlay_inode_;
  std::atomic<vfs::FileDescription*> current_{nullptr};  // lower_ or upper_, which stay
  std::atomic<bool> is_upper_{false};
  Mutex mutex_;
  RefPtr<vfs::FileDescription> lower_, upper_;  // each set once
  std::vector<vfs::FileDescription*> mapped_[2] ABSL_GUARDED_BY(mutex_);
};

// An open directory. One that is in a single lower layer is read through; others are listed when
// they are read from the start, and stay as they were then.
class OverlayDirectory final : public vfs::DirectoryFile {
 public:
  OverlayDirectory(vfs::Location location, int flags, OverlayInode& inode)
      : DirectoryFile(std::move(location), flags), overlay_inode_(inode) {}

 protected:
  Result<int64_t> Iterate(const vfs::OpContext& ctx, int64_t position,
                          vfs::DirentSink sink) override {
    if (position <= 2 || (!through_ && !listed_)) TRY(Begin(ctx));
    if (!EmitDots(&position, sink)) return position;
    return through_ ? ReadThrough(ctx, position, sink) : FromList(position, sink);
  }

 private:
  Result<> Begin(const vfs::OpContext& ctx) {
    listed_.reset();
    through_.Reset();
    if (!overlay_inode_.upper() && overlay_inode_.lowers().size() == 1) {
      bool is_upper;
      vfs::Location at{nullptr, overlay_inode_.RealDentry(&is_upper)};
      if (!is_upper) {
        through_ = TRY(at.inode().Open(ctx, {at, O_RDONLY | O_DIRECTORY}));
        return Ok();
      }
    }
    listed_ = TRY(overlay_inode_.Listing());
    return Ok();
  }

  int64_t FromList(int64_t position, vfs::DirentSink sink) {
    for (; position - 2 < static_cast<int64_t>(listed_->size()); ++position) {
      const OverlayInode::Entry& e = (*listed_)[position - 2];
      if (!sink({e.ino, position + 1, e.type, e.name})) break;
    }
    return position;
  }

  // The real directory's positions, plus two: ours for "." and "..".
  Result<int64_t> ReadThrough(const vfs::OpContext& ctx, int64_t position, vfs::DirentSink sink) {
    TRY(through_->Seek(ctx, position - 2, SEEK_SET));
    for (bool more = true, full = false; more && !full;) {
      more = false;
      TRY(through_->IterateDirents(ctx, [&](const vfs::Dirent& d) {
        more = true;
        if (d.name != "." && d.name != "..") {
          if (!sink({d.ino, d.next + 2, d.type, d.name})) {
            full = true;
            return false;
          }
        }
        position = d.next + 2;
        return true;
      }));
    }
    return position;
  }

  OverlayInode& overlay_inode_;
  // Under the position mutex.
  RefPtr<vfs::FileDescription> through_;
  std::shared_ptr<const OverlayInode::Entries> listed_;
};

}  // namespace

Result<RefPtr<vfs::FileDescription>> OverlayInode::Open(const vfs::OpContext& ctx,
                                                        const vfs::OpenArgs& args) {
  if (IsDir()) {
    return RefPtr<vfs::FileDescription>(
        MakeRef<OverlayDirectory>(args.location, args.flags, *this));
  }
  if (!IsRegular()) return Errno::kENXIO;
  if ((args.flags & O_ACCMODE) != O_RDONLY) TRY(EnsureUpper());
  bool is_upper;
  vfs::Location at{nullptr, RealDentry(&is_upper)};
  RefPtr<vfs::FileDescription> real =
      TRY(at.inode().Open(ctx, {at, args.flags & ~(O_APPEND | O_NONBLOCK)}));
  return RefPtr<vfs::FileDescription>(
      MakeRef<OverlayFile>(args.location, args.flags, *this, std::move(real), is_upper));
}

}  // namespace msentry::overlay
