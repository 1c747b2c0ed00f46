#include "sentry/mm/memory_manager.h"

#include <gtest/gtest.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "sentry/arch/registers.h"
#include "sentry/mm/local_platform_for_test.h"

namespace msentry::mm {
namespace {

constexpr uint64_t kPage = arch::kPageSize;
constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

class MemoryManagerTest : public testing::Test {
 protected:
  Result<uint64_t> Map(uint64_t pages, int flags = kAnonymous, uint64_t at = 0,
                       int protection = kReadWrite) {
    return p.mm->Map(
        p.thread,
        {.address = at, .length = pages * kPage, .protection = protection, .flags = flags}, limits);
  }
  uint64_t MustMap(uint64_t pages, int flags = kAnonymous, uint64_t at = 0,
                   int protection = kReadWrite) {
    return MUST(Map(pages, flags, at, protection));
  }
  void Put(uint64_t at, char c) { MUST(p.memory().CopyOut(GuestPtr<char>(at), c)); }
  char Get(uint64_t at) { return MUST(p.memory().CopyIn(GuestPtr<char>(at))); }

  LocalProcess p;
  MemoryLimits limits;
};

TEST_F(MemoryManagerTest, MapsDownwardsFromTheTopInOneRoundTrip) {
  uint64_t a = MustMap(16);
  EXPECT_EQ(a, LocalLayout().mmap_top - 16 * kPage);
  EXPECT_EQ(p.thread.applies, 1);
  EXPECT_EQ(p.thread.operations, 1);
  EXPECT_EQ(MustMap(1), a - kPage);
  Put(a, 'x');
  EXPECT_EQ(Get(a), 'x');
}

TEST_F(MemoryManagerTest, BadArgumentsAreLinuxsErrors) {
  EXPECT_EQ(Map(0).error(), Errno::kEINVAL);
  EXPECT_EQ(Map(1, MAP_ANONYMOUS).error(), Errno::kEINVAL);
  EXPECT_EQ(Map(1, kAnonymous | MAP_FIXED, 0x20001).error(), Errno::kEINVAL);
  EXPECT_EQ(Map(1, kAnonymous | MAP_FIXED, 0x1000).error(), Errno::kEPERM);
  EXPECT_EQ(Map(1, kAnonymous | MAP_FIXED, arch::kTaskSize).error(), Errno::kENOMEM);
  EXPECT_EQ(Map(uint64_t{1} << 36).error(), Errno::kENOMEM);
  EXPECT_EQ(Map(1, kAnonymous | MAP_HUGETLB).error(), Errno::kENOMEM);
  EXPECT_EQ(Map(1, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | 1 << 30).error(), Errno::kEOPNOTSUPP);
  EXPECT_EQ(p.mm->Unmap(p.thread, 0x20001, kPage).error(), Errno::kEINVAL);
  EXPECT_EQ(p.mm->Unmap(p.thread, 0x20000, 0).error(), Errno::kEINVAL);
}

TEST_F(MemoryManagerTest, HintsAreTakenWhenFree) {
  EXPECT_EQ(MustMap(1, kAnonymous, 0x200000000000), 0x200000000000u);
  EXPECT_NE(MustMap(1, kAnonymous, 0x200000000000), 0x200000000000u);
  EXPECT_EQ(Map(1, kAnonymous | MAP_FIXED_NOREPLACE, 0x200000000000).error(), Errno::kEEXIST);
}

TEST_F(MemoryManagerTest, FixedReplacesWhatWasThere) {
  uint64_t a = MustMap(3);
  Put(a + kPage, 'x');
  MustMap(1, kAnonymous | MAP_FIXED, a + kPage, PROT_READ);
  EXPECT_EQ(Get(a + kPage), 0);
  EXPECT_EQ(p.mm->total_bytes(), 3 * kPage);
  EXPECT_FALSE(p.memory().CopyOut(GuestPtr<char>(a + kPage), 'y').ok());
}

TEST_F(MemoryManagerTest, Map32BitStaysLow) {
  uint64_t a = MustMap(1, kAnonymous | MAP_32BIT);
  EXPECT_GE(a, 0x40000000u);
  EXPECT_LT(a, 0x80000000u);
}

TEST_F(MemoryManagerTest, ProtectChangesUpToTheHole) {
  uint64_t a = MustMap(4);
  ASSERT_TRUE(p.mm->Unmap(p.thread, a + 2 * kPage, kPage).ok());
  EXPECT_EQ(p.mm->Protect(p.thread, a, 4 * kPage, PROT_READ, limits).error(), Errno::kENOMEM);
  EXPECT_EQ(p.mm->Find(a)->protection, static_cast<uint32_t>(PROT_READ));
  EXPECT_EQ(p.mm->Find(a + 3 * kPage)->protection, static_cast<uint32_t>(kReadWrite));
}

TEST_F(MemoryManagerTest, AddressSpaceLimit) {
  limits.address_space = 4 * kPage;
  uint64_t a = MustMap(4);
  EXPECT_EQ(Map(1).error(), Errno::kENOMEM);
  MustMap(2, kAnonymous | MAP_FIXED, a);  // replaces: no more than before
}

TEST_F(MemoryManagerTest, RemapGrowsInPlaceElseMoves) {
  uint64_t a = MustMap(1, kAnonymous, 0x200000000000);
  Put(a, 'x');
  EXPECT_EQ(MUST(p.mm->Remap(p.thread, a, kPage, 4 * kPage, 0, 0, limits)), a);
  EXPECT_EQ(Get(a + 3 * kPage), 0);
  MustMap(1, kAnonymous | MAP_FIXED, a + 4 * kPage, PROT_READ);
  EXPECT_EQ(p.mm->Remap(p.thread, a, 4 * kPage, 8 * kPage, 0, 0, limits).error(), Errno::kENOMEM);
  uint64_t b = MUST(p.mm->Remap(p.thread, a, 4 * kPage, 8 * kPage, MREMAP_MAYMOVE, 0, limits));
  EXPECT_NE(b, a);
  EXPECT_EQ(Get(b), 'x');
  EXPECT_EQ(Get(b + 7 * kPage), 0);
  EXPECT_FALSE(p.mm->Find(a).has_value());
}

TEST_F(MemoryManagerTest, RemapMovesWhatTheHostKeepsInPieces) {
  uint64_t a = MustMap(8);
  // Different advice makes two host mappings of what is one to us.
  ASSERT_EQ(madvise(reinterpret_cast<void*>(a + 3 * kPage), kPage, MADV_NOHUGEPAGE), 0);
  for (int i = 0; i < 8; ++i) Put(a + i * kPage, static_cast<char>('a' + i));
  uint64_t b = MUST(p.mm->Remap(p.thread, a, 8 * kPage, 16 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                                0x200000000000, limits));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(Get(b + i * kPage), 'a' + i);
  Put(b + 15 * kPage, 'z');
}

TEST_F(MemoryManagerTest, RemapDuplicatesSharedMemory) {
  uint64_t a = MustMap(2, MAP_SHARED | MAP_ANONYMOUS);
  Put(a, 'x');
  uint64_t b = MUST(p.mm->Remap(p.thread, a, 0, 2 * kPage, MREMAP_MAYMOVE, 0, limits));
  EXPECT_EQ(Get(b), 'x');
  Put(b + kPage, 'y');
  EXPECT_EQ(Get(a + kPage), 'y');
  EXPECT_EQ(p.mm->SharedKeyAt(a + kPage + 8), p.mm->SharedKeyAt(b + kPage + 8));
  EXPECT_NE(p.mm->SharedKeyAt(a), p.mm->SharedKeyAt(b + kPage));
}

TEST_F(MemoryManagerTest, RemapDontUnmapLeavesZeros) {
  uint64_t a = MustMap(2);
  Put(a, 'x');
  uint64_t b = MUST(
      p.mm->Remap(p.thread, a, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, limits));
  EXPECT_EQ(Get(b), 'x');
  EXPECT_EQ(Get(a), 0);
}

TEST_F(MemoryManagerTest, RemapRejectsOverlapAndHoles) {
  uint64_t a = MustMap(4);
  EXPECT_EQ(p.mm->Remap(p.thread, a, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, a + kPage,
                        limits)
                .error(),
            Errno::kEINVAL);
  EXPECT_EQ(
      p.mm->Remap(p.thread, a - 8 * kPage, kPage, 2 * kPage, MREMAP_MAYMOVE, 0, limits).error(),
      Errno::kEFAULT);
  EXPECT_EQ(p.mm->Remap(p.thread, a, 8 * kPage, 16 * kPage, MREMAP_MAYMOVE, 0, limits).error(),
            Errno::kEFAULT);
}

TEST_F(MemoryManagerTest, BrkMovesBothWays) {
  uint64_t start = 0x100000001234;
  p.mm->SetBrkStart(start);
  EXPECT_EQ(p.mm->Brk(p.thread, 0, limits), start);
  EXPECT_EQ(p.mm->Brk(p.thread, start + 3 * kPage, limits), start + 3 * kPage);
  Put(start + 2 * kPage, 'x');
  EXPECT_EQ(p.mm->Find(start + kPage)->label, VmaLabel::kHeap);
  EXPECT_EQ(p.mm->Brk(p.thread, start + 16, limits), start + 16);
  EXPECT_EQ(p.mm->Brk(p.thread, start + 3 * kPage, limits), start + 3 * kPage);
  EXPECT_EQ(Get(start + 2 * kPage), 0);
  limits.data = 4 * kPage;
  EXPECT_EQ(p.mm->Brk(p.thread, start + 64 * kPage, limits), start + 3 * kPage);
}

TEST_F(MemoryManagerTest, StackGrowsOnFaultAndOnCopyUpToItsLimit) {
  uint64_t a = MustMap(4, kAnonymous | MAP_GROWSDOWN, 0x200000000000);
  limits.stack = 1 << 20;
  EXPECT_TRUE(p.mm->HandleFault(p.thread, a - 8, limits));
  EXPECT_LT(p.mm->Find(a)->start, a);
  Put(a + 4 * kPage - (700 << 10), 'x');
  EXPECT_FALSE(p.mm->HandleFault(p.thread, a + 4 * kPage - (1 << 20) - 1, limits));
  EXPECT_FALSE(p.mm->HandleFault(p.thread, 0x10000, limits));
  EXPECT_LE(p.mm->stack_bytes(), limits.stack);
}

TEST_F(MemoryManagerTest, StackKeepsAGapToItsNeighbour) {
  uint64_t neighbour = MustMap(1, kAnonymous, 0x200000000000);
  uint64_t a = MustMap(1, kAnonymous | MAP_GROWSDOWN, neighbour + kStackGuardGap + 16 * kPage);
  EXPECT_TRUE(p.mm->HandleFault(p.thread, a - 1, limits));
  EXPECT_EQ(p.mm->Find(a)->start, neighbour + kPage + kStackGuardGap);
  EXPECT_FALSE(p.mm->HandleFault(p.thread, p.mm->Find(a)->start - 1, limits));
}

TEST_F(MemoryManagerTest, AdviceSkipsHolesButReportsThem) {
  uint64_t a = MustMap(3);
  Put(a, 'x');
  Put(a + 2 * kPage, 'y');
  ASSERT_TRUE(p.mm->Unmap(p.thread, a + kPage, kPage).ok());
  EXPECT_EQ(p.mm->Advise(p.thread, a, 3 * kPage, MADV_DONTNEED).error(), Errno::kENOMEM);
  EXPECT_EQ(Get(a), 0);
  EXPECT_EQ(Get(a + 2 * kPage), 0);
  EXPECT_EQ(p.mm->Advise(p.thread, a, kPage, 9999).error(), Errno::kEINVAL);
}

TEST_F(MemoryManagerTest, LockingIsCountedAndLimited) {
  limits.locked = 2 * kPage;
  uint64_t a = MustMap(4);
  EXPECT_TRUE(p.mm->Lock(p.thread, a, 2 * kPage, false, limits).ok());
  EXPECT_TRUE(p.mm->Lock(p.thread, a, kPage, false, limits).ok());
  EXPECT_EQ(p.mm->Lock(p.thread, a + 2 * kPage, kPage, false, limits).error(), Errno::kENOMEM);
  EXPECT_EQ(p.mm->locked_bytes(), 2 * kPage);
  EXPECT_EQ(p.mm->Advise(p.thread, a, kPage, MADV_DONTNEED).error(), Errno::kEINVAL);
  EXPECT_EQ(Map(1, kAnonymous | MAP_LOCKED).error(), Errno::kEAGAIN);
  EXPECT_TRUE(p.mm->UnlockAll().ok());
  EXPECT_EQ(p.mm->locked_bytes(), 0u);
}

TEST_F(MemoryManagerTest, ForkCopiesTheListButForDontFork) {
  uint64_t a = MustMap(1, kAnonymous, 0x200000000000);
  uint64_t b = MustMap(1, kAnonymous, 0x200000010000);
  ASSERT_TRUE(p.mm->Advise(p.thread, b, kPage, MADV_DONTFORK).ok());
  MemoryManager::Forked forked = MUST(p.mm->Fork(p.thread));
  EXPECT_TRUE(forked.mm->Find(a).has_value());
  EXPECT_FALSE(forked.mm->Find(b).has_value());
  ASSERT_TRUE(p.mm->Advise(p.thread, b, kPage, MADV_DOFORK).ok());
}

TEST_F(MemoryManagerTest, AccessibleStopsAtTheFirstOtherProtection) {
  uint64_t a = MustMap(2, kAnonymous, 0x200000000000);
  MustMap(1, kAnonymous | MAP_FIXED, a + 2 * kPage, PROT_READ);
  EXPECT_EQ(p.mm->Accessible(nullptr, a + 10, 100 * kPage, PROT_WRITE), 2 * kPage - 10);
  EXPECT_EQ(p.mm->Accessible(nullptr, a + 10, 100 * kPage, PROT_READ), 3 * kPage - 10);
  EXPECT_EQ(p.mm->Accessible(nullptr, a + 2 * kPage, 1, PROT_WRITE), 0u);
  ASSERT_TRUE(p.mm->Unmap(p.thread, a, kPage).ok());
  EXPECT_EQ(p.mm->Accessible(nullptr, a + 10, 1, PROT_WRITE), 0u);
}

TEST_F(MemoryManagerTest, LoadCollectsEverythingInOneBatch) {
  p.mm->BeginLoad();
  MustMap(1, kAnonymous | MAP_FIXED, 0x200000000000);
  MustMap(1, kAnonymous | MAP_FIXED, 0x200000010000);
  EXPECT_EQ(p.thread.applies, 0);
  ASSERT_TRUE(p.mm->FinishLoad(p.thread).ok());
  EXPECT_EQ(p.thread.applies, 1);
  EXPECT_EQ(p.thread.operations, 2);
}

}  // namespace
}  // namespace msentry::mm
