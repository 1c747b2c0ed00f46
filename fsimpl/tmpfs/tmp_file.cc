#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fsimpl/tmpfs/tmp_inode.h"
#include "sentry/mm/io_sequence.h"

namespace msentry::tmpfs {

namespace {
constexpr uint64_t kSmallMax = 16 * 1024;  // content up to this size needs no memfd
constexpr uint64_t kMaxFileSize = INT64_MAX & ~(kPage - 1);
}  // namespace

TmpFile::TmpFile(RefPtr<TmpFs> fs, uint32_t mode, NewOwner owner, uint32_t seals)
    : TmpInode(std::move(fs), mode, owner), seals_(seals) {}

TmpFile::~TmpFile() {
  delete host_.load(std::memory_order_relaxed);
  tmpfs().Uncharge(charged_.load(std::memory_order_relaxed));
}

void TmpFile::FillSize(vfs::Attributes* attrs) {
  attrs->size = size();
  attrs->blocks = charged_.load(std::memory_order_relaxed) * (kPage / 512);
}

void TmpFile::SetCharge(uint64_t pages) {
  const uint64_t before = charged_.exchange(pages, std::memory_order_relaxed);
  if (before > pages) tmpfs().Uncharge(before - pages);
}

void TmpFile::Recount() {
  if (shared_writable_) return;  // all of it is charged
  struct stat st;
  RefPtr<vfs::HostFd> fd = HostFileIfAny();
  if (!fd || fstat(fd->get(), &st) != 0) return;
  const uint64_t pages = static_cast<uint64_t>(st.st_blocks) * 512 / kPage;
  // Huge pages on the host may make it more than was asked: what we charged bounds it.
  if (pages < charged_.load(std::memory_order_relaxed)) SetCharge(pages);
}

Result<uint64_t> TmpFile::ChargeFor(uint64_t offset, uint64_t n) {
  if (shared_writable_ && offset + n <= size()) return n;
  const uint64_t end = offset + n;
  const uint64_t have = PagesOf(dense_end_);
  if (end <= have * kPage) return n;
  const uint64_t first = std::max(have, offset / kPage);
  const uint64_t want = PagesOf(end) - first;
  uint64_t got = tmpfs().ChargeSome(want);
  charged_.fetch_add(got, std::memory_order_relaxed);
  if (first > have || sparse_) {
    // Pages above the dense part may be there already and are charged twice now; Recount, after the
    // write, corrects it.
    sparse_ = true;
  }
  if (got < want) {
    const uint64_t limit = (first + got) * kPage;
    if (limit <= offset) return Errno::kENOSPC;
    return limit - offset;
  }
  return n;
}

Result<> TmpFile::MoveToHost() {
  if (HostFileIfAny()) return Ok();
  std::unique_ptr<HostMemory> host = TRY(HostMemory::Create());
  const int fd = host->fd()->get();
  if (ftruncate(fd, size()) != 0) return FromHost(errno);
  if (!small_.empty() &&
      pwrite(fd, small_.data(), small_.size(), 0) != static_cast<ssize_t>(small_.size())) {
    return Errno::kENOSPC;
  }
  host_.store(host.release(), std::memory_order_release);
  small_ = std::string();
  return Ok();
}

Result<RefPtr<vfs::HostFd>> TmpFile::ReadOnlyHostFile() {
  sched::FiberMutexLock lock(content_mutex());
  TRY(MoveToHost());
  const bool changed = changed_ || shared_writable_ > 0;
  changed_ = false;
  return host_.load(std::memory_order_relaxed)->ReadOnly(changed);
}

Result<size_t> TmpFile::ReadAt(mm::IoSequence& to, uint64_t offset) {
  if (RefPtr<vfs::HostFd> fd = HostFileIfAny()) {
    if (offset >= size()) return 0;
    return to.ReadFromHost(fd->get(), offset, std::min<uint64_t>(to.size(), size() - offset), true);
  }
  sched::FiberMutexLock lock(content_mutex());
  if (RefPtr<vfs::HostFd> fd = HostFileIfAny()) {
    if (offset >= size()) return 0;
    return to.ReadFromHost(fd->get(), offset, std::min<uint64_t>(to.size(), size() - offset), true);
  }
  if (offset >= small_.size()) return 0;
  return to.CopyOut(std::as_bytes(std::span(small_)).subspan(offset));
}

Result<size_t> TmpFile::WriteAt(mm::IoSequence& from, uint64_t offset) {
  uint64_t n = from.size();
  if (n == 0) return 0;
  const uint32_t seals = seals_.load(std::memory_order_acquire);
  if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) return Errno::kEPERM;
  if (seals & F_SEAL_GROW && offset + n > size()) {
    if (offset >= size()) return Errno::kEPERM;
    n = size() - offset;
  }
  n = TRY(ChargeFor(offset, n));
  if (!HostFileIfAny() && offset + n > kSmallMax) TRY(MoveToHost());
  Result<size_t> done = 0;
  if (RefPtr<vfs::HostFd> fd = HostFileIfAny()) {
    done = from.WriteToHost(fd->get(), offset, n);
  } else {
    const size_t before = small_.size();
    if (offset + n > before) small_.resize(offset + n);
    done = from.CopyIn(std::as_writable_bytes(std::span(small_)).subspan(offset, n));
    const size_t end = done.ok() ? offset + *done : 0;
    small_.resize(std::max(before, end));
  }
  if (!done.ok()) {
    Recount();
    return done;
  }
  changed_ = true;
  const uint64_t end = offset + *done;
  if (offset <= dense_end_) dense_end_ = std::max(dense_end_, end);
  if (end > size()) size_.store(end, std::memory_order_release);
  if (!HostFileIfAny()) {
    dense_end_ = size();  // a string has no holes
    SetCharge(PagesOf(size()));
  } else if (sparse_ || *done < n) {
    Recount();
  }
  Touch(true);
  return done;
}

