#include "sentry/mm/vma_set.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <random>

#include "sentry/arch/registers.h"

namespace msentry::mm {
namespace {

constexpr uint64_t kPage = arch::kPageSize;
constexpr uint64_t kTop = 0x100000000;

Vma Make(uint64_t start, uint64_t pages, uint32_t protection = PROT_READ) {
  Vma v;
  v.start = start;
  v.end = start + pages * kPage;
  v.protection = protection;
  return v;
}

TEST(VmaSet, JoinsAlikeNeighboursInAnyOrder) {
  VmaSet set(kTop);
  set.Insert(Make(0x20000, 1));
  set.Insert(Make(0x22000, 1));
  set.Insert(Make(0x21000, 1));
  ASSERT_EQ(set.size(), 1u);
  EXPECT_EQ(set.Find(0x20000)->end, 0x23000u);
}

TEST(VmaSet, KeepsNeighboursApartThatDiffer) {
  VmaSet set(kTop);
  set.Insert(Make(0x20000, 1, PROT_READ));
  set.Insert(Make(0x21000, 1, PROT_READ | PROT_WRITE));
  EXPECT_EQ(set.size(), 2u);
  set.Update(0x21000, 0x22000, [](Vma& v) { v.protection = PROT_READ; });
  EXPECT_EQ(set.size(), 1u);
}

TEST(VmaSet, RemovingTheMiddleLeavesBothEnds) {
  VmaSet set(kTop);
  set.Insert(Make(0x20000, 5));
  DroppedFiles dropped;
  set.Remove(0x21000, 0x23000, dropped);
  EXPECT_EQ(set.size(), 2u);
  EXPECT_EQ(set.Find(0x21000), nullptr);
  EXPECT_EQ(set.Find(0x23000)->start, 0x23000u);
  EXPECT_EQ(set.total_bytes(), 3 * kPage);
}

TEST(VmaSet, SharedOffsetsFollowASplit) {
  VmaSet set(kTop);
  Vma v = Make(0x20000, 4);
  v.shared = true;
  v.shared_id = 7;
  v.offset = 0x5000;
  set.Insert(v);
  DroppedFiles dropped;
  set.Remove(0x21000, 0x22000, dropped);
  EXPECT_EQ(set.Find(0x20000)->offset, 0x5000u);
  EXPECT_EQ(set.Find(0x22000)->offset, 0x7000u);
}

TEST(VmaSet, PlacesDownwardsAndReusesWhatWasFreed) {
  VmaSet set(kTop);
  uint64_t a = set.FindGapTopDown(kPage);
  EXPECT_EQ(a, kTop - kPage);
  set.Insert(Make(a, 1, PROT_READ));
  uint64_t b = set.FindGapTopDown(2 * kPage);
  EXPECT_EQ(b, a - 2 * kPage);
  set.Insert(Make(b, 2, PROT_WRITE));
  DroppedFiles dropped;
  set.Remove(a, a + kPage, dropped);
  EXPECT_EQ(set.FindGapTopDown(kPage), a);
  EXPECT_EQ(set.FindGapTopDown(3 * kPage), b - 3 * kPage);
  EXPECT_EQ(set.FindGapTopDown(kPage), a);
}

TEST(VmaSet, KeepsTheGuardGapBelowAStack) {
  VmaSet set(kTop);
  Vma stack = Make(kTop - 16 * kPage, 16);
  stack.grows_down = true;
  set.Insert(stack);
  EXPECT_EQ(set.FindGapTopDown(kPage), stack.start - kStackGuardGap - kPage);
  EXPECT_EQ(set.FindGapBottomUp(kPage, stack.start - kStackGuardGap - kPage, kTop),
            stack.start - kStackGuardGap - kPage);
  EXPECT_EQ(set.FindGapBottomUp(kPage, stack.start - kStackGuardGap, kTop), 0u);
}

// Random operations against a plain array of pages.
TEST(VmaSet, AgreesWithAModelOfPages) {
  constexpr uint64_t kBase = 0x10000, kPages = 64;
  const uint64_t top = kBase + kPages * kPage;
  std::mt19937 random(1);
  VmaSet set(top);
  std::vector<int> model(kPages, -1);  // protection, -1 free
  for (int step = 0; step < 20000; ++step) {
    uint64_t first = random() % kPages;
    uint64_t count = 1 + random() % std::min<uint64_t>(8, kPages - first);
    uint64_t start = kBase + first * kPage, end = start + count * kPage;
    int protection = random() % 3;
    DroppedFiles dropped;
    switch (random() % 4) {
      case 0:
        set.Remove(start, end, dropped);
        std::fill_n(model.begin() + first, count, -1);
        break;
      case 1:
        set.Remove(start, end, dropped);
        set.Insert(Make(start, count, protection));
        std::fill_n(model.begin() + first, count, protection);
        break;
      case 2:
        set.Update(start, end, [&](Vma& v) { v.protection = protection; });
        for (uint64_t i = first; i < first + count; ++i) {
          if (model[i] >= 0) model[i] = protection;
        }
        break;
      default: {
        uint64_t found = set.FindGapTopDown(count * kPage);
        // The model's answer: the highest run of `count` free pages.
        uint64_t expected = 0;
        for (int64_t i = kPages - count; i >= 0 && expected == 0; --i) {
          bool free = true;
          for (uint64_t j = i; j < i + count; ++j) free &= model[j] < 0;
          if (free) expected = kBase + i * kPage;
        }
        ASSERT_EQ(found, expected) << "step " << step;
        if (found != 0 && random() % 2 == 0) {
          set.Insert(Make(found, count, protection));
          std::fill_n(model.begin() + (found - kBase) / kPage, count, protection);
        }
        break;
      }
    }
    uint64_t mapped = 0, runs = 0;
    for (uint64_t i = 0; i < kPages; ++i) {
      const Vma* v = set.Find(kBase + i * kPage);
      ASSERT_EQ(v != nullptr, model[i] >= 0) << "step " << step << " page " << i;
      if (v) {
        ASSERT_EQ(static_cast<int>(v->protection), model[i]);
        mapped += kPage;
      }
      if (model[i] >= 0 && (i == 0 || model[i - 1] != model[i])) ++runs;
    }
    ASSERT_EQ(set.total_bytes(), mapped);
    ASSERT_EQ(set.size(), runs);
  }
}

}  // namespace
}  // namespace msentry::mm
