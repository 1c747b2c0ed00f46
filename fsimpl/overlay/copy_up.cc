// OverlayInode: copying a lower file to the upper layer before its first change.
#include "fsimpl/overlay/overlay_inode.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/file_description.h"

namespace msentry::overlay {

namespace {

constexpr size_t kBuffer = 128 * 1024;
constexpr uint64_t kChunk = uint64_t{64} << 20;  // one host copy at a time

std::atomic<uint64_t> next_temporary{0};

// Through a buffer, for layers that are not both host files.
Result<uint64_t> CopyThroughBuffer(const vfs::OpContext& ctx, vfs::FileDescription& from,
                                   vfs::FileDescription& to, uint64_t offset, uint64_t n) {
  auto buffer = std::make_unique<std::byte[]>(kBuffer);
  std::span<std::byte> part(buffer.get(), std::min<uint64_t>(n, kBuffer));
  mm::IoSequence in = mm::IoSequence::ForReading(part);
  const size_t got = TRY(from.PRead(ctx, in, offset));
  mm::IoSequence out = mm::IoSequence::ForWriting(part.first(got));
  size_t put = 0;
  while (put < got) {
    const size_t n_put = TRY(to.PWrite(ctx, out, offset + put));
    if (n_put == 0) return Errno::kEIO;
    put += n_put;
  }
  return got;
}

}  // namespace

Result<OverlayInode::Name> OverlayInode::FirstName() const {
  MutexLock lock(mutex_);
  if (names_.empty()) return Errno::kENOENT;
  return names_[0];
}

Result<> OverlayInode::EnsureUpper(uint64_t size) {
  if (upper()) [[likely]]
    return Ok();
  if (!overlay().has_upper()) return Errno::kEROFS;
  for (;;) {
    // Ancestors without a copy, from here up.
    std::vector<RefPtr<OverlayInode>> chain{RefPtr<OverlayInode>(this)};
    for (;;) {
      Result<Name> name = chain.back()->FirstName();
      if (!name.ok() || name->parent->upper()) break;
      chain.push_back(name->parent);
    }
    Result<> result = Ok();
    for (size_t i = chain.size(); i-- > 0 && result.ok();) {
      result = chain[i]->CopyUpSelf(i == 0 ? size : UINT64_MAX);
    }
    // EAGAIN: a rename moved us below a directory without a copy meanwhile.
    if (result.ok() || result.error() != Errno::kEAGAIN) return result;
  }
}

Result<> OverlayInode::CopyUpSelf(uint64_t size) {
  const vfs::OpContext ctx = overlay().Internal();
  sched::FiberMutexLock lock(copy_mutex_);
  if (upper()) return Ok();
  Result<Name> name = FirstName();
  vfs::Attributes original = TRY(lowers_[0]->GetAttr(ctx, vfs::kAttrAll));
  RefPtr<Inode> copy;
  if (name.ok()) {
    Inode* dir = name->parent->upper();
    if (!dir) return Errno::kEAGAIN;
    copy = TRY(MakeCopy(*dir, name->name, size));
  } else {
    // Removed, but still open: the copy gets a name only as long as it takes.
    Inode& root = overlay().upper_root();
    const std::string temporary = absl::StrCat(".msentry-copy-", next_temporary.fetch_add(1));
    copy = TRY(MakeCopy(root, temporary, size));
    sched::FiberMutexLock root_lock(root.dir_mutex());
    TRY(root.Unlink(ctx, temporary, *copy));
  }
  if (!IsDir()) {
    MutexLock names_lock(mutex_);
    lower_links_ = original.nlink;
  }
  overlay().Register(*this, *copy);
  upper_.store(copy.Release(), std::memory_order_release);
  // Names that we have not seen must lead here too, also after this inode would have been
  // forgotten.
  if (!IsDir() && original.nlink > 1) overlay().Pin(RefPtr<OverlayInode>(this));
  return Ok();
}

Result<RefPtr<vfs::Inode>> OverlayInode::MakeCopy(Inode& dir, std::string_view name,
                                                  uint64_t size) {
  const vfs::OpContext ctx = overlay().Internal();
  Inode& lower = *lowers_[0];
  const vfs::Attributes a = TRY(lower.GetAttr(ctx, vfs::kAttrAll));
  const NewOwner owner{a.uid, a.gid};
  const uint32_t mode = a.mode & vfs::kModeBits;
  RefPtr<Inode> copy;
  {
    sched::FiberMutexLock lock(dir.dir_mutex());
    switch (a.mode & S_IFMT) {
      case S_IFDIR:
        copy = TRY(dir.Mkdir(ctx, name, mode, owner));
        break;
      case S_IFREG:
        copy = TRY(dir.Create(ctx, name, mode, owner));
        break;
      case S_IFLNK: {
        std::string target = TRY(lower.ReadLink(ctx));
        copy = TRY(dir.Symlink(ctx, name, target, owner));
        break;
      }
      default:
        copy = TRY(dir.Mknod(ctx, name, a.mode, a.rdev, owner));
        break;
    }
  }
  Result<> filled = IsRegular() ? CopyContent(*copy, std::min(size, a.size)) : Result<>(Ok());
  if (filled.ok()) filled = CopyXattrs(*copy);
  if (filled.ok()) {
    vfs::SetAttributes times;
    times.set = vfs::SetAttributes::kAtime | vfs::SetAttributes::kMtime;
    times.atime = a.atime;
    times.mtime = a.mtime;
    // Writing has cleared set-id bits on hosts that do so.
    if (mode & (S_ISUID | S_ISGID)) {
      times.set |= vfs::SetAttributes::kMode;
      times.mode = mode;
    }
    filled = copy->SetAttr(ctx, times);
  }
  if (!filled.ok()) {
    sched::FiberMutexLock lock(dir.dir_mutex());
    Result<> removed = IsDir() ? dir.Rmdir(ctx, name, *copy) : dir.Unlink(ctx, name, *copy);
    return removed.ok() ? filled.error() : removed.error();
  }
  return copy;
}

Result<> OverlayInode::CopyContent(Inode& to, uint64_t size) {
  if (size == 0) return Ok();
  const vfs::OpContext ctx = overlay().Internal();
  vfs::Location from_at{nullptr, vfs::Dentry::MakeUnnamed(lowers_[0], "overlay")};
  vfs::Location to_at{nullptr, vfs::Dentry::MakeUnnamed(RefPtr<Inode>(&to), "overlay")};
  RefPtr<vfs::FileDescription> from = TRY(lowers_[0]->Open(ctx, {from_at, O_RDONLY}));
  RefPtr<vfs::FileDescription> target = TRY(to.Open(ctx, {to_at, O_RDWR}));
  bool direct = true;
  for (uint64_t done = 0; done < size;) {
    const uint64_t n = std::min(size - done, kChunk);
    Result<size_t> moved = Errno::kEXDEV;
    if (direct) moved = target->CopyRangeFrom(ctx, *from, done, done, n);
    if (!moved.ok() && moved.error() == Errno::kEXDEV) {
      direct = false;
      moved = TRY(CopyThroughBuffer(ctx, *from, *target, done, n));
    }
    if (!moved.ok()) return moved.error();
    if (*moved == 0) break;  // the original is shorter than it said
    done += *moved;
  }
  return Ok();
}

Result<> OverlayInode::CopyXattrs(Inode& to) {
  const vfs::OpContext ctx = overlay().Internal();
  Result<std::vector<std::string>> names = lowers_[0]->ListXattr(ctx);
  if (!names.ok()) return Ok();
  for (const std::string& name : *names) {
    if (name.starts_with(kPrivatePrefix)) continue;
    Result<std::string> value = lowers_[0]->GetXattr(ctx, name);
    if (!value.ok()) continue;
    Result<> set = to.SetXattr(ctx, name, *value, 0);
    // What the upper file system cannot hold is lost, as in the kernel's overlay; no space is not.
    if (!set.ok() && (set.error() == Errno::kENOSPC || set.error() == Errno::kEDQUOT)) return set;
  }
  return Ok();
}

}  // namespace msentry::overlay