Result<> TmpFile::SetSize(uint64_t size) {
  sched::FiberMutexLock lock(content_mutex());
  return SetSizeLocked(size);
}

Result<> TmpFile::SetSizeLocked(uint64_t size) {
  const uint64_t before = this->size();
  if (size > kMaxFileSize) return Errno::kEFBIG;
  const uint32_t seals = seals_.load(std::memory_order_acquire);
  if ((size < before && seals & F_SEAL_SHRINK) || (size > before && seals & F_SEAL_GROW)) {
    return Errno::kEPERM;
  }
  if (size == before) return Ok();
  changed_ = true;
  if (shared_writable_ && PagesOf(size) > charged_.load(std::memory_order_relaxed)) {
    const uint64_t more = PagesOf(size) - charged_.load(std::memory_order_relaxed);
    if (!tmpfs().Charge(more)) return Errno::kENOSPC;
    charged_.fetch_add(more, std::memory_order_relaxed);
  }
  if (!HostFileIfAny() && size > kSmallMax) TRY(MoveToHost());
  if (RefPtr<vfs::HostFd> fd = HostFileIfAny()) {
    if (ftruncate(fd->get(), size) != 0) return FromHost(errno);
    size_.store(size, std::memory_order_release);
    dense_end_ = std::min(dense_end_, size);
    if (size > dense_end_) sparse_ = true;
    if (size == 0) {
      sparse_ = false;
      if (!shared_writable_) SetCharge(0);
    } else if (size < before) {
      Recount();
    }
  } else {
    if (PagesOf(size) > PagesOf(before) && !tmpfs().Charge(PagesOf(size) - PagesOf(before))) {
      return Errno::kENOSPC;
    }
    if (PagesOf(size) > PagesOf(before)) {
      charged_.fetch_add(PagesOf(size) - PagesOf(before), std::memory_order_relaxed);
    }
    small_.resize(size);
    small_.shrink_to_fit();
    size_.store(size, std::memory_order_release);
    dense_end_ = size;
    SetCharge(PagesOf(size));
  }
  return Ok();
}

