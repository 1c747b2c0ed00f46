#include "sentry/kernel/ipc/shm.h"

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "absl/strings/str_format.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "vfs/inode.h"
#include "vfs/mapping.h"
#include "vfs/types.h"

namespace msentry::kernel {
namespace {

constexpr uint32_t kDestroyed = 01000, kLocked = 02000;  // SHM_DEST, SHM_LOCKED
constexpr uint64_t kMaxSegment = arch::kTaskSize;        // larger ones cannot be attached

int CurrentPid() {
  Task* task = Task::Current();
  return task != nullptr ? task->tgid() : 0;
}

// A segment as mapped by one shmat, and by the children that inherited that.
class Attachment final : public mm::MappedFile {
 public:
  Attachment(RefPtr<IpcNamespace> ns, RefPtr<ShmSegment> segment, RefPtr<mm::MappedFile> memory,
             int key, bool read_only)
      : ns_(std::move(ns)),
        segment_(std::move(segment)),
        memory_(std::move(memory)),
        key_(key),
        read_only_(read_only) {}

  Result<Backing> HostBacking(bool shared_writable) override {
    return memory_->HostBacking(shared_writable);
  }
  bool readable() const override { return true; }
  bool writable() const override { return !read_only_; }
  bool no_exec() const override { return false; }
  uint64_t device() const override { return vfs::MakeDev(0, 1); }
  uint64_t inode() const override { return static_cast<uint64_t>(segment_->id()); }
  uint64_t identity() const override { return reinterpret_cast<uint64_t>(segment_.get()); }
  std::string MapsPath() const override {
    return absl::StrFormat("/SYSV%08x (deleted)", static_cast<uint32_t>(key_));
  }
  void CountMapping(int sign) override {
    if (sign > 0) {
      (void)segment_->Attached();
    } else {
      ShmSegment::Detached(*ns_, *segment_);
    }
  }

  const ShmSegment& segment() const { return *segment_; }

