// madvise(2), msync(2), mincore(2), mlock(2) and its kin.
#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"
#include "sentry/mm/pages.h"
#include "sentry/mm/populate.h"

namespace msentry::mm {

namespace {

// Values that older headers lack.
constexpr int kMadvCold = 20, kMadvPageout = 21, kMadvDontneedLocked = 24, kMadvCollapse = 25;

// [address, address + length) in whole pages. kEINVAL as madvise, msync and mlock say it.
struct PageRange {
  uint64_t start, end;
};
Result<PageRange> CheckedRange(uint64_t address, uint64_t length, Errno overflow) {
  uint64_t pages = PageUp(length);
  if (length != 0 && pages == 0) return overflow;
  if (address + pages < address) return overflow;
  if (address + pages > arch::kTaskSize && pages != 0) return Errno::kENOMEM;
  return PageRange{address, address + pages};
}

// Advice that changes what we keep of a mapping.
struct FlagChange {
  bool Vma::*flag;
  bool value;
};
std::optional<FlagChange> FlagChangeOf(int advice) {
  switch (advice) {
    case MADV_DONTFORK:
      return FlagChange{&Vma::dont_fork, true};
    case MADV_DOFORK:
      return FlagChange{&Vma::dont_fork, false};
    case MADV_WIPEONFORK:
      return FlagChange{&Vma::wipe_on_fork, true};
    case MADV_KEEPONFORK:
      return FlagChange{&Vma::wipe_on_fork, false};
    case MADV_DONTDUMP:
      return FlagChange{&Vma::dont_dump, true};
    case MADV_DODUMP:
      return FlagChange{&Vma::dont_dump, false};
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<> MemoryManager::Advise(platform::GuestThread& thread, uint64_t address, uint64_t length,
                               int advice) {
  bool discards = false, needs_private = false;
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_KEEPONFORK:
    case kMadvCold:
    case kMadvPageout:
    case kMadvPopulateRead:
    case kMadvPopulateWrite:
    case kMadvCollapse:
    case kMadvDontneedLocked:
      break;
    case MADV_DONTNEED:
    case MADV_REMOVE:
      discards = true;
      break;
    case MADV_FREE:
      discards = true;
      needs_private = true;
      break;
    case MADV_WIPEONFORK:
      needs_private = true;
      break;
    default:
      return Errno::kEINVAL;
  }
  if (!IsPageAligned(address)) return Errno::kEINVAL;
  PageRange range = TRY(CheckedRange(address, length, Errno::kEINVAL));
  if (range.start == range.end) return Ok();
  if (range.start < arch::kMinGuestAddress) return Errno::kENOMEM;

  sched::FiberMutexLock lock(change_mutex_);
  bool holes = false;
  {
    MutexLock list(list_mutex_);
    holes = !vmas_.Covers(range.start, range.end);
    for (auto at = range.start; at < range.end;) {
      const Vma* v = vmas_.FindAtOrAfter(at);
      if (!v || v->start >= range.end) break;
      if (discards && v->locked) return Errno::kEINVAL;
      if (needs_private && (v->shared || v->file)) return Errno::kEINVAL;
      if (advice == MADV_REMOVE && (!v->shared || (v->max_protection & PROT_WRITE) == 0)) {
        return v->shared ? Errno::kEACCES : Errno::kEINVAL;
      }
      at = v->end;
    }
  }
  if (advice == kMadvPopulateRead || advice == kMadvPopulateWrite) {
    return PopulateInPieces(thread, range.start, range.end, advice);
  }
  // The host knows the same mappings and skips the same holes.
  platform::MemoryBatch batch;
  batch.Advise(range.start, range.end - range.start, advice);
  Result<> host = Run(thread, batch);
  if (!host && !(holes && host.error() == Errno::kENOMEM)) return host;

  MutexLock list(list_mutex_);
  if (const std::optional<FlagChange> change = FlagChangeOf(advice)) {
    vmas_.Update(range.start, range.end, [&](Vma& v) { v.*change->flag = change->value; });
    Changed();
  }
  return host;
}

Result<> MemoryManager::Sync(platform::GuestThread& thread, uint64_t address, uint64_t length,
                             int flags) {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0) return Errno::kEINVAL;
  if ((flags & MS_ASYNC) != 0 && (flags & MS_SYNC) != 0) return Errno::kEINVAL;
  if (!IsPageAligned(address)) return Errno::kEINVAL;
  PageRange range = TRY(CheckedRange(address, length, Errno::kENOMEM));
  if (range.start == range.end) return Ok();
  if (range.start < arch::kMinGuestAddress) return Errno::kENOMEM;

  sched::FiberMutexLock lock(change_mutex_);
  bool shared_file = false;
  {
    MutexLock list(list_mutex_);
    for (auto at = range.start; at < range.end;) {
      const Vma* v = vmas_.FindAtOrAfter(at);
      if (!v || v->start >= range.end) break;
      if ((flags & MS_INVALIDATE) != 0 && v->locked) return Errno::kEBUSY;
      shared_file |= v->shared && v->file;
      at = v->end;
    }
    if (!shared_file) {
      return vmas_.Covers(range.start, range.end) ? Result<>(Ok()) : Errno::kENOMEM;
    }
  }
  platform::MemoryBatch batch;
  batch.Sync(range.start, range.end - range.start, flags);
  return Run(thread, batch);
}

Result<> MemoryManager::Mincore(uint64_t address, std::span<uint8_t> out) const {
  if (!IsPageAligned(address)) return Errno::kEINVAL;
  uint64_t end = address + out.size() * arch::kPageSize;
  if (end < address || end > arch::kTaskSize) return Errno::kENOMEM;
  std::vector<PageRange> anonymous;
  {
    MutexLock list(list_mutex_);
    if (!vmas_.Covers(address, end)) return Errno::kENOMEM;
    for (uint64_t at = address; at < end;) {
      const Vma* v = vmas_.Find(at);
      uint64_t part_end = std::min(v->end, end);
      if (!v->file && v->shared_id == 0) anonymous.push_back({at, part_end});
      at = part_end;
    }
  }
  // Pages of files are in the host's cache as far as we can tell.
  std::fill(out.begin(), out.end(), 1);
  for (PageRange r : anonymous) {
    host_proc::ResidentPages(
        space_->host_pid(), r.start,
        out.subspan((r.start - address) / arch::kPageSize, (r.end - r.start) / arch::kPageSize));
  }
  return Ok();
}

Result<> MemoryManager::Populate(platform::GuestThread& thread, uint64_t start, uint64_t end) {
  struct Piece {
    uint64_t start, end;
    int advice;
  };
  std::vector<Piece> pieces;
  bool forbidden = false;
  {
    MutexLock list(list_mutex_);
    for (uint64_t at = start; at < end;) {
      const Vma* v = vmas_.FindAtOrAfter(at);
      if (!v || v->start >= end) break;
      uint64_t from = std::max(at, v->start), to = std::min(end, v->end);
      if (v->protection == 0) {
        forbidden = true;
      } else {
        bool write = v->writable() && !v->shared;
        pieces.push_back({from, to, write ? kMadvPopulateWrite : kMadvPopulateRead});
      }
      at = to;
    }
  }
  for (const Piece& piece : pieces) {
    // A file shorter than its mapping cannot be populated; the lock stands all the same.
    Result<> done = PopulateInPieces(thread, piece.start, piece.end, piece.advice);
    if (!done.ok() && done.error() == Errno::kERESTARTNOINTR) return done;
  }
  if (forbidden) return Errno::kENOMEM;
  return Ok();
}

Result<> MemoryManager::Lock(platform::GuestThread& thread, uint64_t address, uint64_t length,
                             bool on_fault, const MemoryLimits& limits) {
  uint64_t start = PageDown(address);
  PageRange range = TRY(CheckedRange(start, length + (address - start), Errno::kEINVAL));
  sched::FiberMutexLock lock(change_mutex_);
  {
    MutexLock list(list_mutex_);
    uint64_t bytes = range.end - range.start;
    uint64_t already = vmas_.LockedIn(range.start, range.end);
    TRY(CheckLockLimit(bytes - already, limits, Errno::kENOMEM));
    if (range.start == range.end) return Ok();
    if (!vmas_.Covers(range.start, range.end)) return Errno::kENOMEM;
    vmas_.Update(range.start, range.end, [](Vma& v) { v.locked = true; });
    Changed();
  }
  if (on_fault) return Ok();
  return Populate(thread, range.start, range.end);
}

Result<> MemoryManager::Unlock(uint64_t address, uint64_t length) {
  uint64_t start = PageDown(address);
  PageRange range = TRY(CheckedRange(start, length + (address - start), Errno::kEINVAL));
  sched::FiberMutexLock lock(change_mutex_);
  MutexLock list(list_mutex_);
  if (range.start == range.end) return Ok();
  if (!vmas_.Covers(range.start, range.end)) return Errno::kENOMEM;
  vmas_.Update(range.start, range.end, [](Vma& v) { v.locked = false; });
  Changed();
  return Ok();
}

Result<> MemoryManager::LockAll(platform::GuestThread& thread, int mcl_flags,
                                const MemoryLimits& limits) {
  constexpr int kMclOnFault = 4;
  if (mcl_flags == 0 || mcl_flags == kMclOnFault ||
      (mcl_flags & ~(MCL_CURRENT | MCL_FUTURE | kMclOnFault)) != 0) {
    return Errno::kEINVAL;
  }
  sched::FiberMutexLock lock(change_mutex_);
  {
    MutexLock list(list_mutex_);
    if (!limits.may_lock_any && limits.locked == 0) return Errno::kEPERM;
    bool current = (mcl_flags & MCL_CURRENT) != 0;
    if (current && !limits.may_lock_any && vmas_.total_bytes() > limits.locked) {
      return Errno::kENOMEM;
    }
    lock_future_ = (mcl_flags & MCL_FUTURE) != 0;
    if (!current) return Ok();
    vmas_.Update(0, arch::kTaskSize, [](Vma& v) { v.locked = true; });
    Changed();
  }
  // mlockall reports no failure to populate.
  if ((mcl_flags & kMclOnFault) == 0) (void)Populate(thread, 0, arch::kTaskSize);
  return Ok();
}

Result<> MemoryManager::UnlockAll() {
  sched::FiberMutexLock lock(change_mutex_);
  MutexLock list(list_mutex_);
  lock_future_ = false;
  vmas_.Update(0, arch::kTaskSize, [](Vma& v) { v.locked = false; });
  Changed();
  return Ok();
}

}  // namespace msentry::mm
