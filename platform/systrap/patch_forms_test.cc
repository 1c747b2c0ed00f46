#include "platform/systrap/patch_forms.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "platform/systrap/stub/abi.h"

namespace msentry::systrap {
namespace {

constexpr uint64_t kCall = 0x7f0000401230;
using Code = std::vector<uint8_t>;

// The bytes around a call: `before` ends where the instruction begins, `after` follows it.
std::optional<PatchSite> Recognize(const Code& before, const Code& after, uint64_t number = 39) {
  Code code(kCodeBefore + kCodeAfter, 0x90);
  std::copy(before.begin(), before.end(), code.begin() + kCodeBefore - before.size());
  code[kCodeBefore] = 0x0f;
  code[kCodeBefore + 1] = 0x05;
  std::copy(after.begin(), after.end(), code.begin() + kCodeBefore + 2);
  return RecognizeSite(code, kCall, number);
}

// Where a jmp or jae rel32 at `at`, whose opcode has `opcode_bytes`, leads.
uint64_t Target(const uint8_t* instruction, size_t opcode_bytes, uint64_t at) {
  int32_t d;
  memcpy(&d, instruction + opcode_bytes, 4);
  return at + opcode_bytes + 4 + static_cast<uint64_t>(static_cast<int64_t>(d));
}

// A place in reach that suits the site.
uint64_t Place(const PatchSite& site) {
  for (uint64_t at = kCall + 0x100000; at < kCall + 0x1000000; at += kTrampolineSize) {
    at &= ~(kTrampolineSize - 1);
    if (TrampolineFits(site, at)) return at;
  }
  ADD_FAILURE() << "no place";
  return 0;
}

TEST(PatchForms, MoveToEaxBeforeTheCall) {
  auto site = Recognize({0xb8, 39, 0, 0, 0}, {0xc3, 0x55});  // ret, not padded: next function
  ASSERT_TRUE(site);
  EXPECT_EQ(site->form, PatchForm::kMove);
  EXPECT_EQ(site->start, kCall - 5);
  EXPECT_EQ(site->moved, 5);
  EXPECT_EQ(site->after(), kCall + 2);
}

TEST(PatchForms, MoveToRaxBeforeTheCall) {
  auto site = Recognize({0x48, 0xc7, 0xc0, 39, 0, 0, 0}, {0xff, 0xc0});
  ASSERT_TRUE(site);
  EXPECT_EQ(site->form, PatchForm::kMove);
  EXPECT_EQ(site->start, kCall - 7);
  EXPECT_EQ(site->moved, 7);
}

TEST(PatchForms, TheMoveMustBeOfTheCallThatTrapped) {
  // The program came here by a jump, with another number.
  EXPECT_FALSE(Recognize({0xb8, 39, 0, 0, 0}, {0xff, 0xc0}, 1));
  EXPECT_FALSE(Recognize({0x48, 0xc7, 0xc0, 39, 0, 0, 0}, {0xff, 0xc0}, 1));
}

TEST(PatchForms, BytesThatOnlyEndLikeAMoveAreLeftAlone) {
  EXPECT_FALSE(Recognize({0x41, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));        // mov $39,%r8d
  EXPECT_FALSE(Recognize({0x48, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));        // in a movabs
  EXPECT_FALSE(Recognize({0x66, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));        // mov $39,%ax; ...
  EXPECT_FALSE(Recognize({0xc7, 0x40, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));  // movl $39,-72(%rax)
  EXPECT_FALSE(Recognize({0x81, 0x7d, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));  // cmpl $39,-72(%rbp)
  EXPECT_FALSE(Recognize({0xc7, 0x44, 0x24, 0xb8, 39, 0, 0, 0}, {0xff, 0xc0}));
}

TEST(PatchForms, InstructionsBehindTheCallThatMayMove) {
  const struct {
    Code bytes;
    int length;
  } cases[] = {
      {{0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff}, 6},              // cmp $-4095,%rax
      {{0x3d, 0x01, 0xf0, 0xff, 0xff}, 5},                    // cmp $-4095,%eax
      {{0x48, 0x89, 0xc3}, 3},                                // mov %rax,%rbx
      {{0x48, 0x85, 0xc0}, 3},                                // test %rax,%rax
      {{0x48, 0x63, 0xd0}, 3},                                // movslq %eax,%rdx
      {{0x83, 0xf8, 0xff}, 3},                                // cmp $-1,%eax
      {{0x48, 0x83, 0xc4, 0x08}, 4},                          // add $8,%rsp
      {{0xc3, 0x0f, 0x1f, 0x00}, 1},                          // ret, padding
      {{0xc3, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0}, 1},  // ret, padding
  };
  for (const auto& c : cases) {
    auto site = Recognize({}, c.bytes);
    ASSERT_TRUE(site) << std::hex << int{c.bytes[0]} << int{c.bytes[1]};
    EXPECT_EQ(site->form, PatchForm::kFollow);
    EXPECT_EQ(site->start, kCall);
    EXPECT_EQ(site->moved, c.length);
  }
}

TEST(PatchForms, InstructionsBehindTheCallThatMustStay) {
  const Code cases[] = {
      {0xc3, 0x48, 0x89},              // ret, and code
      {0x48, 0x89, 0x03, 0x90},        // mov %rax,(%rbx): may fault where it should not
      {0x48, 0x8b, 0x05, 1, 2, 3, 4},  // mov disp(%rip),%rax
      {0x73, 0x01, 0xc3},              // jae
      {0xe8, 0, 0, 0, 0},              // call
      {0x0f, 0x05, 0x90},              // another syscall
      {0x89, 0xc3, 0x90},              // mov %eax,%ebx: two bytes
      {0xeb, 0xfe, 0x90},              // jmp
  };
  for (const Code& c : cases) {
    EXPECT_FALSE(Recognize({}, c)) << std::hex << int{c[0]} << " " << int{c[1]};
  }
}

TEST(PatchForms, NoCallNoSite) {
  Code code(kCodeBefore + kCodeAfter, 0x90);
  EXPECT_FALSE(RecognizeSite(code, kCall, 39));
  code[kCodeBefore] = 0x0f;
  code[kCodeBefore + 1] = 0x34;  // sysenter
  EXPECT_FALSE(RecognizeSite(code, kCall, 39));
}

TEST(PatchForms, MovePatchJumpsToATrampolineThatEntersWithTheReturnAddress) {
  auto site = Recognize({0xb8, 39, 0, 0, 0}, {0xff, 0xc0});
  ASSERT_TRUE(site);
  uint64_t at = Place(*site);
  PatchCode code = MakePatch(*site, at);
  EXPECT_EQ(code.jump[0], kJumpOpcode);
  EXPECT_EQ(Target(code.jump, 1, site->start), at);
  EXPECT_EQ(memcmp(code.jump + 5, site->original + 5, 3), 0);  // `syscall` stays
  EXPECT_EQ(memcmp(code.trampoline, site->original, 5), 0);    // the mov
  const uint8_t* lea = code.trampoline + 5;
  EXPECT_EQ(lea[0], 0x48);
  EXPECT_EQ(lea[1], 0x8d);
  EXPECT_EQ(lea[2], 0x0d);
  EXPECT_EQ(Target(lea, 3, at + 5), site->after());
  EXPECT_EQ(code.resume, site->after());
  uint64_t entry;
  memcpy(&entry, lea + 9, 8);
  EXPECT_EQ(entry, kEntry);
}

TEST(PatchForms, FollowPatchReturnsToTheMovedInstructionAndThenBehindIt) {
  const Code cmp = {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff};
  auto site = Recognize({}, cmp);
  ASSERT_TRUE(site);
  uint64_t at = Place(*site);
  PatchCode code = MakePatch(*site, at);
  EXPECT_EQ(Target(code.jump, 1, site->start), at);
  uint64_t tail = code.resume - at;
  ASSERT_LE(tail + cmp.size() + 5, kTrampolineSize);
  EXPECT_EQ(Target(code.trampoline, 3, at), code.resume);  // lea resume,%rcx
  EXPECT_EQ(memcmp(code.trampoline + tail, cmp.data(), cmp.size()), 0);
  const uint8_t* back = code.trampoline + tail + cmp.size();
  EXPECT_EQ(back[0], 0xe9);
  EXPECT_EQ(Target(back, 1, at + tail + cmp.size()), site->after() + cmp.size());
}

TEST(PatchForms, FollowPatchFaultsWhereTheMovedInstructionWas) {
  // A jump to it, or a thread that was inside the call, meets the third byte of ours.
  auto site = Recognize({}, {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff});
  ASSERT_TRUE(site);
  int fits = 0;
  for (uint64_t at = kCall + 0x100000; at < kCall + 0x110000; at += kTrampolineSize) {
    if (!TrampolineFits(*site, at)) continue;
    ++fits;
    uint8_t third = MakePatch(*site, at).jump[2];
    // hlt, cli, sti, in, out, ins, outs and what 64-bit mode does not have; never a prefix.
    EXPECT_TRUE(third != 0x90 && third != 0x66 && third != 0x0f && (third & 0xf0) != 0x40)
        << std::hex << int{third};
  }
  EXPECT_GT(fits, 64);  // an arena has places for many
}

TEST(PatchForms, TrampolinesOutOfReachDoNotFit) {
  auto site = Recognize({0xb8, 39, 0, 0, 0}, {0xff, 0xc0});
  ASSERT_TRUE(site);
  EXPECT_TRUE(TrampolineFits(*site, kCall + 0x10000000));
  EXPECT_TRUE(TrampolineFits(*site, kCall - 0x10000000));
  EXPECT_FALSE(TrampolineFits(*site, kCall + 0x80000000));
  EXPECT_FALSE(TrampolineFits(*site, kCall - 0x80000100));
}

TEST(PatchForms, AThreadInsideATrampolineStandsAtTheCallOrBehindIt) {
  auto move = Recognize({0xb8, 39, 0, 0, 0}, {0xff, 0xc0});
  ASSERT_TRUE(move);
  EXPECT_EQ(GuestAddressInTrampoline(*move, 0), move->start);
  EXPECT_EQ(GuestAddressInTrampoline(*move, 5), kCall);
  auto follow = Recognize({}, {0x48, 0x89, 0xc3});
  ASSERT_TRUE(follow);
  uint64_t at = Place(*follow);
  uint64_t tail = MakePatch(*follow, at).resume - at;
  EXPECT_EQ(GuestAddressInTrampoline(*follow, 0), kCall);
  EXPECT_EQ(GuestAddressInTrampoline(*follow, tail), kCall + 2);
  EXPECT_EQ(GuestAddressInTrampoline(*follow, tail + 3), kCall + 5);
}

}  // namespace
}  // namespace msentry::systrap