Result<> TmpFile::Allocate(int mode, uint64_t offset, uint64_t length) {
  if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) return Errno::kEOPNOTSUPP;
  sched::FiberMutexLock lock(content_mutex());
  const uint32_t seals = seals_.load(std::memory_order_acquire);
  const uint64_t end = offset + length;
  changed_ = true;
  if (mode & FALLOC_FL_PUNCH_HOLE) {
    if (!(mode & FALLOC_FL_KEEP_SIZE)) return Errno::kEOPNOTSUPP;
    if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) return Errno::kEPERM;
    TRY(MoveToHost());
    if (fallocate(HostFileIfAny()->get(), mode, offset, length) != 0) return FromHost(errno);
    dense_end_ = std::min(dense_end_, offset / kPage * kPage);
    sparse_ = true;
    Recount();
    Touch(true);
    return Ok();
  }
  if (seals & F_SEAL_GROW && end > size()) return Errno::kEPERM;
  if (end > kMaxFileSize) return Errno::kEFBIG;
  TRY(MoveToHost());
  const uint64_t before = charged_.load(std::memory_order_relaxed);
  Result<uint64_t> room = ChargeFor(offset, length);
  if (!room.ok() || *room < length) {
    SetCharge(before);
    return Errno::kENOSPC;
  }
  if (fallocate(HostFileIfAny()->get(), mode, offset, length) != 0) {
    SetCharge(before);
    return FromHost(errno);
  }
  if (offset <= dense_end_) dense_end_ = std::max(dense_end_, end);
  if (!(mode & FALLOC_FL_KEEP_SIZE) && end > size()) size_.store(end, std::memory_order_release);
  if (sparse_) Recount();
  Touch(true);
  return Ok();
}

Result<> TmpFile::BeginSharedWritable() {
  sched::FiberMutexLock lock(content_mutex());
  if (seals_.load(std::memory_order_acquire) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
    return Errno::kEPERM;
  }
  TRY(MoveToHost());
  const uint64_t charged = charged_.load(std::memory_order_relaxed);
  if (PagesOf(size()) > charged) {
    if (!tmpfs().Charge(PagesOf(size()) - charged)) return Errno::kENOMEM;
    charged_.store(PagesOf(size()), std::memory_order_relaxed);
  }
  ++shared_writable_;
  return Ok();
}

void TmpFile::EndSharedWritable() {
  sched::FiberMutexLock lock(content_mutex());
  changed_ = true;
  if (--shared_writable_ == 0) {
    sparse_ = true;
    Recount();
  }
}

Result<uint32_t> TmpFile::seals() { return seals_.load(std::memory_order_acquire); }

Result<> TmpFile::AddSeals(uint32_t seals) {
  constexpr uint32_t kKnown =
      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | 0x20;
  if (seals & ~kKnown) return Errno::kEINVAL;
  sched::FiberMutexLock lock(content_mutex());
  if (seals_.load(std::memory_order_acquire) & F_SEAL_SEAL) return Errno::kEPERM;
  if (seals & F_SEAL_WRITE && shared_writable_) return Errno::kEBUSY;
  seals_.fetch_or(seals, std::memory_order_acq_rel);
  return Ok();
}

Result<RefPtr<vfs::FileDescription>> TmpFile::Open(const vfs::OpContext&,
                                                   const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(
      MakeRef<TmpFileDescription>(args.location, args.flags, *this));
}

// ---- The open file ----

TmpFileDescription::TmpFileDescription(vfs::Location location, int flags, TmpFile& file)
    : SeekableFile(std::move(location), flags), file_(file) {}

Result<size_t> TmpFileDescription::PRead(const vfs::OpContext&, mm::IoSequence& to,
                                         uint64_t offset) {
  size_t n = TRY(file_.ReadAt(to, offset));
  if (!(flags() & O_NOATIME)) file_.TouchAccess();
  return n;
}

Result<size_t> TmpFileDescription::PWrite(const vfs::OpContext&, mm::IoSequence& from,
                                          uint64_t offset) {
  sched::FiberMutexLock lock(file_.content_mutex());
  return file_.WriteAt(from, offset);
}

