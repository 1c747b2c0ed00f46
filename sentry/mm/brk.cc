// brk(2), and stacks that grow when they are touched.
#include <sys/mman.h>

#include <algorithm>

#include "sentry/mm/memory_manager.h"
#include "sentry/mm/pages.h"
#include "sentry/mm/populate.h"

namespace msentry::mm {

namespace {

// A stack grows by at least this, so that deep recursion costs few faults; Linux would grow it page
// by page at no cost to the program.
constexpr uint64_t kMinStackGrowth = 128 << 10, kMaxStackGrowth = 8 << 20;

}  // namespace

uint64_t MemoryManager::Brk(platform::GuestThread& thread, uint64_t address,
                            const MemoryLimits& limits) {
  DroppedFiles dropped;
  sched::FiberMutexLock lock(change_mutex_);
  uint64_t old = 0, old_page = 0, new_page = 0;
  bool locked = false;
  {
    MutexLock list(list_mutex_);
    old = brk_end_;
    if (address < brk_start_ || address > arch::kTaskSize) return old;
    old_page = PageUp(old);
    new_page = PageUp(address);
    uint64_t data = (address - brk_start_) + (image_.end_data - image_.start_data);
    if (address > old && data > limits.data) return old;
    if (new_page == old_page) {
      brk_end_ = address;
      return address;
    }
    if (new_page > old_page) {
      const Vma* next = vmas_.FindAtOrAfter(old_page);
      uint64_t guard = next && next->grows_down ? kStackGuardGap : arch::kPageSize;
      if (next && new_page + guard > next->start) return old;
      uint64_t added = new_page - old_page;
      if (!CheckLimits(added, added, limits)) return old;
      locked = lock_future_;
      if (locked && !CheckLockLimit(added, limits, Errno::kEAGAIN)) return old;
    }
  }
  if (new_page < old_page) {
    if (!UnmapRange(thread, new_page, old_page, dropped)) return old;
    MutexLock list(list_mutex_);
    return brk_end_ = address;
  }
  platform::MemoryBatch batch;
  batch.MapAnonymous(
      old_page, new_page - old_page, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | (locked && new_page - old_page <= kPopulatePiece ? MAP_POPULATE : 0));
  if (!Run(thread, batch)) return old;
  Vma heap;
  heap.start = old_page;
  heap.end = new_page;
  heap.protection = PROT_READ | PROT_WRITE;
  heap.label = VmaLabel::kHeap;
  heap.locked = locked;
  MutexLock list(list_mutex_);
  vmas_.Insert(std::move(heap));
  Changed();
  return brk_end_ = address;
}

bool MemoryManager::HandleFault(platform::GuestThread& thread, uint64_t address,
                                const MemoryLimits& limits) {
  set_stack_limit(limits.stack);
  return GrowStack(thread, address, limits.stack);
}

bool MemoryManager::GrowStack(platform::GuestThread& thread, uint64_t address,
                              uint64_t stack_limit) {
  if (address >= arch::kTaskSize) return false;
  uint64_t page = PageDown(address);
  sched::FiberMutexLock lock(change_mutex_);
  Vma vma;
  uint64_t new_start = 0;
  {
    MutexLock list(list_mutex_);
    const Vma* v = vmas_.FindAtOrAfter(address);
    if (!v || !v->grows_down) return false;
    if (v->start <= address) {
      // Somebody else has grown it since the fault; a fault on a page that is there is a fault.
      return false;
    }
    uint64_t lowest = arch::kMinGuestAddress;
    if (v->end > stack_limit) lowest = std::max(lowest, v->end - PageDown(stack_limit));
    const Vma* before = vmas_.FindBefore(address);
    if (before) {
      // An inaccessible neighbour is a guard itself.
      lowest = std::max(lowest, before->end + (before->protection != 0 ? kStackGuardGap : 0));
    }
    if (page < lowest) return false;
    uint64_t growth = std::clamp(v->length(), kMinStackGrowth, kMaxStackGrowth);
    uint64_t wish = v->start > growth ? v->start - growth : 0;
    new_start = std::max(lowest, std::min(page, wish));
    if (!CheckLimits(v->start - new_start, 0, MemoryLimits{})) return false;
    vma = *v;
  }
  platform::MemoryBatch batch;
  batch.MapAnonymous(new_start, vma.start - new_start, vma.protection,
                     MAP_PRIVATE | (vma.no_reserve ? MAP_NORESERVE : 0));
  if (!Run(thread, batch)) return false;
  MutexLock list(list_mutex_);
  vmas_.GrowDown(vma.start, new_start);
  Changed();
  return true;
}

}  // namespace msentry::mm
