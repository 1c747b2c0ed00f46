// mmap(2), munmap(2), mprotect(2).
#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "sentry/mm/memory_manager.h"
#include "sentry/mm/pages.h"
#include "sentry/mm/populate.h"

namespace msentry::mm {

namespace {

constexpr uint64_t kLow32Start = 0x40000000, kLow32End = 0x80000000;  // MAP_32BIT
constexpr int kProtGrowsDown = 0x01000000, kProtGrowsUp = 0x02000000, kProtSem = 0x8;
constexpr int kProtMask = PROT_READ | PROT_WRITE | PROT_EXEC;
// What MAP_SHARED_VALIDATE lets a caller say (LEGACY_MAP_MASK).
constexpr int kKnownFlags = MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_DENYWRITE |
                            MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |
                            MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT |
                            MAP_FIXED_NOREPLACE;

std::atomic<uint64_t> next_shared_id{1};  // identities of shared anonymous objects

// What mmap asks for, apart from the place: checked against flags and file.
Result<Vma> Describe(const MapArgs& args) {
  Vma vma;
  int type = args.flags & MAP_TYPE;
  if (type == MAP_SHARED_VALIDATE) {
    if ((args.flags & ~kKnownFlags) != 0) return Errno::kEOPNOTSUPP;
  } else if (type != MAP_SHARED && type != MAP_PRIVATE) {
    return Errno::kEINVAL;
  }
  vma.shared = type != MAP_PRIVATE;
  vma.protection = args.protection & kProtMask;
  vma.label = args.label;
  vma.no_reserve = (args.flags & MAP_NORESERVE) != 0;
  vma.grows_down = (args.flags & MAP_GROWSDOWN) != 0;
  if (vma.grows_down && (vma.shared || args.file)) return Errno::kEINVAL;
  if (!args.file) {
    if (vma.shared) vma.shared_id = next_shared_id.fetch_add(1, std::memory_order_relaxed);
    return vma;
  }
  const MappedFile& file = *args.file;
  if (!file.readable()) return Errno::kEACCES;
  if (vma.shared && !file.writable()) {
    if (vma.writable()) return Errno::kEACCES;
    vma.max_protection &= ~PROT_WRITE;
  }
  if (file.no_exec()) {
    if (vma.executable()) return Errno::kEPERM;
    vma.max_protection &= ~PROT_EXEC;
  }
  vma.file = args.file;
  vma.offset = args.offset;
  return vma;
}

int HostFlags(const Vma& vma, bool populate) {
  int flags = vma.shared ? MAP_SHARED : MAP_PRIVATE;
  if (vma.no_reserve) flags |= MAP_NORESERVE;
  if (populate) flags |= MAP_POPULATE;
  return flags;
}

}  // namespace

Result<> MemoryManager::CheckLimits(uint64_t added, uint64_t data,
                                    const MemoryLimits& limits) const {
  if (vmas_.total_bytes() + added > limits.address_space) return Errno::kENOMEM;
  if (data > 0 && vmas_.data_bytes() + data > limits.data) return Errno::kENOMEM;
  return Ok();
}

Result<> MemoryManager::CheckLockLimit(uint64_t added, const MemoryLimits& limits,
                                       Errno over) const {
  if (limits.may_lock_any) return Ok();
  if (limits.locked == 0) return Errno::kEPERM;
  if (vmas_.locked_bytes() + added > limits.locked) return over;
  return Ok();
}

Result<uint64_t> MemoryManager::Place(uint64_t address, uint64_t length, int flags) {
  if (length > arch::kTaskSize) return Errno::kENOMEM;
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
    if (address > arch::kTaskSize - length) return Errno::kENOMEM;
    if (!IsPageAligned(address)) return Errno::kEINVAL;
    if (address < arch::kMinGuestAddress) return Errno::kEPERM;
    bool replace = (flags & MAP_FIXED_NOREPLACE) == 0;
    if (!replace && vmas_.Overlaps(address, address + length)) return Errno::kEEXIST;
    return address;
  }
  address = PageDown(address);
  if (address != 0) {
    address = std::max(address, arch::kMinGuestAddress);
    const Vma* next = vmas_.FindAtOrAfter(address);
    uint64_t room_end = arch::kTaskSize;
    if (next) room_end = next->start - (next->grows_down ? kStackGuardGap : 0);
    if (address <= arch::kTaskSize - length && address + length <= room_end) return address;
  }
  uint64_t found = 0;
  if ((flags & MAP_32BIT) != 0) {
    found = vmas_.FindGapBottomUp(length, kLow32Start, kLow32End);
  } else {
    found = vmas_.FindGapTopDown(length);
    // Below the top is full: whatever is left anywhere.
    if (found == 0) {
      found =
          vmas_.FindGapBottomUp(length, arch::kMinGuestAddress, arch::kTaskSize - arch::kVdsoRoom);
    }
  }
  if (found == 0) return Errno::kENOMEM;
  return found;
}

