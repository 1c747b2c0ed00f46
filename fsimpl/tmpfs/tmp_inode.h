// Inodes of tmpfs. Internal to tmpfs.
//
// Locks: names of a directory by its dir_mutex, content of a file by its content_mutex (both taken
// as vfs/inode.h says); attributes by attr_mutex_, the innermost.
#pragma once

#include <map>
#include <string>

#include "fsimpl/tmpfs/host_memory.h"
#include "fsimpl/tmpfs/tmp_fs.h"
#include "vfs/host_file.h"
#include "vfs/inode.h"
#include "vfs/name_map.h"

namespace msentry::tmpfs {

class TmpInode : public vfs::Inode {
 public:
  TmpInode(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner, uint64_t rdev = 0);
  ~TmpInode() override;

  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override;
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
  Result<std::string> GetXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<> SetXattr(const vfs::OpContext& ctx, std::string_view name, std::string_view value,
                    int flags) override;
  Result<> RemoveXattr(const vfs::OpContext& ctx, std::string_view name) override;
  Result<std::vector<std::string>> ListXattr(const vfs::OpContext& ctx) override;

  TmpFs& tmpfs() const { return static_cast<TmpFs&>(fs()); }
  void ChangeLinks(int by);
  uint32_t links() const;
  void set_linkable() { linkable_ = true; }
  bool linkable() const { return linkable_; }
  void Touch(bool modified);  // ctime, and mtime when `modified`
  void TouchAccess();

 protected:
  virtual void FillSize(vfs::Attributes* attrs) = 0;
  virtual Result<> SetSize(uint64_t) { return Errno::kEINVAL; }

 private:
  const uint64_t rdev_;
  bool linkable_ = false;  // made by O_TMPFILE: may get a first name
  mutable Mutex attr_mutex_;
  uint32_t nlink_ ABSL_GUARDED_BY(attr_mutex_) = 1;
  vfs::Timespec atime_ ABSL_GUARDED_BY(attr_mutex_), mtime_ ABSL_GUARDED_BY(attr_mutex_),
      ctime_ ABSL_GUARDED_BY(attr_mutex_);
  const vfs::Timespec btime_;
  std::map<std::string, std::string, std::less<>> xattrs_ ABSL_GUARDED_BY(attr_mutex_);
  size_t xattr_bytes_ ABSL_GUARDED_BY(attr_mutex_) = 0;
};

// FIFOs, sockets, devices: attributes only; vfs opens them.
class TmpSpecial final : public TmpInode {
 public:
  using TmpInode::TmpInode;

 protected:
  void FillSize(vfs::Attributes*) override {}
};

class TmpSymlink final : public TmpInode {
 public:
  TmpSymlink(RefPtr<TmpFs> fs, std::string target, NewOwner owner)
      : TmpInode(std::move(fs), S_IFLNK | 0777, owner), target_(std::move(target)) {}
  Result<std::string> ReadLink(const vfs::OpContext&) override { return target_; }
  const std::string* CachedLink() const override { return &target_; }

 protected:
  void FillSize(vfs::Attributes* attrs) override { attrs->size = target_.size(); }

 private:
  const std::string target_;
};

class TmpDir final : public TmpInode {
 public:
  TmpDir(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner);

  Result<RefPtr<Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override;
  Result<RefPtr<Inode>> Create(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                               NewOwner owner) override;
  Result<RefPtr<Inode>> Mkdir(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                              NewOwner owner) override;
  Result<RefPtr<Inode>> Mknod(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                              uint64_t rdev, NewOwner owner) override;
  Result<RefPtr<Inode>> Symlink(const vfs::OpContext& ctx, std::string_view name,
                                std::string_view target, NewOwner owner) override;
  Result<RefPtr<Inode>> CreateUnnamed(const vfs::OpContext& ctx, uint32_t mode,
                                      NewOwner owner) override;
  Result<> Link(const vfs::OpContext& ctx, std::string_view name, Inode& target) override;
  Result<> Unlink(const vfs::OpContext& ctx, std::string_view name, Inode& victim) override;
  Result<> Rmdir(const vfs::OpContext& ctx, std::string_view name, Inode& victim) override;
  Result<> Rename(const vfs::OpContext& ctx, std::string_view name, Inode& moved, Inode& new_dir,
                  std::string_view new_name, Inode* replaced, unsigned flags) override;
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  // Entries with a cookie of at least `from`, ascending; takes dir_mutex.
  int64_t Iterate(int64_t from, vfs::DirentSink sink);
  // For the file system's end: what is in the directory, which is empty afterwards.
  std::vector<RefPtr<TmpInode>> TakeAll();