 private:
  const RefPtr<IpcNamespace> ns_;
  const RefPtr<ShmSegment> segment_;
  const RefPtr<mm::MappedFile> memory_;
  const int key_;
  const bool read_only_;
};

struct Detacher {
  IpcNamespace& ns;
  ShmSegment& segment;
  ~Detacher() { ShmSegment::Detached(ns, segment); }
};

}  // namespace

ShmSegment::ShmSegment(int key, uint32_t mode, const auth::Credentials& creator, uint64_t size,
                       int pid)
    : IpcObject(key, mode, creator), size(size), creator_pid_(pid) {}

uint64_t ShmSegment::pages() const { return (size + arch::kPageSize - 1) / arch::kPageSize; }

Result<int> ShmSegment::Get(Task& task, int key, uint64_t size, int flags) {
  const RefPtr<IpcNamespace> ns = task.ipc();
  const auth::CredsRef creds = task.creds();
  auto make = [&]() -> Result<RefPtr<IpcObject>> {
    if (size == 0 || size > ns->limits.shmmax) return Errno::kEINVAL;
    const uint64_t pages = (size - 1) / arch::kPageSize + 1;
    const uint64_t used = ns->shared_pages.load(std::memory_order_relaxed);
    if (used + pages < used || used + pages > ns->limits.shmall) return Errno::kENOSPC;
    // As on a machine that has set no huge pages aside.
    if (flags & SHM_HUGETLB) {
      return creds->HasCap(auth::Cap::kIpcLock) ? Errno::kENOMEM : Errno::kEPERM;
    }
    if (size > kMaxSegment) return Errno::kENOMEM;
    ns->shared_pages.fetch_add(pages, std::memory_order_relaxed);
    return RefPtr<IpcObject>(
        MakeRef<ShmSegment>(key, static_cast<uint32_t>(flags), *creds, size, task.tgid()));
  };
  auto check = [&](const IpcObject& found) -> Result<> {
    if (static_cast<const ShmSegment&>(found).size < size) return Errno::kEINVAL;
    return Ok();
  };
  return ns->segments.Get(*creds, key, flags, ns->limits.shmmni, make, check);
}

Result<RefPtr<ShmSegment>> ShmSegment::Find(IpcNamespace& ns, int id) {
  RefPtr<IpcObject> object = TRY(ns.segments.Find(id));
  return RefPtr<ShmSegment>(static_cast<ShmSegment*>(object.get()));
}

abi::Shmid64Ds ShmSegment::StatLocked() const {
  abi::Shmid64Ds s{};
  s.perm = Permissions();
  s.segsz = size;
  s.atime = atime_;
  s.dtime = dtime_;
  s.ctime = ctime;
  s.cpid = creator_pid_;
  s.lpid = last_pid_;
  s.nattch = attached_;
  return s;
}

void ShmSegment::SetLockedLocked(bool locked) {
  mode_bits_ = locked ? mode_bits_ | kLocked : mode_bits_ & ~kLocked;
}

void ShmSegment::Destroy(IpcNamespace& ns, ShmSegment& segment) {
  // From here on only those who know the id can attach it.
  ns.segments.ForgetKey(segment);
  {
    MutexLock lock(segment.mutex());
    if (segment.removed()) return;
    segment.mode_bits_ |= kDestroyed;
    if (segment.attached_ > 0) return;
    segment.MarkRemovedLocked();
  }
  ns.shared_pages.fetch_sub(segment.pages(), std::memory_order_relaxed);
  ns.segments.Remove(segment);
}

Result<> ShmSegment::Attached() {
  MutexLock lock(mutex());
  TRY(CheckAlive());
  ++attached_;
  atime_ = IpcNow();
  last_pid_ = CurrentPid();
  return Ok();
}

void ShmSegment::Detached(IpcNamespace& ns, ShmSegment& segment) {
  {
    MutexLock lock(segment.mutex());
    CHECK(segment.attached_ > 0);
    segment.dtime_ = IpcNow();
    segment.last_pid_ = CurrentPid();
    if (--segment.attached_ > 0 || !(segment.mode_bits_ & kDestroyed)) return;
    segment.MarkRemovedLocked();
  }
  ns.shared_pages.fetch_sub(segment.pages(), std::memory_order_relaxed);
  ns.segments.Remove(segment);
}

Result<RefPtr<vfs::FileDescription>> ShmSegment::Memory(Task& task) {
  sched::FiberMutexLock lock(memory_mutex_);
  if (memory_) return memory_;
  // One file system that is never mounted holds them all, as Linux's shm_mnt.
  static vfs::FileSystem* shm = MUST(tmpfs::Create({})).Release();
  vfs::OpContext context = task.FileContext();
  context.fsize_limit = UINT64_MAX;
  Result<RefPtr<vfs::FileDescription>> file = tmpfs::CreateMemfd(context, *shm, "SYSV", 0);
  if (!file.ok()) return Errno::kENOMEM;
  vfs::SetAttributes length;
  length.set = vfs::SetAttributes::kSize;
  length.size = pages() * arch::kPageSize;
  if (!(*file)->inode().SetAttr(context, length).ok()) return Errno::kENOMEM;
  memory_ = *std::move(file);
  return memory_;
}

uint64_t ShmSegment::ResidentPages() {
  sched::FiberMutexLock lock(memory_mutex_);
  struct stat st;
  if (!memory_ || memory_->host_fd() < 0 || fstat(memory_->host_fd(), &st) != 0) return 0;
  return static_cast<uint64_t>(st.st_blocks) * 512 / arch::kPageSize;
}

Result<uint64_t> AttachSegment(Task& task, int id, uint64_t address, int flags) {
  if (id < 0) return Errno::kEINVAL;
  mm::MapArgs args;
  args.flags = MAP_SHARED;
  args.label = mm::VmaLabel::kSysvShared;
  if (address != 0) {
    if (address % arch::kPageSize != 0) {
      if (!(flags & SHM_RND)) return Errno::kEINVAL;
      address -= address % arch::kPageSize;  // SHMLBA
      if (address == 0 && (flags & SHM_REMAP)) return Errno::kEINVAL;
    }
    args.flags |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  } else if (flags & SHM_REMAP) {
    return Errno::kEINVAL;
  }
  args.address = address;
  const bool read_only = (flags & SHM_RDONLY) != 0;
  args.protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  int access = read_only ? 0444 : 0666;
  if (flags & SHM_EXEC) {
    args.protection |= PROT_EXEC;
    access |= 0111;
  }

  const RefPtr<IpcNamespace> ns = task.ipc();
  RefPtr<ShmSegment> segment = TRY(ShmSegment::Find(*ns, id));
  {
    MutexLock lock(segment->mutex());
    TRY(segment->CheckAlive());
    TRY(segment->CheckAccess(*task.creds(), access));
  }
  TRY(segment->Attached());
  const Detacher detacher{*ns, *segment};
  RefPtr<vfs::FileDescription> memory = TRY(segment->Memory(task));
  args.length = segment->size;
  args.file = MakeRef<Attachment>(ns, segment, vfs::MakeMappedFile(std::move(memory), {}),
                                  ns->segments.KeyOf(*segment), read_only);
  Result<uint64_t> at = task.mm().Map(task.guest_thread(), std::move(args), task.memory_limits());
  // What a host out of memory or descriptors says; and a place that is taken is a wrong argument.
  if (!at.ok() && at.error() == Errno::kEEXIST) return Errno::kEINVAL;
  if (!at.ok() && at.error() == Errno::kENOSPC) return Errno::kENOMEM;
  return at;
}

// Everything of the attachment that begins at `address`, in however many pieces it is by now.
Result<> DetachSegment(Task& task, uint64_t address) {
  if (address % arch::kPageSize != 0) return Errno::kEINVAL;
  RefPtr<mm::MappedFile> file;
  std::vector<std::pair<uint64_t, uint64_t>> pieces;
  task.mm().ForEach([&](const mm::Vma& vma) {
    if (vma.label != mm::VmaLabel::kSysvShared || vma.start < address ||
        vma.start - address != vma.offset) {
      return;
    }
    if (!file) file = vma.file;
    if (vma.file == file) pieces.emplace_back(vma.start, vma.length());
  });
  if (pieces.empty()) return Errno::kEINVAL;
  for (const auto& [start, length] : pieces) {
    TRY(task.mm().Unmap(task.guest_thread(), start, length));
  }
  return Ok();
}

}  // namespace msentry::kernel
