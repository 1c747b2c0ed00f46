// AccessCache: recently used mappings, so that the check before a copy out costs a few loads and no
// lock. Written under the owner's lock, read by any fiber: each entry is a sequence lock.
#pragma once

#include <atomic>
#include <cstdint>

namespace msentry::mm {

class AccessCache {
 public:
  // true: [address, address + length) lies in a mapping known to have `protection`. false says
  // nothing. The sum must not overflow.
  bool Allows(uint64_t address, uint64_t length, uint32_t protection) const {
    const Entry& e = entries_[Index(address)];
    uint32_t before = e.sequence.load(std::memory_order_acquire);
    uint64_t start = e.start.load(std::memory_order_acquire);
    uint64_t end = e.end.load(std::memory_order_acquire);
    uint32_t have = e.protection.load(std::memory_order_acquire);
    if ((before & 1) != 0 || e.sequence.load(std::memory_order_acquire) != before) return false;
    return start <= address && address + length <= end && (have & protection) == protection;
  }

  // Both under the owner's lock.
  void Remember(uint64_t address, uint64_t start, uint64_t end, uint32_t protection) {
    Write(entries_[Index(address)], start, end, protection);
  }
  void Clear() {
    for (Entry& e : entries_) {
      if (e.end.load(std::memory_order_relaxed) != 0) Write(e, 0, 0, 0);
    }
  }

 private:
  struct Entry {
    std::atomic<uint32_t> sequence{0};  // odd while it is written
    std::atomic<uint32_t> protection{0};
    std::atomic<uint64_t> start{0}, end{0};
  };
  static constexpr int kEntries = 8;

  // Stack, heap, data segments and thread stacks tend to differ in these bits.
  static unsigned Index(uint64_t address) { return (address >> 21 ^ address >> 35) % kEntries; }
  static void Write(Entry& e, uint64_t start, uint64_t end, uint32_t protection) {
    uint32_t sequence = e.sequence.load(std::memory_order_relaxed);
    e.sequence.store(sequence + 1, std::memory_order_relaxed);
    e.start.store(start, std::memory_order_release);
    e.end.store(end, std::memory_order_release);
    e.protection.store(protection, std::memory_order_release);
    e.sequence.store(sequence + 2, std::memory_order_release);
  }

  Entry entries_[kEntries];
};

}  // namespace msentry::mm