Result<size_t> TmpFileDescription::PWriteLocked(const vfs::OpContext&, mm::IoSequence& from,
                                                uint64_t offset) {
  return file_.WriteAt(from, offset);
}

Result<vfs::HostMappingInfo> TmpFileDescription::HostBacking(bool shared_writable) {
  if (!shared_writable) {
    RefPtr<vfs::HostFd> fd = TRY(file_.ReadOnlyHostFile());
    const int number = fd->get();
    MutexLock lock(mutex_);
    if (mapped_.empty() || mapped_.back() != fd) mapped_.push_back(std::move(fd));
    return vfs::HostMappingInfo{number, 0};
  }
  TRY(file_.BeginSharedWritable());
  return vfs::HostMappingInfo{file_.HostFileIfAny()->get(), 0};
}

void TmpFileDescription::OnMappingGone(bool shared_writable) {
  if (shared_writable) file_.EndSharedWritable();
}

Result<> TmpFileDescription::Allocate(const vfs::OpContext&, int mode, uint64_t offset,
                                      uint64_t length) {
  return file_.Allocate(mode, offset, length);
}

int TmpFileDescription::host_fd() const {
  RefPtr<vfs::HostFd> fd = file_.HostFileIfAny();
  return fd ? fd->get() : -1;  // never replaced once it is there
}

Result<int64_t> TmpFileDescription::SeekData(const vfs::OpContext& ctx, int64_t offset, bool hole) {
  RefPtr<vfs::HostFd> fd = file_.HostFileIfAny();
  if (!fd) return SeekableFile::SeekData(ctx, offset, hole);
  off_t to = lseek(fd->get(), offset, hole ? SEEK_HOLE : SEEK_DATA);
  if (to < 0) return FromHost(errno);
  return to;
}

// ---- memfd_create(2) ----

Result<RefPtr<vfs::FileDescription>> CreateMemfd(const vfs::OpContext& ctx, vfs::FileSystem& shm,
                                                 std::string_view name, uint32_t flags) {
  constexpr uint32_t kCloexec = 1, kAllowSealing = 2, kNoexecSeal = 8, kExec = 16;
  if (flags & ~(kCloexec | kAllowSealing | kNoexecSeal | kExec)) return Errno::kEINVAL;
  if (flags & kNoexecSeal && flags & kExec) return Errno::kEINVAL;
  if (name.size() > vfs::kNameMax - 6) return Errno::kEINVAL;  // "memfd:"
  TmpFs& fs = static_cast<TmpFs&>(shm);
  if (!fs.ChargeInode()) return Errno::kENOSPC;
  uint32_t seals = flags & (kAllowSealing | kNoexecSeal) ? 0 : F_SEAL_SEAL;
  uint32_t mode = 0777;
  if (flags & kNoexecSeal) {
    mode = 0666;
    seals |= 0x20;  // F_SEAL_EXEC
  }
  RefPtr<TmpFile> file =
      MakeRef<TmpFile>(RefPtr<TmpFs>(&fs), S_IFREG | mode,
                       vfs::Inode::NewOwner{ctx.creds.fsuid, ctx.creds.fsgid}, seals);
  file->ChangeLinks(-1);
  vfs::Location location{
      nullptr, vfs::Dentry::MakeUnnamed(file, "/memfd:" + std::string(name) + " (deleted)")};
  RefPtr<vfs::FileDescription> opened = TRY(file->Open(ctx, {location, O_RDWR}));
  TRY(file->AllowWrite());
  opened->SetHolds(true, false, false);
  return opened;
}

Result<uint32_t> GetSeals(vfs::FileDescription& file) {
  auto* ours = vfs::FileCast<TmpFileDescription>(file);
  if (!ours) return Errno::kEINVAL;
  return ours->file().seals();
}

Result<> AddSeals(vfs::FileDescription& file, uint32_t seals) {
  auto* ours = vfs::FileCast<TmpFileDescription>(file);
  if (!ours) return Errno::kEINVAL;
  if (!file.writable()) return Errno::kEPERM;
  return ours->file().AddSeals(seals);
}

}  // namespace msentry::tmpfs
