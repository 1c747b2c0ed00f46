#include "sentry/mm/vma_set.h"

#include <algorithm>

#include "sentry/arch/registers.h"
#include "sentry/base/check.h"

namespace msentry::mm {

namespace {

bool SameFile(const Vma& a, const Vma& b) {
  if (a.file == b.file) return true;
  if (!a.file || !b.file) return false;
  return a.file->device() == b.file->device() && a.file->inode() == b.file->inode();
}

// `b` follows `a` directly and differs in nothing but its place.
bool CanMerge(const Vma& a, const Vma& b) {
  if (a.label == VmaLabel::kSysvShared) return false;
  if (a.end != b.start || a.protection != b.protection || a.max_protection != b.max_protection ||
      a.shared != b.shared || a.grows_down != b.grows_down || a.locked != b.locked ||
      a.no_reserve != b.no_reserve || a.dont_fork != b.dont_fork ||
      a.wipe_on_fork != b.wipe_on_fork || a.dont_dump != b.dont_dump || a.label != b.label ||
      a.shared_id != b.shared_id || !SameFile(a, b)) {
    return false;
  }
  bool has_offset = a.file || a.shared_id != 0;
  return !has_offset || a.offset + a.length() == b.offset;
}

void CountMapping(const Vma& v, int sign) {
  if (v.label == VmaLabel::kSysvShared) [[unlikely]]
    v.file->CountMapping(sign);
}

bool IsData(const Vma& v) { return v.writable() && !v.shared && !v.grows_down; }

}  // namespace

VmaSet::~VmaSet() {
  for (const auto& [start, vma] : map_) CountMapping(vma, -1);
}

VmaSet::Map::iterator VmaSet::FirstEndingAbove(uint64_t address) {
  auto it = map_.upper_bound(address);  // first that starts above
  if (it != map_.begin()) {
    auto before = std::prev(it);
    if (before->second.end > address) return before;
  }
  return it;
}

VmaSet::Map::const_iterator VmaSet::FirstEndingAbove(uint64_t address) const {
  return const_cast<VmaSet*>(this)->FirstEndingAbove(address);
}

const Vma* VmaSet::Find(uint64_t address) const {
  auto it = FirstEndingAbove(address);
  return it != map_.end() && it->first <= address ? &it->second : nullptr;
}

const Vma* VmaSet::FindAtOrAfter(uint64_t address) const {
  auto it = FirstEndingAbove(address);
  return it != map_.end() ? &it->second : nullptr;
}

const Vma* VmaSet::FindBefore(uint64_t address) const {
  auto it = FirstEndingAbove(address);
  return it != map_.begin() ? &std::prev(it)->second : nullptr;
}

bool VmaSet::Overlaps(uint64_t start, uint64_t end) const {
  auto it = FirstEndingAbove(start);
  return it != map_.end() && it->first < end;
}

bool VmaSet::Covers(uint64_t start, uint64_t end) const {
  for (auto it = FirstEndingAbove(start); start < end; ++it) {
    if (it == map_.end() || it->first > start) return false;
    start = it->second.end;
  }
  return true;
}

void VmaSet::Count(const Vma& v, int sign) {
  auto add = [&](uint64_t& total, bool applies) {
    if (applies) total += sign > 0 ? v.length() : -v.length();
  };
  add(total_, true);
  add(data_, IsData(v));
  add(stack_, v.grows_down);
  add(exec_, v.executable() && !v.writable());
  add(locked_, v.locked);
}

void VmaSet::SplitAt(uint64_t at) {
  auto it = FirstEndingAbove(at);
  if (it == map_.end() || it->first >= at) return;
  Vma upper = it->second;
  uint64_t lower_length = at - it->second.start;
  it->second.end = at;
  upper.start = at;
  if (upper.file || upper.shared_id != 0) upper.offset += lower_length;
  CountMapping(upper, +1);
  map_.emplace_hint(std::next(it), at, std::move(upper));
}

void VmaSet::MergeAround(uint64_t start, uint64_t end) {
  auto it = FirstEndingAbove(start == 0 ? 0 : start - 1);
  while (it != map_.end() && it->first <= end) {
    auto next = std::next(it);
    if (next == map_.end()) break;
    if (CanMerge(it->second, next->second)) {
      it->second.end = next->second.end;
      map_.erase(next);
    } else {
      it = next;
    }
  }
}

void VmaSet::Insert(Vma vma) {
  CHECK(vma.start < vma.end && vma.end <= arch::kTaskSize && !Overlaps(vma.start, vma.end));
  Count(vma, +1);
  CountMapping(vma, +1);
  uint64_t start = vma.start, end = vma.end;
  // A merge with the predecessor, the common case of a growing heap, needs no new node.
  auto next = map_.upper_bound(start);
  if (next != map_.begin()) {
    Vma& before = std::prev(next)->second;
    if (CanMerge(before, vma)) {
      before.end = end;
      MergeAround(start, end);
      return;
    }
  }
  map_.emplace_hint(next, start, std::move(vma));
  MergeAround(start, end);
}

void VmaSet::Remove(uint64_t start, uint64_t end, DroppedFiles& dropped) {
  SplitAt(start);
  SplitAt(end);
  auto first = map_.lower_bound(start);
  auto it = first;
  for (; it != map_.end() && it->first < end; ++it) {
    Count(it->second, -1);
    CountMapping(it->second, -1);
    if (it->second.file) dropped.push_back(std::move(it->second.file));
  }
  if (it == first) return;
  map_.erase(first, it);
  NoteFreed(end);
}

void VmaSet::NoteFreed(uint64_t end) {
  if (end <= scan_from_) return;
  // The gap this made reaches up to the next mapping: search from there.
  const Vma* next = FindAtOrAfter(end);
  scan_from_ = std::max(scan_from_, std::min(top_, next ? next->start : top_));
}

void VmaSet::GrowDown(uint64_t start, uint64_t new_start) {
  auto node = map_.extract(start);
  CHECK(!node.empty() && new_start < start);
  Count(node.mapped(), -1);
  node.mapped().start = new_start;
  node.key() = new_start;
  Count(node.mapped(), +1);
  map_.insert(std::move(node));
}

void VmaSet::CopyForFork(const VmaSet& parent) {
  CHECK(map_.empty() && top_ == parent.top_);
  for (const auto& [start, vma] : parent.map_) {
    if (vma.dont_fork) continue;
    auto it = map_.emplace_hint(map_.end(), start, vma);
    it->second.locked = false;
    Count(it->second, +1);
    CountMapping(it->second, +1);
  }
}

uint64_t VmaSet::FindGapTopDown(uint64_t length) {
  uint64_t gap_end = scan_from_;
  if (length <= largest_above_) {
    gap_end = top_;
    largest_above_ = 0;
  }
  // `it` is the first mapping at or above the end of the gap we look at.
  auto it = map_.lower_bound(gap_end);
  // A mapping that straddles the starting point hides it.
  if (it != map_.begin() && std::prev(it)->second.end > gap_end) {
    --it;
    gap_end = it->first;
  }
  for (;;) {
    if (it != map_.end() && it->second.grows_down && it->first >= gap_end) {
      uint64_t limit = it->first > kStackGuardGap ? it->first - kStackGuardGap : 0;
      gap_end = std::min(gap_end, limit);
    }
    uint64_t gap_start = arch::kMinGuestAddress;
    bool last = it == map_.begin();
    if (!last) gap_start = std::max(gap_start, std::prev(it)->second.end);
    if (gap_end > gap_start) {
      if (gap_end - gap_start >= length) {
        scan_from_ = gap_end;  // not below it: the caller may yet fail to use the range
        return gap_end - length;
      }
      largest_above_ = std::max(largest_above_, gap_end - gap_start);
    }
    if (last) {
      scan_from_ = arch::kMinGuestAddress;
      return 0;
    }
    --it;
    gap_end = std::min(gap_end, it->first);
  }
}

uint64_t VmaSet::FindGapBottomUp(uint64_t length, uint64_t low, uint64_t high) const {
  uint64_t at = low;
  for (auto it = FirstEndingAbove(low);; ++it) {
    uint64_t gap_end = high;
    if (it != map_.end()) {
      uint64_t guard = it->second.grows_down ? kStackGuardGap : 0;
      gap_end = std::min(high, it->first > guard ? it->first - guard : 0);
    }
    if (gap_end > at && gap_end - at >= length) return at;
    if (it == map_.end() || it->second.end >= high) return 0;
    at = std::max(at, it->second.end);
  }
}

uint64_t VmaSet::MappedIn(uint64_t start, uint64_t end) const {
  uint64_t bytes = 0;
  for (auto it = FirstEndingAbove(start); it != map_.end() && it->first < end; ++it) {
    bytes += std::min(end, it->second.end) - std::max(start, it->first);
  }
  return bytes;
}

uint64_t VmaSet::LockedIn(uint64_t start, uint64_t end) const {
  uint64_t bytes = 0;
  for (auto it = FirstEndingAbove(start); it != map_.end() && it->first < end; ++it) {
    if (it->second.locked) {
      bytes += std::min(end, it->second.end) - std::max(start, it->first);
    }
  }
  return bytes;
}

}  // namespace msentry::mm
