#include "vfs/mapping.h"

#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/mount_namespace.h"

namespace msentry::vfs {

namespace {

class FileMapping final : public mm::MappedFile {
 public:
  FileMapping(RefPtr<FileDescription> file, Location root)
      : file_(std::move(file)), root_(std::move(root)) {}

  ~FileMapping() override {
    for (bool shared_writable : {false, true}) {
      sched::FiberMutexLock lock(mutex_);
      if (backing_[shared_writable]) file_->OnMappingGone(shared_writable);
    }
  }

  Result<Backing> HostBacking(bool shared_writable) override {
    sched::FiberMutexLock lock(mutex_);
    std::optional<Backing>& backing = backing_[shared_writable];
    if (!backing) {
      HostMappingInfo info = TRY(file_->HostBacking(shared_writable));
      backing = Backing{info.fd, info.offset};
    }
    return *backing;
  }
  bool readable() const override { return file_->readable(); }
  bool writable() const override { return file_->writable(); }
  bool no_exec() const override {
    return file_->location().mount && file_->location().mount->flags() & kMountNoExec;
  }
  uint64_t device() const override { return file_->inode().fs().dev(); }
  uint64_t inode() const override { return file_->inode().ino(); }
  std::string MapsPath() const override { return PathOf(file_->location(), root_); }

  FileDescription& file() const { return *file_; }

 private:
  const RefPtr<FileDescription> file_;
  const Location root_;
  sched::FiberMutex mutex_;
  std::optional<Backing> backing_[2] ABSL_GUARDED_BY(mutex_);  // by shared_writable
};

}  // namespace

RefPtr<mm::MappedFile> MakeMappedFile(RefPtr<FileDescription> file, const Location& root) {
  return MakeRef<FileMapping>(std::move(file), root);
}

FileDescription& FileOfMapping(const mm::MappedFile& mapped) {
  return static_cast<const FileMapping&>(mapped).file();
}

}  // namespace msentry::vfs
