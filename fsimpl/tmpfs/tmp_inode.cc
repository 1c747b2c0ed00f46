#include "fsimpl/tmpfs/tmp_inode.h"

#include <sys/xattr.h>

namespace msentry::tmpfs {

namespace {
constexpr size_t kMaxXattrBytes = 256 * 1024;  // of one inode: not charged, so bounded
}

TmpInode::TmpInode(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner, uint64_t rdev)
    : Inode(fs, fs->NextIno(), mode, owner.uid, owner.gid),
      rdev_(rdev),
      atime_(vfs::FileTimeNow()),
      mtime_(atime_),
      ctime_(atime_),
      btime_(atime_) {}

TmpInode::~TmpInode() { tmpfs().UnchargeInode(); }

Result<vfs::Attributes> TmpInode::GetAttr(const vfs::OpContext&, vfs::AttrMask) {
  vfs::Attributes a;
  a.ino = ino();
  a.rdev = rdev_;
  a.mode = mode();
  a.uid = uid();
  a.gid = gid();
  a.btime = btime_;
  {
    MutexLock lock(attr_mutex_);
    a.nlink = nlink_;
    a.atime = atime_;
    a.mtime = mtime_;
    a.ctime = ctime_;
  }
  FillSize(&a);
  return a;
}

Result<> TmpInode::SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) {
  using Set = vfs::SetAttributes;
  if (attrs.set & Set::kSize) TRY(SetSize(attrs.size));
  MutexLock lock(attr_mutex_);
  CacheOwner(attrs.set & Set::kMode ? (mode() & S_IFMT) | (attrs.mode & vfs::kModeBits) : mode(),
             attrs.set & Set::kUid ? attrs.uid : uid(), attrs.set & Set::kGid ? attrs.gid : gid());
  ctime_ = vfs::FileTimeNow();
  if (attrs.set & Set::kSize) mtime_ = ctime_;
  if (attrs.set & Set::kAtime) atime_ = attrs.atime;
  if (attrs.set & Set::kMtime) mtime_ = attrs.mtime;
  return Ok();
}

void TmpInode::ChangeLinks(int by) {
  MutexLock lock(attr_mutex_);
  nlink_ += by;
  ctime_ = vfs::FileTimeNow();
}

uint32_t TmpInode::links() const {
  MutexLock lock(attr_mutex_);
  return nlink_;
}

void TmpInode::Touch(bool modified) {
  const vfs::Timespec now = vfs::FileTimeNow();
  MutexLock lock(attr_mutex_);
  ctime_ = now;
  if (modified) mtime_ = now;
}

void TmpInode::TouchAccess() {
  const vfs::Timespec now = vfs::FileTimeNow();
  MutexLock lock(attr_mutex_);
  // relatime: only when it would otherwise be older than the last change, or a day old.
  if (atime_ > mtime_ && atime_ > ctime_ && now.sec - atime_.sec < 24 * 60 * 60) return;
  atime_ = now;
}

Result<std::string> TmpInode::GetXattr(const vfs::OpContext&, std::string_view name) {
  MutexLock lock(attr_mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kENODATA;
  return it->second;
}

Result<> TmpInode::SetXattr(const vfs::OpContext&, std::string_view name, std::string_view value,
                            int flags) {
  MutexLock lock(attr_mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end() && flags & XATTR_REPLACE) return Errno::kENODATA;
  if (it != xattrs_.end() && flags & XATTR_CREATE) return Errno::kEEXIST;
  const size_t before = it == xattrs_.end() ? 0 : name.size() + it->second.size();
  const size_t total = xattr_bytes_ - before + name.size() + value.size();
  if (total > kMaxXattrBytes) return Errno::kENOSPC;
  xattr_bytes_ = total;
  xattrs_.insert_or_assign(std::string(name), std::string(value));
  ctime_ = vfs::FileTimeNow();
  return Ok();
}

Result<> TmpInode::RemoveXattr(const vfs::OpContext&, std::string_view name) {
  MutexLock lock(attr_mutex_);
  auto it = xattrs_.find(name);
  if (it == xattrs_.end()) return Errno::kENODATA;
  xattr_bytes_ -= it->first.size() + it->second.size();
  xattrs_.erase(it);
  ctime_ = vfs::FileTimeNow();
  return Ok();
}

Result<std::vector<std::string>> TmpInode::ListXattr(const vfs::OpContext&) {
  MutexLock lock(attr_mutex_);
  std::vector<std::string> names;
  for (const auto& [name, value] : xattrs_) names.push_back(name);
  return names;
}

}  // namespace msentry::tmpfs