 protected:
  void FillSize(vfs::Attributes* attrs) override;

 private:
  struct Entry {
    RefPtr<TmpInode> inode;
    int64_t cookie;
  };
  // dir_mutex held, for all of these.
  Result<RefPtr<Inode>> Add(std::string_view name, RefPtr<TmpInode> inode);
  void Insert(std::string_view name, RefPtr<TmpInode> inode);
  RefPtr<TmpInode> Erase(std::string_view name);

  vfs::NameMap<Entry> entries_;           // guarded by dir_mutex
  std::map<int64_t, std::string> order_;  // by cookie; guarded by dir_mutex
  int64_t next_cookie_ = 2;               // 0 and 1 are "." and ".."
  std::atomic<uint64_t> count_{0};        // for st_size
};

class TmpFile final : public TmpInode {
 public:
  TmpFile(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner, uint32_t seals);
  ~TmpFile() override;

  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  Result<size_t> ReadAt(mm::IoSequence& to, uint64_t offset);
  Result<size_t> WriteAt(mm::IoSequence& from, uint64_t offset);  // content_mutex held
  Result<> Allocate(int mode, uint64_t offset, uint64_t length);
  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  // The host file, if there is one yet.
  RefPtr<vfs::HostFd> HostFileIfAny() const {
    HostMemory* host = host_.load(std::memory_order_acquire);
    return host ? host->fd() : nullptr;
  }
  // An fd of it that cannot be written through. Takes content_mutex.
  Result<RefPtr<vfs::HostFd>> ReadOnlyHostFile();
  Result<> BeginSharedWritable();
  void EndSharedWritable();

  Result<uint32_t> seals();
  Result<> AddSeals(uint32_t seals);

 protected:
  void FillSize(vfs::Attributes* attrs) override;
  Result<> SetSize(uint64_t size) override;

 private:
  // content_mutex held, for all of these.
  Result<> SetSizeLocked(uint64_t size);
  Result<> MoveToHost();
  // Charges for bytes [offset, offset + n); returns how many of them may be written.
  Result<uint64_t> ChargeFor(uint64_t offset, uint64_t n);
  void Recount();  // the charge from what the host says is allocated
  void SetCharge(uint64_t pages);

  std::string small_;        // the content while there is no memfd
  uint64_t dense_end_ = 0;   // every page below it is charged
  bool sparse_ = false;      // pages may be charged above dense_end_
  int shared_writable_ = 0;  // mappings; the whole file is charged meanwhile
  std::atomic<uint64_t> size_{0};
  std::atomic<uint64_t> charged_{0};  // pages
  std::atomic<uint32_t> seals_;
  bool changed_ = true;                     // since ReadOnlyHostFile() was last asked
  std::atomic<HostMemory*> host_{nullptr};  // owned; set once
};

// An open regular file of tmpfs.
class TmpFileDescription final : public vfs::SeekableFile {
 public:
  static constexpr char kClassTag = 0;
  const void* ClassTag() const override { return &kClassTag; }

  TmpFileDescription(vfs::Location location, int flags, TmpFile& file);
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) override;
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t offset) override;
  Result<vfs::HostMappingInfo> HostBacking(bool shared_writable) override;
  void OnMappingGone(bool shared_writable) override;
  Result<> Fsync(const vfs::OpContext&, bool) override { return Ok(); }
  Result<> Allocate(const vfs::OpContext& ctx, int mode, uint64_t offset, uint64_t length) override;
  int host_fd() const override;
  TmpFile& file() { return file_; }

 protected:
  Result<uint64_t> EndOffset(const vfs::OpContext&) override { return file_.size(); }
  Result<size_t> PWriteLocked(const vfs::OpContext& ctx, mm::IoSequence& from,
                              uint64_t offset) override;
  Result<int64_t> SeekData(const vfs::OpContext& ctx, int64_t offset, bool hole) override;

 private:
  TmpFile& file_;
  Mutex mutex_;
  std::vector<RefPtr<vfs::HostFd>> mapped_ ABSL_GUARDED_BY(mutex_);  // what mappings may use
};

}  // namespace msentry::tmpfs
