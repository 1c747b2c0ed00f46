#include "sentry/arch/signal_frame.h"

#include <gtest/gtest.h>

namespace msentry::arch {
namespace {

TEST(SignalFrame, HandlerStackIsAlignedAsAfterACall) {
  for (uint64_t top = 0x7000'0000; top < 0x7000'0100; ++top) {
    FramePlace place = PlaceFrame(top, 832);
    EXPECT_EQ(place.frame % 16, 8u);
    EXPECT_EQ(place.fpstate % 64, 0u);
    EXPECT_LE(place.fpstate + place.fpstate_size, top);
    EXPECT_LE(place.frame + sizeof(SignalFrame), place.fpstate);
  }
}

TEST(SignalFrame, ContextRoundTripKeepsPrivilegedFlags) {
  Registers regs{};
  regs.rip = 0x401000, regs.rsp = 0x7fff0000, regs.rax = 7, regs.eflags = 0x202, regs.r15 = 15;
  abi::SigContext context = SaveContext(regs, 0, 0, 0);
  context.eflags = ~uint64_t{0};
  Registers out{};
  out.eflags = 0x202;
  RestoreContext(context, out);
  EXPECT_EQ(out.rip, regs.rip);
  EXPECT_EQ(out.rsp, regs.rsp);
  EXPECT_EQ(out.rax, 7u);
  EXPECT_EQ(out.r15, 15u);
  EXPECT_EQ(out.eflags & 0x3000, 0u);  // IOPL stays out of reach
  EXPECT_NE(out.eflags & 1, 0u);
  EXPECT_EQ(out.orig_rax, ~uint64_t{0});
}

TEST(SignalFrame, SealedAreaAnnouncesItsSize) {
  std::vector<std::byte> area(832);
  SealXsave(area);
  EXPECT_EQ(area.size(), 836u);
  EXPECT_EQ(AnnouncedXsaveSize(area, 832), 832u);
  EXPECT_EQ(AnnouncedXsaveSize(area, 600), 512u);  // larger than ours: only the FXSAVE part counts
}

TEST(SignalFrame, PlainFxsaveAreaIsWidened) {
  std::vector<std::byte> area(512);
  EXPECT_EQ(AnnouncedXsaveSize(area, 832), 512u);
  WidenFxsave(area, 832);
  EXPECT_EQ(area.size(), 832u);
  EXPECT_EQ(area[512], std::byte{3});
}

}  // namespace
}  // namespace msentry::arch
