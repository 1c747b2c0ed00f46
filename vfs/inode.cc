#include "vfs/inode.h"

#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/inotify.h"
#include "vfs/inotify_watches.h"
#include "vfs/locks.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

Inode::Inode(RefPtr<FileSystem> fs, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid)
    : fs_(std::move(fs)), ino_(ino), mode_(mode), uid_(uid), gid_(gid) {}

Inode::~Inode() {
  delete locks_.load(std::memory_order_relaxed);
  delete watches_.load(std::memory_order_relaxed);
}

Result<> Inode::SetAttr(const OpContext&, const SetAttributes&) { return Errno::kEPERM; }

Result<> Inode::CheckPermission(const OpContext& ctx, int mask) {
  return CheckMode(ctx.creds, *this, mask);
}

Result<RefPtr<Inode>> Inode::Lookup(const OpContext&, std::string_view) { return Errno::kENOTDIR; }

Result<> Inode::Prefetch(const OpContext& ctx, std::span<const std::string_view> names,
                         std::vector<PrefetchedName>* found) {
  Result<RefPtr<Inode>> inode = Lookup(ctx, names[0]);
  if (!inode.ok() && inode.error() != Errno::kENOENT) return inode.error();
  found->push_back({inode.ok() ? std::move(*inode) : nullptr});
  return Ok();
}

Result<RefPtr<Inode>> Inode::Create(const OpContext&, std::string_view, uint32_t, NewOwner) {
  return Errno::kEPERM;
}
Result<RefPtr<Inode>> Inode::Mkdir(const OpContext&, std::string_view, uint32_t, NewOwner) {
  return Errno::kEPERM;
}
Result<RefPtr<Inode>> Inode::Mknod(const OpContext&, std::string_view, uint32_t, uint64_t,
                                   NewOwner) {
  return Errno::kEPERM;
}
Result<RefPtr<Inode>> Inode::Symlink(const OpContext&, std::string_view, std::string_view,
                                     NewOwner) {
  return Errno::kEPERM;
}
Result<RefPtr<Inode>> Inode::CreateUnnamed(const OpContext&, uint32_t, NewOwner) {
  return Errno::kEOPNOTSUPP;
}
Result<> Inode::Link(const OpContext&, std::string_view, Inode&) { return Errno::kEPERM; }
Result<> Inode::Unlink(const OpContext&, std::string_view, Inode&) { return Errno::kEPERM; }
Result<> Inode::Rmdir(const OpContext&, std::string_view, Inode&) { return Errno::kEPERM; }
Result<> Inode::Rename(const OpContext&, std::string_view, Inode&, Inode&, std::string_view, Inode*,
                       unsigned) {
  return Errno::kEPERM;
}

Result<std::string> Inode::ReadLink(const OpContext&) { return Errno::kEINVAL; }
Result<Location> Inode::FollowMagicLink(const OpContext&) { return Errno::kELOOP; }
Result<RefPtr<FileDescription>> Inode::Open(const OpContext&, const OpenArgs&) {
  return Errno::kENXIO;
}

Result<std::string> Inode::GetXattr(const OpContext&, std::string_view) {
  return Errno::kEOPNOTSUPP;
}
Result<> Inode::SetXattr(const OpContext&, std::string_view, std::string_view, int) {
  return Errno::kEOPNOTSUPP;
}
Result<> Inode::RemoveXattr(const OpContext&, std::string_view) { return Errno::kEOPNOTSUPP; }
Result<std::vector<std::string>> Inode::ListXattr(const OpContext&) {
  return std::vector<std::string>();
}

Result<bool> Inode::Revalidate(const OpContext&, Dentry&) { return true; }

namespace {
// Makes an object on first use; of two racing makers one throws its own away.
template <typename T, typename... Args>
T& MakeOnce(std::atomic<T*>& slot, Args&&... args) {
  if (T* have = slot.load(std::memory_order_acquire)) return *have;
  T* mine = new T(std::forward<Args>(args)...);
  T* expected = nullptr;
  if (slot.compare_exchange_strong(expected, mine, std::memory_order_acq_rel)) return *mine;
  delete mine;
  return *expected;
}
}  // namespace

FileLocks& Inode::locks() { return MakeOnce(locks_); }
InodeWatches& Inode::watches() { return MakeOnce(watches_); }

RefPtr<InodeAttachment> Inode::attachment() const {
  MutexLock lock(attachment_mutex_);
  return attachment_;
}

RefPtr<InodeAttachment> Inode::AttachOnce(absl::FunctionRef<RefPtr<InodeAttachment>()> make) {
  MutexLock lock(attachment_mutex_);
  if (!attachment_) attachment_ = make();
  return attachment_;
}

void Inode::Detach() {
  RefPtr<InodeAttachment> drop;
  MutexLock lock(attachment_mutex_);
  drop.swap(attachment_);
}

Result<> Inode::AllowWrite() {
  int32_t n = write_count_.load(std::memory_order_relaxed);
  do {
    if (n < 0) return Errno::kETXTBSY;
  } while (!write_count_.compare_exchange_weak(n, n + 1, std::memory_order_acq_rel));
  return Ok();
}

void Inode::EndWrite() { write_count_.fetch_sub(1, std::memory_order_acq_rel); }

Result<> Inode::DenyWrite() {
  int32_t n = write_count_.load(std::memory_order_relaxed);
  do {
    if (n > 0) return Errno::kETXTBSY;
  } while (!write_count_.compare_exchange_weak(n, n - 1, std::memory_order_acq_rel));
  return Ok();
}

void Inode::EndDenyWrite() { write_count_.fetch_add(1, std::memory_order_acq_rel); }

}  // namespace msentry::vfs
