#include "fsimpl/devpts/line_discipline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <termios.h>

namespace msentry::devpts {
namespace {

class LineDisciplineTest : public testing::Test {
 protected:
  void Type(std::string_view s) { EXPECT_EQ(tty_.Receive(s, &signals_), s.size()); }
  std::string ReadLine(size_t n = 4096) {
    std::string s(n, 0);
    s.resize(tty_.Read(s, &eof_));
    return s;
  }
  std::string Output() {
    std::string s(LineDiscipline::kOutputCapacity, 0);
    s.resize(tty_.TakeOutput(s));
    return s;
  }
  void SetRaw(int min, int time) {
    abi::Termios t = tty_.termios();
    t.iflag &= ~(ICRNL | IXON);
    t.lflag &= ~(ICANON | ECHO | ISIG);
    t.oflag &= ~OPOST;
    t.cc[VMIN] = min;
    t.cc[VTIME] = time;
    tty_.SetTermios(t);
  }
  LineDiscipline tty_;
  std::vector<int> signals_;
  bool eof_ = false;
};

TEST_F(LineDisciplineTest, CanonicalLineIsReadableOnlyWhenComplete) {
  Type("ab");
  EXPECT_FALSE(tty_.InputReady());
  Type("c\r");
  EXPECT_TRUE(tty_.InputReady());
  EXPECT_EQ(ReadLine(), "abc\n");
  EXPECT_EQ(Output(), "abc\r\n");
}

TEST_F(LineDisciplineTest, ReadTakesOneLineAtATime) {
  Type("one\ntwo\n");
  EXPECT_EQ(ReadLine(2), "on");
  EXPECT_EQ(ReadLine(), "e\n");
  EXPECT_EQ(ReadLine(), "two\n");
  EXPECT_FALSE(tty_.InputReady());
}

TEST_F(LineDisciplineTest, EraseWordAndLineEditTheLine) {
  Type("abx\x7f");
  EXPECT_EQ(Output(), "abx\b \b");
  Type(" foo bar\x17");
  Type("baz\n");
  EXPECT_EQ(ReadLine(), "ab foo baz\n");
  Type("garbage\x15ok\n");
  EXPECT_EQ(ReadLine(), "ok\n");
}

TEST_F(LineDisciplineTest, EofEndsLineWithoutCharacterOrGivesEndOfFile) {
  Type("ab\x04");
  EXPECT_EQ(ReadLine(), "ab");
  EXPECT_FALSE(eof_);
  EXPECT_FALSE(tty_.InputReady());
  Type("\x04");
  EXPECT_TRUE(tty_.InputReady());
  EXPECT_EQ(ReadLine(), "");
  EXPECT_TRUE(eof_);
}

TEST_F(LineDisciplineTest, ControlCharactersRaiseSignalsAndFlush) {
  Type("abc\x03");
  EXPECT_EQ(signals_, std::vector<int>{SIGINT});
  EXPECT_EQ(Output(), "^C");
  Type("d\n");
  EXPECT_EQ(ReadLine(), "d\n");
  Type("\x1c\x1a");
  EXPECT_EQ(signals_, (std::vector<int>{SIGINT, SIGQUIT, SIGTSTP}));
}

TEST_F(LineDisciplineTest, LiteralNextQuotesAControlCharacter) {
  Type("\x16\x03\n");
  EXPECT_TRUE(signals_.empty());
  EXPECT_EQ(ReadLine(), "\x03\n");
}

TEST_F(LineDisciplineTest, StopAndStartHoldOutput) {
  Type("\x13");
  EXPECT_EQ(tty_.Write("x"), 0u);
  Type("\x11");
  EXPECT_EQ(tty_.Write("x"), 1u);
  EXPECT_EQ(Output(), "x");
}

TEST_F(LineDisciplineTest, RawModeHandsBytesThrough) {
  SetRaw(1, 0);
  Type("\x03\r\x04");
  EXPECT_TRUE(signals_.empty());
  EXPECT_EQ(ReadLine(), "\x03\r\x04");
  EXPECT_EQ(tty_.Write("a\nb"), 3u);
  EXPECT_EQ(Output(), "a\nb");
}

TEST_F(LineDisciplineTest, RawReadinessFollowsMinimum) {
  SetRaw(3, 0);
  Type("ab");
  EXPECT_FALSE(tty_.InputReady());
  Type("c");
  EXPECT_TRUE(tty_.InputReady());
}

TEST_F(LineDisciplineTest, LongLineIsCutAndCanStillBeEnded) {
  Type(std::string(10000, 'x'));
  Type("\n");
  std::string expected(4095, 'x');
  expected.push_back('\n');
  EXPECT_EQ(ReadLine(8192), expected);
}

TEST_F(LineDisciplineTest, RawInputStopsWhenFull) {
  SetRaw(1, 0);
  EXPECT_EQ(tty_.Receive(std::string(5000, 'y'), &signals_), LineDiscipline::kInputCapacity);
}

TEST_F(LineDisciplineTest, LeavingCanonicalModeMakesPartialLineReadable) {
  Type("ab");
  SetRaw(1, 0);
  EXPECT_TRUE(tty_.InputReady());
  EXPECT_EQ(ReadLine(), "ab");
}

TEST_F(LineDisciplineTest, OutputIsBounded) {
  EXPECT_LT(tty_.Write(std::string(100000, '\n')), 100000u);
  EXPECT_LE(Output().size(), LineDiscipline::kOutputCapacity);
}

TEST_F(LineDisciplineTest, TabErasesToColumnWhereItBegan) {
  Type("ab\t\x7f");
  EXPECT_EQ(Output(), "ab\t\b\b\b\b\b\b");
}

}  // namespace
}  // namespace msentry::devpts
