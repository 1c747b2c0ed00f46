// VmaSet: the ordered list of mappings of one address space, and the totals that limits and
// /proc read. Pure bookkeeping: no lock (the owner's), no host call.
//
// Ranges are page aligned and end at or below arch::kTaskSize. Neighbours that differ in nothing
// but their place are kept as one Vma, as Linux merges them.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sentry/mm/vma.h"

namespace msentry::mm {

// References to files that left the set; the owner drops them after it has released its lock.
using DroppedFiles = std::vector<RefPtr<MappedFile>>;

// Pages kept free below a mapping that grows down (stack_guard_gap).
inline constexpr uint64_t kStackGuardGap = 256 * 4096;

class VmaSet {
 public:
  using Map = std::map<uint64_t, Vma>;  // by start

  // `top`: mappings without an address are placed downwards from here.
  explicit VmaSet(uint64_t top) : top_(top), scan_from_(top) {}
  ~VmaSet();
  VmaSet(const VmaSet&) = delete;
  VmaSet& operator=(const VmaSet&) = delete;

  // The mapping that holds `address`; null when there is none.
  const Vma* Find(uint64_t address) const;
  // The first mapping that ends above `address`: the one that holds it, or the next; null if none.
  const Vma* FindAtOrAfter(uint64_t address) const;
  // The last mapping that ends at or below `address`.
  const Vma* FindBefore(uint64_t address) const;
  bool Overlaps(uint64_t start, uint64_t end) const;
  // Every address of [start, end) is in some mapping.
  bool Covers(uint64_t start, uint64_t end) const;

  // Adds a mapping to a free range.
  void Insert(Vma vma);
  void Remove(uint64_t start, uint64_t end, DroppedFiles& dropped);
  // Calls `change` on every mapping, or part of one, inside [start, end).
  template <typename F>
  void Update(uint64_t start, uint64_t end, F change);
  // Lets the mapping that starts at `start` begin at `new_start`, in the free range below it.
  void GrowDown(uint64_t start, uint64_t new_start);

  // Becomes what fork(2) gives a child of `parent`: without MADV_DONTFORK's, nothing locked.
  void CopyForFork(const VmaSet& parent);

  // The highest free range of `length` bytes below the top; 0 when there is none.
  uint64_t FindGapTopDown(uint64_t length);
  // The lowest one inside [low, high).
  uint64_t FindGapBottomUp(uint64_t length, uint64_t low, uint64_t high) const;

  const Map& map() const { return map_; }
  size_t size() const { return map_.size(); }

  uint64_t total_bytes() const { return total_; }
  uint64_t data_bytes() const { return data_; }
  uint64_t stack_bytes() const { return stack_; }
  uint64_t exec_bytes() const { return exec_; }
  uint64_t locked_bytes() const { return locked_; }
  // Bytes of [start, end) that are mapped, and of those that are mlocked.
  uint64_t MappedIn(uint64_t start, uint64_t end) const;
  uint64_t LockedIn(uint64_t start, uint64_t end) const;

 private:
  Map::iterator FirstEndingAbove(uint64_t address);
  Map::const_iterator FirstEndingAbove(uint64_t address) const;
  // Makes `at` a border between mappings if it lies inside one.
  void SplitAt(uint64_t at);
  // Joins each mapping that starts in (start, end] with its predecessor where they are alike.
  void MergeAround(uint64_t start, uint64_t end);
  void Count(const Vma& vma, int sign);
  void NoteFreed(uint64_t end);

  Map map_;
  const uint64_t top_;
  // Top-down search: every gap above scan_from_ (and below top_) is at most largest_above_ bytes.
  uint64_t scan_from_;
  uint64_t largest_above_ = 0;
  uint64_t total_ = 0, data_ = 0, stack_ = 0, exec_ = 0, locked_ = 0;
};

template <typename F>
void VmaSet::Update(uint64_t start, uint64_t end, F change) {
  SplitAt(start);
  SplitAt(end);
  for (auto it = map_.lower_bound(start); it != map_.end() && it->first < end; ++it) {
    Count(it->second, -1);
    change(it->second);
    Count(it->second, +1);
  }
  MergeAround(start, end);
}

}  // namespace msentry::mm