Result<uint64_t> MemoryManager::Map(platform::GuestThread& thread, MapArgs args,
                                    const MemoryLimits& limits) {
  if (args.length == 0 || !IsPageAligned(args.offset)) return Errno::kEINVAL;
  uint64_t length = PageUp(args.length);
  if (length == 0) return Errno::kENOMEM;
  if (args.file && args.offset + length < args.offset) return Errno::kEOVERFLOW;
  // No huge pages are set aside, as on a host with vm.nr_hugepages = 0.
  if ((args.flags & MAP_HUGETLB) != 0) return args.file ? Errno::kEINVAL : Errno::kENOMEM;
  Vma vma = TRY(Describe(args));
  MappedFile::Backing backing;
  if (args.file) {
    backing = TRY(args.file->HostBacking(vma.shared && (vma.max_protection & PROT_WRITE) != 0));
  }

  DroppedFiles dropped;
  sched::FiberMutexLock lock(change_mutex_);
  bool populate = (args.flags & MAP_POPULATE) != 0 && (args.flags & MAP_NONBLOCK) == 0;
  {
    MutexLock list(list_mutex_);
    vma.start = TRY(Place(args.address, length, args.flags));
    vma.end = vma.start + length;
    vma.locked = lock_future_ || (args.flags & MAP_LOCKED) != 0;
    populate |= vma.locked;
    uint64_t replaced = vmas_.MappedIn(vma.start, vma.end);
    bool data = vma.writable() && !vma.shared && !vma.grows_down;
    TRY(CheckLimits(length - replaced, data ? length : 0, limits));
    if (vma.locked) TRY(CheckLockLimit(length, limits, Errno::kEAGAIN));
    if (vmas_.size() >= max_map_count.load(std::memory_order_relaxed)) return Errno::kENOMEM;
  }

  const bool at_once = populate && length <= kPopulatePiece;
  platform::MemoryBatch batch;
  if (backing.host_fd >= 0) {
    batch.MapFile(vma.start, length, vma.protection, HostFlags(vma, at_once), backing.host_fd,
                  backing.offset + args.offset);
  } else {
    batch.MapAnonymous(vma.start, length, vma.protection, HostFlags(vma, at_once));
  }
  TRY(Run(thread, batch));

  uint64_t start = vma.start;
  {
    MutexLock list(list_mutex_);
    vmas_.Remove(vma.start, vma.end, dropped);
    vmas_.Insert(std::move(vma));
    Changed();
  }
  // The mapping is there whatever becomes of this.
  if (populate && !at_once && !loading_) (void)Populate(thread, start, start + length);
  return start;
}

Result<> MemoryManager::UnmapRange(platform::GuestThread& thread, uint64_t start, uint64_t end,
                                   DroppedFiles& dropped) {
  {
    MutexLock list(list_mutex_);
    if (!vmas_.Overlaps(start, end)) return Ok();
  }
  platform::MemoryBatch batch;
  batch.Unmap(start, end - start);
  TRY(Run(thread, batch));
  MutexLock list(list_mutex_);
  vmas_.Remove(start, end, dropped);
  Changed();
  return Ok();
}

Result<> MemoryManager::Unmap(platform::GuestThread& thread, uint64_t address, uint64_t length) {
  if (!IsPageAligned(address) || address > arch::kTaskSize || length == 0 ||
      length > arch::kTaskSize - address) {
    return Errno::kEINVAL;
  }
  // Nothing can be mapped below the first guest page: the platform need not hear of it.
  uint64_t start = std::max(address, arch::kMinGuestAddress);
  uint64_t end = address + PageUp(length);
  if (end <= start) return Ok();
  DroppedFiles dropped;
  sched::FiberMutexLock lock(change_mutex_);
  return UnmapRange(thread, start, end, dropped);
}

Result<> MemoryManager::Protect(platform::GuestThread& thread, uint64_t address, uint64_t length,
                                int protection, const MemoryLimits& limits) {
  bool down = (protection & kProtGrowsDown) != 0, up = (protection & kProtGrowsUp) != 0;
  if (down && up) return Errno::kEINVAL;
  protection &= ~(kProtGrowsDown | kProtGrowsUp);
  if (!IsPageAligned(address)) return Errno::kEINVAL;
  if (length == 0) return Ok();
  uint64_t end = address + PageUp(length);
  if (end <= address) return Errno::kENOMEM;
  if ((protection & ~(kProtMask | kProtSem)) != 0) return Errno::kEINVAL;
  uint32_t wanted = protection & kProtMask;

  sched::FiberMutexLock lock(change_mutex_);
  // Like Linux, change what can be changed before the first obstacle, then report it.
  uint64_t start = address, done = address;
  Result<> outcome = Ok();
  bool change = false;
  {
    MutexLock list(list_mutex_);
    const Vma* v = vmas_.FindAtOrAfter(address);
    if (up) return Errno::kEINVAL;  // nothing grows upwards here
    if (down) {
      if (!v || v->start >= end) return Errno::kENOMEM;
      if (!v->grows_down) return Errno::kEINVAL;
      start = v->start;
      done = start;
    }
    uint64_t new_data = 0;
    while (done < end) {
      v = vmas_.Find(done);
      if (!v) {
        outcome = Errno::kENOMEM;
        break;
      }
      if ((wanted & ~v->max_protection) != 0) {
        outcome = Errno::kEACCES;
        break;
      }
      uint64_t part = std::min(end, v->end) - done;
      if ((wanted & PROT_WRITE) != 0 && !v->writable() && !v->shared && !v->grows_down) {
        new_data += part;
        if (vmas_.data_bytes() + new_data > limits.data) {
          outcome = Errno::kENOMEM;
          break;
        }
      }
      change |= v->protection != wanted;
      done += part;
    }
  }
  if (done == start || !change) return outcome;
  platform::MemoryBatch batch;
  batch.Protect(start, done - start, wanted);
  TRY(Run(thread, batch));
  MutexLock list(list_mutex_);
  vmas_.Update(start, done, [&](Vma& vma) { vma.protection = wanted; });
  Changed();
  return outcome;
}

}  // namespace msentry::mm
