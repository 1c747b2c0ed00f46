// A pair without a kernel: who controls it is played by the test.
#include "fsimpl/devpts/terminal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

namespace msentry::devpts {
namespace {

class FakeJobs : public vfs::JobControl {
 public:
  void OpenedTerminal(vfs::Terminal&) override {}
  Result<> SetControlling(vfs::Terminal&, bool) override { return Ok(); }
  Result<> GiveUpControlling(vfs::Terminal&) override { return Ok(); }
  Result<int> ForegroundGroup(vfs::Terminal&, bool) override { return 1; }
  Result<> SetForegroundGroup(vfs::Terminal&, int) override { return Ok(); }
  Result<int> SessionOf(vfs::Terminal&, bool) override { return 1; }
  Result<> CheckBackground(vfs::Terminal&, int signo) override {
    if (background) return signo == SIGTTIN ? Errno::kERESTARTSYS : Errno::kEIO;
    return Ok();
  }
  void SignalForeground(vfs::Terminal&, int signo) override { signals.push_back(signo); }
  void Hangup(vfs::Terminal&) override { ++hangups; }
  vfs::Terminal* ControllingTerminal() override { return nullptr; }

  std::vector<int> signals;
  int hangups = 0;
  bool background = false;
};

class TerminalTest : public testing::Test {
 protected:
  TerminalTest()
      : scheduler_(MUST(sched::Scheduler::Create({.workers = 1}))),
        pty_(MakeRef<Pty>(0, 0, 5, jobs_, *scheduler_, [this] { gone_ = true; })) {
    pty_->Unlock();
    MUST(pty_->SlaveOpened(false));
  }
  ~TerminalTest() override {
    pty_->SlaveClosed();
    pty_.Reset();
    EXPECT_TRUE(gone_);
  }
  std::string Master() {
    char text[4096];
    Result<size_t> n = pty_->MasterRead(text);
    return n.ok() ? std::string(text, *n) : ErrnoName(n.error());
  }
  std::string Slave(size_t room = 4096) {
    std::string text(room, '\0');
    Result<size_t> n = pty_->SlaveRead(text);
    return n.ok() ? text.substr(0, *n) : ErrnoName(n.error());
  }
  void Type(std::string_view text) { EXPECT_EQ(*pty_->MasterWrite(text), text.size()); }
  template <typename T>
  std::string Ioctl(uint32_t command, T& value) {
    vfs::SentryMemory memory;
    auto done = pty_->SlaveIoctl(command, reinterpret_cast<uint64_t>(&value), memory);
    return done.ok() ? "ok" : ErrnoName(done.error());
  }
  void Raw(uint8_t least, uint8_t tenths) {
    abi::Termios termios{};
    ASSERT_EQ(Ioctl(TCGETS, termios), "ok");
    termios.iflag = termios.oflag = termios.lflag = 0;
    termios.cc[VMIN] = least;
    termios.cc[VTIME] = tenths;
    ASSERT_EQ(Ioctl(TCSETS, termios), "ok");
  }

  FakeJobs jobs_;
  bool gone_ = false;
  std::unique_ptr<sched::Scheduler> scheduler_;
  RefPtr<Pty> pty_;
};

TEST_F(TerminalTest, LinesArriveWhole) {
  Type("ab");
  EXPECT_EQ(Slave(), "EAGAIN");
  EXPECT_EQ(pty_->SlaveReadiness(sched::kIn), 0u);
  Type("c\n");
  EXPECT_EQ(pty_->SlaveReadiness(sched::kIn), sched::kIn);
  EXPECT_EQ(Slave(2), "ab");
  EXPECT_EQ(Slave(), "c\n");
  EXPECT_EQ(Master(), "abc\r\n");  // the echo
}

TEST_F(TerminalTest, OutputGetsCarriageReturns) {
  EXPECT_EQ(*pty_->SlaveWrite("a\nb"), 3u);
  EXPECT_EQ(Master(), "a\r\nb");
  EXPECT_EQ(Master(), "EAGAIN");
}

TEST_F(TerminalTest, ControlCharactersAreSignals) {
  Type("\x03\x1c\x1a");
  EXPECT_EQ(jobs_.signals, (std::vector<int>{SIGINT, SIGQUIT, SIGTSTP}));
  EXPECT_EQ(Slave(), "EAGAIN");
}

TEST_F(TerminalTest, RawReadsCountBytes) {
  Raw(3, 0);
  Type("ab");
  EXPECT_EQ(Slave(), "EAGAIN");
  Type("c");
  EXPECT_EQ(Slave(), "abc");
  EXPECT_EQ(Master(), "EAGAIN");  // no echo
  Raw(0, 0);
  EXPECT_EQ(Slave(), "");
}

TEST_F(TerminalTest, WindowSizeChangesAreSignalledOnce) {
  abi::Winsize size{};
  EXPECT_EQ(Ioctl(TIOCGWINSZ, size), "ok");
  EXPECT_EQ(size.row, 0);
  size.row = 24;
  size.col = 80;
  EXPECT_EQ(Ioctl(TIOCSWINSZ, size), "ok");
  EXPECT_EQ(Ioctl(TIOCSWINSZ, size), "ok");
  EXPECT_EQ(jobs_.signals, (std::vector<int>{SIGWINCH}));
}

TEST_F(TerminalTest, ClosedMasterHangsUp) {
  pty_->MasterClosed();
  EXPECT_EQ(jobs_.hangups, 1);
  EXPECT_EQ(Slave(), "");
  Result<size_t> written = pty_->SlaveWrite("x");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error(), Errno::kEIO);
  EXPECT_TRUE(pty_->SlaveReadiness(sched::kIn) & sched::kHup);
}

TEST_F(TerminalTest, ClosedSlaveIsAnErrorUntilItIsOpenedAgain) {
  EXPECT_EQ(*pty_->SlaveWrite("bye"), 3u);
  pty_->SlaveClosed();
  EXPECT_EQ(Master(), "bye");
  EXPECT_EQ(Master(), "EIO");
  MUST(pty_->SlaveOpened(false));
  EXPECT_EQ(Master(), "EAGAIN");
}

TEST_F(TerminalTest, WhatNobodyReadsDoesNotGrow) {
  size_t typed = 0, written = 0;
  for (int i = 0; i < 1000; ++i) {
    typed += pty_->MasterWrite(std::string(1000, 'x')).value_or(0);
    written += pty_->SlaveWrite(std::string(1000, 'y')).value_or(0);
  }
  EXPECT_LT(written, size_t{1} << 17);
  EXPECT_EQ(pty_->SlaveReadiness(sched::kOut), 0u);
  // Typing goes on being taken (a full line drops it, with a bell), as on Linux.
  EXPECT_GE(typed, 4095u);
}

}  // namespace
}  // namespace msentry::devpts
