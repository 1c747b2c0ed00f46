// mremap(2).
#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"
#include "sentry/mm/pages.h"

namespace msentry::mm {

namespace {

int HostFlagsOf(const Vma& v) { return MAP_PRIVATE | (v.no_reserve ? MAP_NORESERVE : 0); }

bool IsPrivateAnonymous(const Vma& v) { return !v.shared && !v.file; }

}  // namespace

Result<> MemoryManager::MovePages(platform::GuestThread& thread, uint64_t from, uint64_t length,
                                  uint64_t to) {
  platform::MemoryBatch batch;
  batch.Remap(from, length, to, length);
  Result<> moved = Run(thread, batch);
  // What is one mapping to us may be several to the host (it merges less, say after a fork): it
  // refuses with EFAULT. A part small enough lies in one.
  if (moved || moved.error() != Errno::kEFAULT || length == arch::kPageSize) return moved;
  uint64_t half = PageUp(length / 2);
  TRY(MovePages(thread, from, half, to));
  return MovePages(thread, from + half, length - half, to + half);
}

Result<uint64_t> MemoryManager::RemapInPlace(platform::GuestThread& thread, const Vma& vma,
                                             uint64_t old_address, uint64_t old_length,
                                             uint64_t new_length) {
  uint64_t old_end = old_address + old_length, new_end = old_address + new_length;
  platform::MemoryBatch batch;
  if (IsPrivateAnonymous(vma)) {
    batch.MapAnonymous(old_end, new_end - old_end, vma.protection, HostFlagsOf(vma));
  } else {
    batch.Remap(vma.start, vma.length(), vma.start, new_end - vma.start);
  }
  TRY(Run(thread, batch));
  Vma added = vma;
  if (added.file || added.shared_id != 0) added.offset += old_end - vma.start;
  added.start = old_end;
  added.end = new_end;
  MutexLock list(list_mutex_);
  vmas_.Insert(std::move(added));
  Changed();
  return old_address;
}

Result<uint64_t> MemoryManager::RemapTo(platform::GuestThread& thread, const Vma& vma,
                                        uint64_t old_address, uint64_t old_length,
                                        uint64_t new_address, uint64_t new_length, bool keep_old,
                                        DroppedFiles& dropped) {
  platform::MemoryBatch batch;
  if (old_length == 0 || !IsPrivateAnonymous(vma)) {
    batch.Remap(old_address, old_length, new_address, new_length);
    TRY(Run(thread, batch));
  } else {
    TRY(MovePages(thread, old_address, std::min(old_length, new_length), new_address));
    if (new_length > old_length) {
      batch.MapAnonymous(new_address + old_length, new_length - old_length, vma.protection,
                         HostFlagsOf(vma));
      TRY(Run(thread, batch));
    }
  }
  if (keep_old) {
    platform::MemoryBatch again;
    again.MapAnonymous(old_address, old_length, vma.protection, HostFlagsOf(vma));
    TRY(Run(thread, again));
  }
  Vma moved = vma;
  if (moved.file || moved.shared_id != 0) moved.offset += old_address - vma.start;
  moved.start = new_address;
  moved.end = new_address + new_length;
  MutexLock list(list_mutex_);
  if (!keep_old && old_length > 0) vmas_.Remove(old_address, old_address + old_length, dropped);
  vmas_.Remove(moved.start, moved.end, dropped);
  vmas_.Insert(std::move(moved));
  if (keep_old) {
    vmas_.Update(old_address, old_address + old_length, [](Vma& v) { v.locked = false; });
  }
  Changed();
  return new_address;
}

Result<uint64_t> MemoryManager::Remap(platform::GuestThread& thread, uint64_t old_address,
                                      uint64_t old_length, uint64_t new_length, int flags,
                                      uint64_t new_address, const MemoryLimits& limits) {
  bool may_move = (flags & MREMAP_MAYMOVE) != 0, fixed = (flags & MREMAP_FIXED) != 0;
  bool keep_old = (flags & MREMAP_DONTUNMAP) != 0;
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) return Errno::kEINVAL;
  if ((fixed || keep_old) && !may_move) return Errno::kEINVAL;
  if (!IsPageAligned(old_address)) return Errno::kEINVAL;
  if (keep_old && PageUp(old_length) != PageUp(new_length)) return Errno::kEINVAL;
  old_length = PageUp(old_length);
  new_length = PageUp(new_length);
  if (new_length == 0) return Errno::kEINVAL;
  if (old_address > arch::kTaskSize || old_length > arch::kTaskSize - old_address) {
    return Errno::kEFAULT;
  }
  if (fixed) {
    if (!IsPageAligned(new_address) || new_length > arch::kTaskSize ||
        new_address > arch::kTaskSize - new_length) {
      return Errno::kEINVAL;
    }
    if (new_address < arch::kMinGuestAddress) return Errno::kEPERM;
    if (old_address < new_address + new_length && new_address < old_address + old_length) {
      return Errno::kEINVAL;
    }
  }

  DroppedFiles dropped;
  sched::FiberMutexLock lock(change_mutex_);
  uint64_t old_end = old_address + old_length, new_end = old_address + new_length;
  // The tail of a shrunk range goes first; what is left is then moved, or already right.
  if (!fixed && !keep_old && new_length <= old_length) {
    {
      MutexLock list(list_mutex_);
      if (!vmas_.Find(old_address)) return Errno::kEFAULT;
    }
    if (new_length < old_length) TRY(UnmapRange(thread, new_end, old_end, dropped));
    return old_address;
  }
  Vma vma;
  bool in_place = false;
  {
    MutexLock list(list_mutex_);
    const Vma* v = vmas_.Find(old_address);
    if (!v) return Errno::kEFAULT;
    vma = *v;
    if (old_length == 0 && !vma.shared) return Errno::kEINVAL;
    if (old_length == 0 && !may_move) return Errno::kEINVAL;
    if (keep_old && !IsPrivateAnonymous(vma)) return Errno::kEINVAL;
    if (old_end > vma.end) return Errno::kEFAULT;
    if (vma.file && vma.offset + (old_address - vma.start) + new_length < vma.offset) {
      return Errno::kEINVAL;
    }
    uint64_t added = keep_old ? new_length : new_length - std::min(new_length, old_length);
    bool data = vma.writable() && !vma.shared && !vma.grows_down;
    TRY(CheckLimits(added, data ? added : 0, limits));
    if (vma.locked) TRY(CheckLockLimit(added, limits, Errno::kEAGAIN));
    if (!fixed && !keep_old && old_length > 0 && old_end == vma.end) {
      const Vma* next = vmas_.FindAtOrAfter(old_end);
      uint64_t room_end =
          next ? next->start - (next->grows_down ? kStackGuardGap : 0) : arch::kTaskSize;
      in_place = new_end > old_end && new_end <= room_end;
    }
    if (!in_place && !may_move) return Errno::kENOMEM;
    if (!in_place && !fixed) new_address = TRY(Place(keep_old ? new_address : 0, new_length, 0));
  }
  if (in_place) return RemapInPlace(thread, vma, old_address, old_length, new_length);
  if (fixed) TRY(UnmapRange(thread, new_address, new_address + new_length, dropped));
  if (old_length > new_length) {
    TRY(UnmapRange(thread, new_end, old_end, dropped));
    old_length = new_length;
  }
  return RemapTo(thread, vma, old_address, old_length, new_address, new_length, keep_old, dropped);
}

}  // namespace msentry::mm
