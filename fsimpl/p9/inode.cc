#include "fsimpl/p9/inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsimpl/p9/directory.h"
#include "fsimpl/p9/remote_file.h"

namespace msentry::p9 {
namespace {

// With remote_revalidating: how old an answer may be that a walk has just brought along.
constexpr int64_t kFreshNs = 1'000'000;

vfs::Timespec ToVfs(const TimeSpec& t) { return {.sec = t.sec, .nsec = t.nsec}; }
TimeSpec ToWire(const vfs::Timespec& t) { return {.sec = t.sec, .nsec = t.nsec}; }
TimeSpec ToWire(const struct timespec& t) {
  return {.sec = t.tv_sec, .nsec = static_cast<uint32_t>(t.tv_nsec)};
}

}  // namespace

P9Inode::P9Inode(RefPtr<P9FileSystem> fs, FidNumber fid, const Attr& attr, std::string target)
    : Inode(fs, attr.qid.path, attr.mode, attr.uid, attr.gid),
      fid_(fid),
      qid_path_(attr.qid.path),
      learned_at_(fs->caching() ? 0 : sched::NowNs()),
      attr_(attr) {
  hook_.inode = this;
  if (!target.empty() && target.size() < vfs::kPathMax && IsSymlink()) SetLink(std::move(target));
}

P9Inode::~P9Inode() {
  FdCache::Get().Remove(hook_);
  p9fs().Forget(*this, qid_path_);
  client().Clunk(fid_);
  delete link_.load(std::memory_order_relaxed);
}

void P9Inode::SetLink(std::string target) {
  auto* text = new std::string(std::move(target));
  const std::string* expected = nullptr;
  if (!link_.compare_exchange_strong(expected, text, std::memory_order_acq_rel)) delete text;
}

void P9Inode::Learn(const Attr& attr) {
  // A file does not change its kind; a server that says so is ignored.
  if ((attr.mode & S_IFMT) != type()) return;
  {
    MutexLock lock(mutex_);
    attr_ = attr;
  }
  CacheOwner(attr.mode, attr.uid, attr.gid);
  if (!p9fs().caching()) learned_at_.store(sched::NowNs(), std::memory_order_relaxed);
}

void P9Inode::LearnFromFd(int fd) {
  struct stat st;
  if (!HostFstat(fd, &st)) return;
  MutexLock lock(mutex_);
  // Other content that stands in for a file of a read-only tree: the gofer has said what it shows.
  if (p9fs().read_only() && st.st_ino != attr_.ino) return;
  attr_.size = static_cast<uint64_t>(st.st_size);
  attr_.blocks = static_cast<uint64_t>(st.st_blocks);
  attr_.nlink = st.st_nlink;
  attr_.atime = ToWire(st.st_atim);
  attr_.mtime = ToWire(st.st_mtim);
  attr_.ctime = ToWire(st.st_ctim);
}

RefPtr<vfs::HostFd> P9Inode::AnyFd() {
  MutexLock lock(mutex_);
  return write_fd_ ? write_fd_ : read_fd_;
}

Result<> P9Inode::Refresh(vfs::AttrMask wanted) {
  if (p9fs().caching()) {
    if (wanted == vfs::kAttrIdentity) return Ok();
    bool changing = mapped_shared_.load(std::memory_order_relaxed);
    if (!stale_.load(std::memory_order_acquire) && !changing) return Ok();
    stale_.store(false, std::memory_order_release);
    if (RefPtr<vfs::HostFd> fd = AnyFd()) {
      LearnFromFd(fd->get());
      return Ok();
    }
  } else if (sched::NowNs() - learned_at_.load(std::memory_order_relaxed) < kFreshNs &&
             !stale_.exchange(false, std::memory_order_acq_rel)) {
    return Ok();
  }
  Result<Attr> attr = client().GetAttr(fid_);
  if (!attr.ok()) {
    MarkStale();
    return attr.error();
  }
  Learn(*attr);
  return Ok();
}

Result<vfs::Attributes> P9Inode::GetAttr(const vfs::OpContext&, vfs::AttrMask wanted) {
  TRY(Refresh(wanted));
  MutexLock lock(mutex_);
  return vfs::Attributes{.ino = qid_path_,
                         .rdev = attr_.rdev,
                         .size = attr_.size,
                         .blocks = attr_.blocks,
                         .blksize = attr_.blksize,
                         .mode = attr_.mode,
                         .nlink = static_cast<uint32_t>(attr_.nlink),
                         .uid = attr_.uid,
                         .gid = attr_.gid,
                         .atime = ToVfs(attr_.atime),
                         .mtime = ToVfs(attr_.mtime),
                         .ctime = ToVfs(attr_.ctime),
                         .btime = ToVfs(attr_.btime)};
}

Result<> P9Inode::SetAttr(const vfs::OpContext&, const vfs::SetAttributes& a) {
  using Set = vfs::SetAttributes;
  AttrRequest request;
  uint32_t set = a.set;
  if ((set & Set::kSize) != 0 && IsRegular()) {
    // Through the fd when it is here: no message.
    RefPtr<vfs::HostFd> fd;
    {
      MutexLock lock(mutex_);
      fd = write_fd_;
    }
    if (fd) {
      if (a.size > INT64_MAX) return Errno::kEFBIG;
      if (ftruncate(fd->get(), static_cast<off_t>(a.size)) < 0) return FromHost(errno);
      MarkStale();
      set &= ~Set::kSize;
    }
  }
  if ((set & Set::kMode) != 0) request.valid |= kSetMode, request.mode = a.mode;
  if ((set & Set::kUid) != 0) request.valid |= kSetUid, request.uid = a.uid;
  if ((set & Set::kGid) != 0) request.valid |= kSetGid, request.gid = a.gid;
  if ((set & Set::kSize) != 0) request.valid |= kSetSize, request.size = a.size;
  if ((set & (Set::kAtime | Set::kAtimeNow)) != 0) {
    request.valid |= kSetAtime;
    if ((set & Set::kAtimeNow) == 0) request.valid |= kSetAtimeTo;
    request.atime = ToWire(a.atime);
  }
  if ((set & (Set::kMtime | Set::kMtimeNow)) != 0) {
    request.valid |= kSetMtime;
    if ((set & Set::kMtimeNow) == 0) request.valid |= kSetMtimeTo;
    request.mtime = ToWire(a.mtime);
  }
  if (request.valid == 0) return Ok();
  Learn(TRY(client().SetAttr(fid_, request)));
  return Ok();
}

Result<RefPtr<vfs::Inode>> P9Inode::Lookup(const vfs::OpContext&, std::string_view name) {
  if (KnownAbsent(name)) return Errno::kENOENT;
  Walked walked = TRY(client().Walk(fid_, {&name, 1}));
  if (walked.attrs.empty()) {
    if (walked.error == Errno::kENOENT) CountMiss();
    return walked.error;
  }
  return RefPtr<vfs::Inode>(p9fs().InodeFor(walked.first, walked.attrs[0], walked.target));
}

Result<> P9Inode::Prefetch(const vfs::OpContext&, std::span<const std::string_view> names,
                           std::vector<vfs::PrefetchedName>* found) {
  if (KnownAbsent(names[0])) {
    found->push_back({nullptr});
    return Ok();
  }
  Walked walked = TRY(client().Walk(fid_, names));
  for (size_t i = 0; i < walked.attrs.size(); ++i) {
    bool last = i + 1 == walked.attrs.size();
    FidNumber fid = walked.first + static_cast<FidNumber>(i);
    found->push_back(
        {p9fs().InodeFor(fid, walked.attrs[i], last ? std::string_view(walked.target) : "")});
  }
  if (walked.error == Errno::kENOENT) {
    // Deeper directories are not locked by anybody: only where nothing ever changes.
    if (walked.attrs.empty()) {
      CountMiss();
    } else if (p9fs().read_only()) {
      static_cast<P9Inode*>(found->back().inode.get())->CountMiss();
    }
    found->push_back({nullptr});
  } else if (walked.attrs.empty()) {
    return walked.error;
  }
  return Ok();
}

Result<bool> P9Inode::Revalidate(const vfs::OpContext&, vfs::Dentry& dentry) {
  std::string name = dentry.name();
  Result<Attr> attr = client().Peek(fid_, name);
  if (!attr.ok()) return attr.error() == Errno::kENOENT && dentry.negative();
  auto* inode = static_cast<P9Inode*>(dentry.inode());
  if (inode == nullptr || inode->qid_path_ != attr->qid.path ||
      inode->type() != (attr->mode & S_IFMT)) {
    return false;
  }
  inode->Learn(*attr);
  return true;
}

Result<std::string> P9Inode::ReadLink(const vfs::OpContext&) {
  if (!IsSymlink()) return Errno::kEINVAL;
  if (const std::string* known = CachedLink()) return *known;
  std::string target = TRY(client().ReadLink(fid_));
  if (target.empty() || target.size() >= vfs::kPathMax) return Errno::kEIO;
  SetLink(target);
  return target;
}

Result<std::shared_ptr<const Listing>> P9Inode::GetListing() {
  constexpr size_t kKeptBytes = 256 * 1024;
  uint64_t changes;
  {
    MutexLock lock(mutex_);
    if (listing_) return listing_;
    changes = changes_;
  }
  std::shared_ptr<const Listing> listing = TRY(Listing::Fetch(client(), fid_));
  if (p9fs().caching() && listing->bytes() <= kKeptBytes) {
    MutexLock lock(mutex_);
    if (changes == changes_) listing_ = listing;
  }
  return listing;
}

// ---- Extended attributes: most files have none, and programs ask for them all the time ----

Result<bool> P9Inode::KnownWithoutXattrs() {
  if (!p9fs().caching()) return false;
  if (no_xattrs_.load(std::memory_order_acquire)) return true;
  std::string names = TRY(client().ListXattr(fid_));
  if (!names.empty()) return false;
  no_xattrs_.store(true, std::memory_order_release);
  return true;
}

Result<std::string> P9Inode::GetXattr(const vfs::OpContext&, std::string_view name) {
  if (name.starts_with("system.")) return Errno::kEOPNOTSUPP;
  if (TRY(KnownWithoutXattrs())) return Errno::kENODATA;
  return client().GetXattr(fid_, name);
}

Result<> P9Inode::SetXattr(const vfs::OpContext&, std::string_view name, std::string_view value,
                           int flags) {
  no_xattrs_.store(false, std::memory_order_release);
  TRY(client().SetXattr(fid_, name, value, flags));
  no_xattrs_.store(false, std::memory_order_release);  // an answer may have crossed ours
  MarkStale();
  return Ok();
}

Result<> P9Inode::RemoveXattr(const vfs::OpContext&, std::string_view name) {
  TRY(client().RemoveXattr(fid_, name));
  MarkStale();
  return Ok();
}

Result<std::vector<std::string>> P9Inode::ListXattr(const vfs::OpContext&) {
  std::vector<std::string> names;
  if (no_xattrs_.load(std::memory_order_acquire) && p9fs().caching()) return names;
  std::string all = TRY(client().ListXattr(fid_));
  for (size_t at = 0; at < all.size();) {
    std::string name(all.c_str() + at);
    at += name.size() + 1;
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace msentry::p9
