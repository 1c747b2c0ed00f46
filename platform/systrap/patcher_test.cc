// The patcher's notes, with a page of "guest memory" played by an array.
#include "platform/systrap/patcher.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstring>

namespace msentry::systrap {
namespace {

using Kind = platform::MemoryOp::Kind;

constexpr uint64_t kBase = 0x7f0000400000, kSize = 0x4000;
constexpr uint64_t kMoveCall = kBase + 0x105, kFollowCall = kBase + 0x203;

class PatcherTest : public testing::Test {
 protected:
  PatcherTest() : memory_(kSize, 0x90) {
    const uint8_t move[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xff, 0xc0};
    memcpy(At(kMoveCall - 5), move, sizeof(move));
    const uint8_t follow[] = {0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01};
    memcpy(At(kFollowCall), follow, sizeof(follow));
    Map(Kind::kMapFile, kBase, kSize, PROT_READ | PROT_EXEC, MAP_PRIVATE);
  }

  uint8_t* At(uint64_t address) { return memory_.data() + (address - kBase); }
  std::vector<PatchPlan> Map(Kind kind, uint64_t address, uint64_t length, int protection,
                             int flags = 0) {
    platform::MemoryOp op{.kind = kind};
    op.address = address;
    op.length = length;
    op.protection = protection;
    op.flags = flags;
    return patcher_.Before(op);
  }
  std::vector<PatchPlan> Unmap(uint64_t address, uint64_t length) {
    return Map(Kind::kUnmap, address, length, 0);
  }
  std::vector<PatchPlan> Protect(uint64_t address, uint64_t length, int protection) {
    return Map(Kind::kProtect, address, length, protection);
  }

