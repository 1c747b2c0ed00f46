#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"

namespace msentry::sched {
namespace {

void RunFiber(absl::AnyInvocable<void(Scheduler&)> body) {
  auto scheduler = MUST(Scheduler::Create({.workers = 2}));
  scheduler->Spawn("test", [&] {
    body(*scheduler);
    scheduler->Stop();
  });
  scheduler->Run();
}

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0); }
  ~Pipe() {
    close(fds[0]);
    close(fds[1]);
  }
  void Write() { EXPECT_EQ(write(fds[1], "x", 1), 1); }
  int fds[2];
};

TEST(HostFdWatchTest, ReportsEveryEdge) {
  RunFiber([](Scheduler& scheduler) {
    Pipe pipe;
    Fiber* self = CurrentFiber();
    std::atomic<int> edges{0};
    auto watch = MUST(HostFdWatch::Create(scheduler, pipe.fds[0], EPOLLIN, [&](uint32_t events) {
      EXPECT_TRUE(events & EPOLLIN);
      ++edges;
      Unpark(self);
    }));
    for (int i = 1; i <= 5; ++i) {
      pipe.Write();
      while (edges.load() < i) Park();
      char c;
      EXPECT_EQ(read(pipe.fds[0], &c, 1), 1);
    }
  });
}

TEST(HostFdWatchTest, ReadyBeforeTheWatch) {
  RunFiber([](Scheduler& scheduler) {
    Pipe pipe;
    pipe.Write();
    Fiber* self = CurrentFiber();
    std::atomic<bool> seen{false};
    auto watch = MUST(HostFdWatch::Create(scheduler, pipe.fds[0], EPOLLIN, [&](uint32_t) {
      seen.store(true);
      Unpark(self);
    }));
    while (!seen.load()) Park();
  });
}

TEST(HostFdWatchTest, TwoWatchesOfOneFd) {
  RunFiber([](Scheduler& scheduler) {
    Pipe pipe;
    Fiber* self = CurrentFiber();
    std::atomic<int> seen{0};
    auto callback = [&](uint32_t) {
      ++seen;
      Unpark(self);
    };
    auto one = MUST(HostFdWatch::Create(scheduler, pipe.fds[0], EPOLLIN, callback));
    auto two = MUST(HostFdWatch::Create(scheduler, pipe.fds[0], EPOLLIN, callback));
    pipe.Write();
    while (seen.load() < 2) Park();
  });
}

TEST(HostFdWatchTest, RegularFileCannotBeWatched) {
  RunFiber([](Scheduler& scheduler) {
    ScopedFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(HostFdWatch::Create(scheduler, file.get(), EPOLLIN, [](uint32_t) {}).error(),
              Errno::kEPERM);
  });
}

TEST(HostFdWatchTest, DestructionRacesWithEvents) {
  RunFiber([](Scheduler& scheduler) {
    Pipe pipe;
    for (int i = 0; i < 2000; ++i) {
      auto count = std::make_unique<std::atomic<int>>(0);
      auto watch = MUST(HostFdWatch::Create(scheduler, pipe.fds[0], EPOLLIN,
                                            [p = count.get()](uint32_t) { ++*p; }));
      pipe.Write();
      if (i % 3 == 0) Yield();
      watch.reset();
      char c;
      EXPECT_EQ(read(pipe.fds[0], &c, 1), 1);
    }
  });
}

}  // namespace
}  // namespace msentry::sched
