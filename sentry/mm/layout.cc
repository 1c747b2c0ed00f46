// Where a new address space puts its stack and mappings: arch_pick_mmap_layout's figures, moved
// down to where our guests' address space ends.
#include <sys/random.h>

#include <algorithm>

#include "sentry/arch/registers.h"
#include "sentry/mm/memory_manager.h"

namespace msentry::mm {

namespace {

constexpr uint64_t kStackRandomPages = uint64_t{1} << 22;  // 16 GiB
constexpr uint64_t kMmapRandomPages = uint64_t{1} << 28;   // vm.mmap_rnd_bits
constexpr uint64_t kMinStackRoom = 128 << 20;
constexpr uint64_t kMaxStackRoom = arch::kTaskSize / 6 * 5;
static_assert(kMaxStackRoom + kMmapRandomPages * arch::kPageSize < arch::kTaskSize);

}  // namespace

uint64_t RandomBits() {
  uint64_t value = 0;
  // Never blocks nor fails: the pool was ready long before a sandbox starts.
  CHECK(getrandom(&value, sizeof(value), 0) == sizeof(value));
  return value;
}

Layout Layout::Choose(bool randomize, uint64_t stack_limit) {
  Layout layout;
  layout.randomize = randomize;
  uint64_t stack_random = randomize ? RandomBits() % kStackRandomPages * arch::kPageSize : 0;
  layout.stack_top = arch::kTaskSize - arch::kVdsoRoom - stack_random;
  uint64_t room = stack_limit;
  uint64_t pad = kStackGuardGap + (randomize ? kStackRandomPages * arch::kPageSize : 0);
  if (room + pad > room) room += pad;  // RLIM_INFINITY does not wrap
  room = std::clamp(room, kMinStackRoom, kMaxStackRoom) & ~(arch::kPageSize - 1);
  uint64_t mmap_random = randomize ? RandomBits() % kMmapRandomPages * arch::kPageSize : 0;
  layout.mmap_top = arch::kTaskSize - room - mmap_random;
  return layout;
}

}  // namespace msentry::mm