  // As a thread does: a trap, maybe a plan.
  std::optional<PatchPlan> Trap(uint64_t call) {
    if (!patcher_.Trapped(call)) return std::nullopt;
    std::span<const uint8_t> code(At(call - kCodeBefore), kCodeBefore + kCodeAfter);
    bool need_arena = false;
    std::optional<PatchPlan> plan = patcher_.Plan(call, 39, code, &need_arena);
    if (need_arena) {
      std::vector<uint64_t> candidates = patcher_.ArenaCandidates(call);
      EXPECT_FALSE(candidates.empty());
      patcher_.AddArena(candidates[0]);
      plan = patcher_.Plan(call, 39, code, &need_arena);
    }
    return plan;
  }
  // Traps until there is one.
  PatchPlan PlanFor(uint64_t call) {
    for (int i = 0; i < 10; ++i) {
      if (std::optional<PatchPlan> plan = Trap(call)) return *plan;
    }
    ADD_FAILURE() << "no plan";
    return {};
  }
  void CarryOut(const PatchPlan& plan) {
    if (plan.trampoline) patcher_.Written(plan);
    bool matches = memcmp(At(plan.start), &plan.old_bytes, kJumpSize) == 0;
    if (matches) memcpy(At(plan.start), &plan.new_bytes, kJumpSize);
    patcher_.Done(plan, matches);
  }
  PatchPlan Patch(uint64_t call) {
    PatchPlan plan = PlanFor(call);
    CarryOut(plan);
    return plan;
  }
  std::vector<uint8_t> Read(uint64_t address, size_t n) {
    std::vector<uint8_t> bytes(At(address), At(address) + n);
    patcher_.HidePatches(address, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }

  Patcher patcher_;
  std::vector<uint8_t> memory_;
};

TEST_F(PatcherTest, ASiteIsLookedAtAfterSomeTraps) {
  EXPECT_FALSE(Trap(kMoveCall));
  EXPECT_FALSE(Trap(kMoveCall));
  EXPECT_FALSE(Trap(kMoveCall));
  std::optional<PatchPlan> plan = Trap(kMoveCall);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->start, kMoveCall - 5);
  EXPECT_EQ(plan->protection, PROT_READ | PROT_EXEC);
  EXPECT_EQ(plan->page, kBase);
  EXPECT_EQ(plan->page_length, 0x1000u);
}

TEST_F(PatcherTest, ASiteAtThePagesEndOpensBothPages) {
  memcpy(At(kBase + 0xffd), At(kFollowCall), 10);
  PatchPlan plan = PlanFor(kBase + 0xffd);
  EXPECT_EQ(plan.page, kBase);
  EXPECT_EQ(plan.page_length, 0x2000u);
}

TEST_F(PatcherTest, OnlyPrivateFilesThatTheGuestCannotWriteArePatched) {
  for (auto [kind, protection, flags] :
       {std::tuple(Kind::kMapAnonymous, PROT_READ | PROT_EXEC, MAP_PRIVATE),
        std::tuple(Kind::kMapFile, PROT_READ | PROT_EXEC, MAP_SHARED),
        std::tuple(Kind::kMapFile, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE),
        std::tuple(Kind::kMapFile, PROT_READ, MAP_PRIVATE)}) {
    Map(kind, kBase, kSize, protection, flags);
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(patcher_.Trapped(kMoveCall));
  }
  Unmap(kBase, kSize);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(patcher_.Trapped(kMoveCall));
}

TEST_F(PatcherTest, ReadersSeeTheOriginalBytes) {
  std::vector<uint8_t> before = Read(kBase, kSize);
  Patch(kMoveCall);
  Patch(kFollowCall);
  EXPECT_NE(memcmp(At(kBase), before.data(), kSize), 0);
  EXPECT_EQ(Read(kBase, kSize), before);
  // Pieces that begin or end inside a patch.
  for (uint64_t at = kFollowCall - 2; at < kFollowCall + 7; ++at) {
    for (size_t n = 1; n < 9; ++n) {
      EXPECT_EQ(Read(at, n), std::vector<uint8_t>(&before[at - kBase], &before[at - kBase + n]));
    }
  }
}

TEST_F(PatcherTest, AFailedPatchIsForgottenForGood) {
  PatchPlan plan = PlanFor(kMoveCall);
  patcher_.Written(plan);
  patcher_.Done(plan, false);
  for (int i = 0; i < 200; ++i) EXPECT_FALSE(Trap(kMoveCall));
  EXPECT_FALSE(patcher_.MayHold(kMoveCall, 1));
}

TEST_F(PatcherTest, LateTrapsAtAPatchedSiteChangeNothing) {
  // Threads that trapped before another one patched the site ask for a plan when it is done.
  Patch(kFollowCall);
  std::span<const uint8_t> follow(At(kFollowCall - kCodeBefore), kCodeBefore + kCodeAfter);
  Patch(kMoveCall);
  std::span<const uint8_t> move(At(kMoveCall - kCodeBefore), kCodeBefore + kCodeAfter);
  for (int i = 0; i < 200; ++i) {
    bool need_arena = false;
    patcher_.Trapped(kFollowCall);
    EXPECT_FALSE(patcher_.Plan(kFollowCall, 39, follow, &need_arena));
    patcher_.Trapped(kMoveCall);
    EXPECT_FALSE(patcher_.Plan(kMoveCall, 39, move, &need_arena));
    EXPECT_FALSE(need_arena);
  }
  EXPECT_TRUE(patcher_.FixFault(SIGILL, kFollowCall + 2, patcher_.generation()));
}

TEST_F(PatcherTest, ALostPatchIsMadeAgain) {
  // madvise(MADV_DONTNEED) brings the file's bytes back.
  std::vector<uint8_t> file(memory_);
  Patch(kFollowCall);
  memory_ = file;
  std::optional<PatchPlan> again;
  for (int i = 0; i < 100 && !again; ++i) again = Trap(kFollowCall);
  ASSERT_TRUE(again);
  CarryOut(*again);
  EXPECT_EQ(*At(kFollowCall), kJumpOpcode);
  EXPECT_EQ(Read(kFollowCall, 2), (std::vector<uint8_t>{0x0f, 0x05}));
}

TEST_F(PatcherTest, OpeningTheCodeForWritingUndoesFirst) {
  std::vector<uint8_t> before(memory_);
  Patch(kMoveCall);
  Patch(kFollowCall);
  EXPECT_TRUE(Protect(kBase + 0x1000, 0x1000, PROT_READ | PROT_WRITE).empty());  // another page
  std::vector<PatchPlan> undo = Protect(kBase, 0x1000, PROT_READ | PROT_WRITE);
  ASSERT_EQ(undo.size(), 2u);
  for (const PatchPlan& plan : undo) CarryOut(plan);
  EXPECT_EQ(memory_, before);
  EXPECT_FALSE(patcher_.MayHold(kBase, kSize));
}

TEST_F(PatcherTest, UnmappingForgetsTheSites) {
  PatchPlan plan = Patch(kMoveCall);
  EXPECT_TRUE(Unmap(kBase, kSize).empty());
  EXPECT_EQ(patcher_.ToGuest(plan.trampoline), plan.trampoline);
  Map(Kind::kMapFile, kBase, kSize, PROT_READ | PROT_EXEC, MAP_PRIVATE);
  EXPECT_FALSE(patcher_.Trapped(kMoveCall));  // counted from the start again
}

TEST_F(PatcherTest, MappingOverTheTrampolinesUndoesTheSitesThatUseThem) {
  PatchPlan plan = Patch(kMoveCall);
  uint64_t arena = plan.trampoline & ~(kArenaSize - 1);
  std::vector<PatchPlan> undo =
      Map(Kind::kMapAnonymous, arena, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_EQ(undo.size(), 1u);
  EXPECT_EQ(undo[0].start, kMoveCall - 5);
}

TEST_F(PatcherTest, AddressesInTrampolinesAndBack) {
  PatchPlan plan = Patch(kFollowCall);
  EXPECT_EQ(patcher_.ToGuest(plan.trampoline), kFollowCall);
  uint64_t resume = patcher_.ToHost(kFollowCall + 2);
  EXPECT_GT(resume, plan.trampoline);
  EXPECT_LT(resume, plan.trampoline + kTrampolineSize);
  EXPECT_EQ(patcher_.ToGuest(resume), kFollowCall + 2);
  EXPECT_EQ(patcher_.ToHost(kFollowCall), kFollowCall);
  EXPECT_EQ(patcher_.ToHost(kMoveCall + 2), kMoveCall + 2);
  EXPECT_EQ(patcher_.ToGuest(kBase), kBase);
}

TEST_F(PatcherTest, FaultsOfAPatchAreItsOwn) {
  PatchPlan plan = PlanFor(kFollowCall);
  uint64_t now = patcher_.generation();
  EXPECT_FALSE(patcher_.FixFault(SIGTRAP, kFollowCall + 1, now)) << "nothing is written yet";
  patcher_.Written(plan);
  now = patcher_.generation();
  EXPECT_EQ(patcher_.FixFault(SIGTRAP, kFollowCall + 1, now), kFollowCall);
  patcher_.Done(plan, true);
  now = patcher_.generation();
  EXPECT_EQ(patcher_.FixFault(SIGILL, kFollowCall + 2, now), patcher_.ToHost(kFollowCall + 2));
  EXPECT_EQ(patcher_.FixFault(SIGSEGV, kFollowCall + 2, now), patcher_.ToHost(kFollowCall + 2));
  EXPECT_FALSE(patcher_.FixFault(SIGFPE, kFollowCall + 2, now));
  EXPECT_FALSE(patcher_.FixFault(SIGILL, kFollowCall + 3, now));
  EXPECT_FALSE(patcher_.FixFault(SIGTRAP, kBase + 1, now));
}

TEST_F(PatcherTest, AFaultOfAPatchThatIsUndoneMeanwhileIsTriedOnceMore) {
  Patch(kFollowCall);
  uint64_t resumed_in = patcher_.generation();
  for (const PatchPlan& plan : Protect(kBase, 0x1000, PROT_READ | PROT_WRITE)) CarryOut(plan);
  EXPECT_EQ(patcher_.FixFault(SIGTRAP, kFollowCall + 1, resumed_in), kFollowCall);
  EXPECT_EQ(patcher_.FixFault(SIGILL, kFollowCall + 2, resumed_in), kFollowCall + 2);
  // Once: now it is the program's own.
  EXPECT_FALSE(patcher_.FixFault(SIGTRAP, kFollowCall + 1, patcher_.generation()));
  EXPECT_FALSE(patcher_.FixFault(SIGILL, kFollowCall + 2, patcher_.generation()));
}

TEST_F(PatcherTest, SitesThatShareBytesAreNotBothPatched) {
  // mov; syscall; cmp: the second call's move begins inside the first one's five bytes.
  const uint8_t code[] = {0x0f, 0x05, 0x48, 0x89, 0xc3, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xff, 0xc0};
  memcpy(At(kBase + 0x300), code, sizeof(code));
  Patch(kBase + 0x300);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(Trap(kBase + 0x30a));
}

TEST_F(PatcherTest, AForkedChildKnowsThePatches) {
  std::vector<uint8_t> before = Read(kFollowCall, 8);
  PatchPlan plan = Patch(kFollowCall);
  std::unique_ptr<Patcher> child = patcher_.Clone();
  std::vector<uint8_t> bytes(At(kFollowCall), At(kFollowCall) + 8);
  child->HidePatches(kFollowCall, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, before);
  EXPECT_EQ(child->ToGuest(plan.trampoline), kFollowCall);
  EXPECT_EQ(child->Undo(kBase, kSize).size(), 1u);
  EXPECT_TRUE(patcher_.MayHold(kFollowCall, 8));  // the parent's is not touched
}

TEST_F(PatcherTest, AGuestCannotMakeUsRememberWithoutEnd) {
  constexpr uint64_t kLarge = 0x10000000;
  Map(Kind::kMapFile, kBase, kLarge, PROT_READ | PROT_EXEC, MAP_PRIVATE);
  int remembered = 0;
  for (uint64_t i = 0; i < 100'000; ++i) {
    uint64_t call = kBase + 0x1000 + i * 16;
    for (int traps = 0; traps < 3; ++traps) patcher_.Trapped(call);
    remembered += patcher_.Trapped(call);
  }
  EXPECT_GT(remembered, 1000);
  EXPECT_LT(remembered, 20'000);
}

TEST_F(PatcherTest, ProtectionOfWhatIsMapped) {
  EXPECT_FALSE(patcher_.Protection(kBase - 1));
  ASSERT_TRUE(patcher_.Protection(kBase));
  EXPECT_EQ(patcher_.Protection(kBase)->protection, PROT_READ | PROT_EXEC);
  EXPECT_EQ(patcher_.Protection(kBase)->end, kBase + kSize);
  Protect(kBase + 0x1000, 0x1000, PROT_READ);
  EXPECT_EQ(patcher_.Protection(kBase)->end, kBase + 0x1000);
  EXPECT_EQ(patcher_.Protection(kBase + 0x1000)->protection, PROT_READ);
  Protect(kBase + 0x1000, 0x1000, PROT_READ | PROT_EXEC);
  EXPECT_EQ(patcher_.Protection(kBase)->end, kBase + kSize);  // one mapping again
  EXPECT_FALSE(patcher_.Protection(kBase + kSize));
}

}  // namespace
}  // namespace msentry::systrap
