#include "vfs/epoll.h"

#include <sys/epoll.h>

#include "fsimpl/eventfs/event_fd.h"
#include "fsimpl/pipefs/pipe_file.h"
#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"

namespace msentry::vfs {
namespace {

class EpollTest : public testing::Test {
 protected:
  EpollTest() : sh_(vfs_, MountNamespace::Create(MUST(tmpfs::Create({})), 0), RootCreds()) {
    set_ = MakeEpoll(sh_.ctx());
  }
  RefPtr<FileDescription> Event(uint32_t count) {
    return eventfs::MakeEventFd(sh_.ctx(), count, false, O_NONBLOCK);
  }
  void Signal(FileDescription& event) {
    const uint64_t one = 1;
    ASSERT_TRUE(sh_.WriteTo(event, {reinterpret_cast<const char*>(&one), sizeof one}).ok());
  }
  void Drain(FileDescription& event) { ASSERT_TRUE(sh_.ReadFrom(event, 8).ok()); }
  static abi::EpollEvent Wish(uint32_t events, uint64_t data) {
    abi::EpollEvent event{};
    event.events = events;
    event.data = data;
    return event;
  }
  // "data:events" of what is ready, in order.
  std::string Harvest(size_t room = 8) {
    std::vector<abi::EpollEvent> out(room);
    Result<size_t> n = set_->Harvest(out);
    if (!n.ok()) return ErrnoName(n.error());
    std::string text;
    for (size_t i = 0; i < *n; ++i) {
      absl::StrAppend(&text, i ? " " : "", uint64_t{out[i].data}, ":",
                      absl::Hex(uint32_t{out[i].events}));
    }
    return text;
  }

  Vfs vfs_;
  Shell sh_;
  RefPtr<EpollFile> set_;
};

TEST_F(EpollTest, LevelTriggeredIsReadyUntilDrained) {
  auto event = Event(0);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN, 7)));
  EXPECT_EQ(Harvest(), "EAGAIN");
  Signal(*event);
  EXPECT_EQ(Harvest(), "7:1");
  EXPECT_EQ(Harvest(), "7:1");
  Drain(*event);
  EXPECT_EQ(Harvest(), "EAGAIN");
}

TEST_F(EpollTest, EdgeTriggeredIsReadyOnceForEachChange) {
  auto event = Event(1);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN | EPOLLET, 7)));
  EXPECT_EQ(Harvest(), "7:1");
  EXPECT_EQ(Harvest(), "EAGAIN");
  Signal(*event);
  EXPECT_EQ(Harvest(), "7:1");
  EXPECT_EQ(Harvest(), "EAGAIN");
}

TEST_F(EpollTest, OneShotWaitsForModify) {
  auto event = Event(1);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN | EPOLLONESHOT, 7)));
  EXPECT_EQ(Harvest(), "7:1");
  Signal(*event);
  EXPECT_EQ(Harvest(), "EAGAIN");
  MUST(set_->Modify(*event, 3, Wish(EPOLLIN, 8)));
  EXPECT_EQ(Harvest(), "8:1");
}

TEST_F(EpollTest, OneDescriptionUnderTwoNumbers) {
  auto event = Event(1);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN, 3)));
  EXPECT_EQ(Outcome(set_->Add(*event, 3, Wish(EPOLLIN, 3))), "EEXIST");
  MUST(set_->Add(*event, 4, Wish(EPOLLIN, 4)));
  EXPECT_EQ(Harvest(), "3:1 4:1");
  MUST(set_->Remove(*event, 3));
  EXPECT_EQ(Outcome(set_->Remove(*event, 3)), "ENOENT");
  EXPECT_EQ(Outcome(set_->Modify(*event, 3, Wish(EPOLLIN, 3))), "ENOENT");
  EXPECT_EQ(Harvest(), "4:1");
}

TEST_F(EpollTest, TheLastReferenceLeavesTheSet) {
  auto event = Event(1);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN, 7)));
  event.Reset();
  EXPECT_EQ(Harvest(), "EAGAIN");
  // The number is free again.
  auto other = Event(1);
  MUST(set_->Add(*other, 3, Wish(EPOLLIN, 9)));
  EXPECT_EQ(Harvest(), "9:1");
}

TEST_F(EpollTest, EverybodyGetsATurnWhenRoomIsShort) {
  auto a = Event(1), b = Event(1), c = Event(1);
  MUST(set_->Add(*a, 1, Wish(EPOLLIN, 1)));
  MUST(set_->Add(*b, 2, Wish(EPOLLIN, 2)));
  MUST(set_->Add(*c, 3, Wish(EPOLLIN, 3)));
  EXPECT_EQ(Harvest(1), "1:1");
  EXPECT_EQ(Harvest(1), "2:1");
  EXPECT_EQ(Harvest(1), "3:1");
  EXPECT_EQ(Harvest(1), "1:1");
}

TEST_F(EpollTest, HangUpsComeUnasked) {
  auto [read_end, write_end] = pipefs::MakePipe(sh_.ctx(), 0);
  MUST(set_->Add(*read_end, 3, Wish(0, 7)));
  write_end.Reset();
  EXPECT_EQ(Harvest(), absl::StrCat("7:", absl::Hex(EPOLLHUP)));
}

TEST_F(EpollTest, SetsInSets) {
  auto event = Event(0);
  auto outer = MakeEpoll(sh_.ctx());
  MUST(set_->Add(*event, 3, Wish(EPOLLIN, 7)));
  MUST(outer->Add(*set_, 4, Wish(EPOLLIN, 8)));
  EXPECT_EQ(outer->Readiness(sched::kIn), 0u);
  Signal(*event);
  EXPECT_EQ(outer->Readiness(sched::kIn), sched::kIn);
  EXPECT_EQ(Outcome(set_->Add(*outer, 5, Wish(EPOLLIN, 0))), "ELOOP");
  EXPECT_EQ(Outcome(set_->Add(*set_, 6, Wish(EPOLLIN, 0))), "EINVAL");
}

TEST_F(EpollTest, RegularFilesCannotBeWatched) {
  auto file = sh_.Open("/f", O_CREAT | O_RDWR);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(Outcome(set_->Add(**file, 3, Wish(EPOLLIN, 0))), "EPERM");
}

TEST_F(EpollTest, NotifiesItsOwnWaiters) {
  auto event = Event(0);
  MUST(set_->Add(*event, 3, Wish(EPOLLIN, 7)));
  int calls = 0;
  sched::Waiter waiter(sched::kIn, [&](sched::EventMask) { ++calls; });
  set_->wait_queue().Add(&waiter);
  Signal(*event);
  EXPECT_GE(calls, 1);
  set_->wait_queue().Remove(&waiter);
}

}  // namespace
}  // namespace msentry::vfs
