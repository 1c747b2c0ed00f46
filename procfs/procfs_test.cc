#include <gtest/gtest.h>

#include "procfs/sysctl.h"
#include "procfs/units.h"

namespace msentry::procfs {
namespace {

TEST(ParseUnsigned, TakesBlanksAroundAndPrefixesInBaseZero) {
  EXPECT_EQ(*ParseUnsigned(" 42\n", 10), 42u);
  EXPECT_EQ(*ParseUnsigned("+7", 10), 7u);
  EXPECT_EQ(*ParseUnsigned("0x1f", 0), 31u);
  EXPECT_EQ(*ParseUnsigned("017", 0), 15u);
  EXPECT_EQ(*ParseUnsigned("0", 0), 0u);
  EXPECT_EQ(*ParseUnsigned("18446744073709551615", 0), ~uint64_t{0});
}

TEST(ParseUnsigned, RefusesEverythingElse) {
  for (const char* text : {"", "\n", "-1", "1x", "x", "1 2", "0x", "++1", "+ 1", "08"}) {
    EXPECT_EQ(ParseUnsigned(text, 0).error(), Errno::kEINVAL) << text;
  }
  EXPECT_EQ(ParseUnsigned("18446744073709551616", 0).error(), Errno::kERANGE);
}

TEST(ParseSigned, KnowsTheLimits) {
  EXPECT_EQ(*ParseSigned("-9223372036854775808", 10), INT64_MIN);
  EXPECT_EQ(*ParseSigned("9223372036854775807", 10), INT64_MAX);
  EXPECT_EQ(*ParseSigned("-0", 10), 0);
  EXPECT_EQ(ParseSigned("9223372036854775808", 10).error(), Errno::kERANGE);
  EXPECT_EQ(ParseSigned("-9223372036854775809", 10).error(), Errno::kERANGE);
  EXPECT_EQ(ParseSigned("-+1", 10).error(), Errno::kEINVAL);
  EXPECT_EQ(ParseSigned("--1", 10).error(), Errno::kEINVAL);
}

TEST(CpuMask, IsAsWideAsTheCpusNeed) {
  EXPECT_EQ(CpuMask({1}, 1), "1");
  EXPECT_EQ(CpuMask({0xf}, 8), "0f");
  EXPECT_EQ(CpuMask({0xffffffffffffffff}, 64), "ffffffff,ffffffff");
  EXPECT_EQ(CpuMask({0xffffffffffffffff, 1}, 65), "1,ffffffff,ffffffff");
  EXPECT_EQ(CpuMask({}, 4), "0");
}

TEST(CpuList, JoinsRuns) {
  EXPECT_EQ(CpuList({1}), "0");
  EXPECT_EQ(CpuList({0b101011}), "0-1,3,5");
  EXPECT_EQ(CpuList({uint64_t{1} << 63, 1}), "63-64");
  EXPECT_EQ(CpuList({}), "");
}

TEST(EscapePath, WritesSpecialCharactersInOctal) {
  EXPECT_EQ(EscapePath("/a b\t\n\\#"), "/a\\040b\\011\\012\\134\\043");
}

const Knob& Find(std::string_view path) {
  for (const Knob& knob : Knobs()) {
    if (path == knob.path) return knob;
  }
  ADD_FAILURE() << path;
  return Knobs()[0];
}

TEST(ParseKnob, TakesWhatLinuxTakes) {
  const Knob& swappiness = Find("vm/swappiness");
  EXPECT_EQ(*ParseKnob(swappiness, "10\n", 1), std::vector<int64_t>{10});
  EXPECT_EQ(*ParseKnob(swappiness, " 0x10", 1), std::vector<int64_t>{16});
  // More numbers than there are: the rest is left.
  EXPECT_EQ(*ParseKnob(swappiness, "1 2", 1), std::vector<int64_t>{1});
  const Knob& range = Find("net/ipv4/tcp_rmem");
  EXPECT_EQ(*ParseKnob(range, "250 32000\t32", 4), (std::vector<int64_t>{250, 32000, 32}));
}

TEST(ParseKnob, RefusesGarbageAndWhatIsOutOfRange) {
  const Knob& swappiness = Find("vm/swappiness");
  for (const char* text : {"", "\n", "-1", "101", "99999999999999999999", "1x", "garbage", "+5"}) {
    EXPECT_EQ(ParseKnob(swappiness, text, 1).error(), Errno::kEINVAL) << text;
  }
  // Any int means an int.
  EXPECT_EQ(*ParseKnob(Find("kernel/panic"), "-2147483648", 1), std::vector<int64_t>{INT_MIN});
  EXPECT_EQ(ParseKnob(Find("kernel/panic"), "2147483648", 1).error(), Errno::kEINVAL);
  // Longs have no sign.
  EXPECT_EQ(ParseKnob(Find("fs/file-max"), "-1", 1).error(), Errno::kEINVAL);
  EXPECT_EQ(ParseKnob(Find("fs/file-max"), "9223372036854775808", 1).error(), Errno::kEINVAL);
}

TEST(Knobs, EveryInitialValueMayBeWrittenBack) {
  for (const Knob& knob : Knobs()) {
    if (knob.initial == nullptr || knob.mode == 0200) continue;
    if (knob.kind != KnobKind::kInts && knob.kind != KnobKind::kLongs) continue;
    // Not one that only starts something.
    if (std::string_view(knob.path) == "vm/drop_caches") continue;
    EXPECT_TRUE(ParseKnob(knob, knob.initial, 8).ok()) << knob.path;
  }
}

}  // namespace
}  // namespace msentry::procfs
