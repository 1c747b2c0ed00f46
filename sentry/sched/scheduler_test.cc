#include "sentry/sched/scheduler.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "sentry/base/check.h"

namespace msentry::sched {
namespace {

// Runs `body` as a fiber on `workers` workers; returns when it has ended.
Scheduler::Stats RunFiber(int workers, absl::AnyInvocable<void(Scheduler&)> body) {
  auto scheduler = MUST(Scheduler::Create({.workers = workers}));
  scheduler->Spawn("test", [&] {
    body(*scheduler);
    scheduler->Stop();
  });
  scheduler->Run();
  return scheduler->stats();
}

TEST(SchedulerTest, RejectsNoWorkers) {
  EXPECT_EQ(Scheduler::Create({.workers = 0}).error(), Errno::kEINVAL);
}

TEST(SchedulerTest, FiberKnowsItself) {
  EXPECT_EQ(CurrentFiber(), nullptr);
  RunFiber(1, [](Scheduler& scheduler) {
    EXPECT_NE(CurrentFiber(), nullptr);
    EXPECT_EQ(&CurrentScheduler(), &scheduler);
  });
}

TEST(SchedulerTest, TokenBeforeParkIsTakenOnce) {
  RunFiber(1, [](Scheduler&) {
    Unpark(CurrentFiber());
    Unpark(CurrentFiber());
    EXPECT_EQ(Park(), ParkResult::kUnparked);
    EXPECT_EQ(Park(NowNs() + 1000), ParkResult::kTimedOut);
  });
}

TEST(SchedulerTest, ParkEndsAtTheDeadlineNotBefore) {
  RunFiber(2, [](Scheduler&) {
    int64_t start = NowNs();
    EXPECT_EQ(Park(start + 3'000'000), ParkResult::kTimedOut);
    EXPECT_GE(NowNs() - start, 3'000'000);
    EXPECT_EQ(Park(start), ParkResult::kTimedOut);
  });
}

TEST(SchedulerTest, UnparkFromAnotherThread) {
  RunFiber(2, [](Scheduler&) {
    for (int i = 0; i < 200; ++i) {
      std::thread thread([fiber = CurrentFiber()] { Unpark(fiber); });
      EXPECT_EQ(Park(), ParkResult::kUnparked);
      thread.join();
    }
  });
}

TEST(SchedulerTest, FibersPingPong) {
  for (int workers : {1, 2, 4}) {
    int rounds = 0;
    RunFiber(workers, [&](Scheduler& scheduler) {
      constexpr int kRounds = 4000;
      std::atomic<int> turn{0};
      Fiber* first = CurrentFiber();
      Completion ended;
      Fiber* second = scheduler.Spawn("second", [&] {
        for (int i = 0; i < kRounds; ++i) {
          while (turn.load() != 1) Park();
          turn.store(0);
          Unpark(first);
        }
        ended.Signal();
      });
      for (; rounds < kRounds; ++rounds) {
        turn.store(1);
        Unpark(second);
        while (turn.load() != 0) Park();
      }
      ended.Wait();
    });
    EXPECT_EQ(rounds, 4000);
  }
}

TEST(SchedulerTest, UnparkOfAFiberThisWorkerWillRunWakesNobody) {
  // Two workers, but the pair takes turns: no wake-up, and hardly a sleep, is needed.
  Scheduler::Stats stats = RunFiber(2, [&](Scheduler& scheduler) {
    std::atomic<int> turn{0};
    Fiber* first = CurrentFiber();
    Completion ended;
    Fiber* second = scheduler.Spawn("second", [&] {
      for (int i = 0; i < 1000; ++i) {
        while (turn.load() != 1) Park();
        turn.store(0);
        Unpark(first);
      }
      ended.Signal();
    });
    for (int i = 0; i < 1000; ++i) {
      turn.store(1);
      Unpark(second);
      while (turn.load() != 0) Park();
    }
    ended.Wait();
  });
  EXPECT_GE(stats.switches, 2000u);
  EXPECT_LE(stats.wakes, 20u);
}

// A busy worker that looks at the host fds in passing used to swallow a sleeper's wake-up for good.
TEST(SchedulerTest, UnparksFromOutsideReachManyFibers) {
  constexpr int kFibers = 20, kRounds = 300;
  std::atomic<int> left{kFibers};
  RunFiber(2, [&](Scheduler& scheduler) {
    struct Reply {
      Mutex mutex;
      std::vector<Completion*> wanted ABSL_GUARDED_BY(mutex);
    } reply;
    std::atomic<bool> stop{false};
    std::thread server([&] {
      while (!stop.load()) {
        std::vector<Completion*> batch;
        {
          MutexLock lock(reply.mutex);
          batch.swap(reply.wanted);
        }
        for (Completion* completion : batch) completion->Signal();
        std::this_thread::yield();
      }
    });
    Fiber* self = CurrentFiber();
    for (int i = 0; i < kFibers; ++i) {
      scheduler.Spawn("client", [&] {
        for (int j = 0; j < kRounds; ++j) {
          Completion completion;
          {
            MutexLock lock(reply.mutex);
            reply.wanted.push_back(&completion);
          }
          completion.Wait();
        }
        if (left.fetch_sub(1) == 1) Unpark(self);
      });
    }
    while (left.load() > 0) Park();
    stop.store(true);
    server.join();
  });
  EXPECT_EQ(left.load(), 0);
}

TEST(SchedulerTest, ThousandsOfFibersParkAndEnd) {
  std::atomic<int> ended{0};
  RunFiber(2, [&](Scheduler& scheduler) {
    constexpr int kFibers = 4000;
    std::vector<Fiber*> fibers;
    Fiber* self = CurrentFiber();
    for (int i = 0; i < kFibers; ++i) {
      fibers.push_back(scheduler.Spawn("f", [&] {
        Park();  // whoever gets past it has been unparked, and is not touched again
        if (ended.fetch_add(1) + 1 == kFibers) Unpark(self);
      }));
    }
    Yield();
    EXPECT_EQ(ended.load(), 0);
    for (Fiber* fiber : fibers) Unpark(fiber);
    while (ended.load() < kFibers) Park();
  });
  EXPECT_EQ(ended.load(), 4000);
}

TEST(SchedulerTest, YieldLetsOthersRun) {
  std::vector<int> order;
  RunFiber(1, [&](Scheduler& scheduler) {
    Completion ended;
    scheduler.Spawn("other", [&] {
      for (int i = 0; i < 3; ++i) {
        order.push_back(1);
        Yield();
      }
      ended.Signal();
    });
    for (int i = 0; i < 3; ++i) {
      order.push_back(0);
      Yield();
    }
    ended.Wait();
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 0, 1, 0, 1}));
}

TEST(SchedulerTest, CompletionIgnoresUnparksAndKeepsThem) {
  RunFiber(2, [](Scheduler&) {
    Completion completion;
    Unpark(CurrentFiber());
    std::thread thread([&completion, fiber = CurrentFiber()] {
      for (int i = 0; i < 100; ++i) Unpark(fiber);
      completion.Signal();
    });
    completion.Wait();
    EXPECT_TRUE(completion.done());
    thread.join();
    EXPECT_EQ(Park(), ParkResult::kUnparked);  // the token is still there
  });
}

TEST(SchedulerTest, CompletionServesPlainThreads) {
  for (int i = 0; i < 200; ++i) {
    Completion completion;
    std::thread thread([&] { completion.Signal(); });
    completion.Wait();
    thread.join();
  }
}

TEST(SchedulerTest, OffloadRunsElsewhereWhileOthersGoOn) {
  RunFiber(1, [](Scheduler& scheduler) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    scheduler.Spawn("writer", [&] { ASSERT_EQ(write(pipe_fds[1], "x", 1), 1); });
    char c = 0;
    pid_t helper = 0;
    Offload([&] {
      helper = gettid();
      ASSERT_EQ(read(pipe_fds[0], &c, 1), 1);  // blocks until the other fiber has run
    });
    EXPECT_EQ(c, 'x');
    EXPECT_NE(helper, gettid());
    close(pipe_fds[0]);
    close(pipe_fds[1]);
  });
}

TEST(SchedulerTest, FiberMutexExcludesAcrossPark) {
  RunFiber(2, [](Scheduler& scheduler) {
    FiberMutex mutex;
    int inside = 0, total = 0;
    std::atomic<int> left{50};
    Fiber* self = CurrentFiber();
    for (int i = 0; i < 50; ++i) {
      scheduler.Spawn("f", [&] {
        for (int j = 0; j < 20; ++j) {
          FiberMutexLock lock(mutex);
          EXPECT_EQ(++inside, 1);
          Yield();
          ++total;
          --inside;
        }
        if (left.fetch_sub(1) == 1) Unpark(self);
      });
    }
    while (left.load() > 0) Park();
    FiberMutexLock lock(mutex);
    EXPECT_EQ(total, 1000);
  });
}

TEST(SchedulerTest, IdleUsesNoCpu) {
  rusage before, after;
  RunFiber(2, [&](Scheduler&) {
    getrusage(RUSAGE_SELF, &before);
    Park(NowNs() + 300'000'000);
    getrusage(RUSAGE_SELF, &after);
  });
  auto us = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000 + r.ru_utime.tv_usec +
           r.ru_stime.tv_usec;
  };
  EXPECT_LT(us(after) - us(before), 20'000);
}

// A guest thread played by a host thread: it posts a request and waits for the answer.
class FakeSlots : public SpinSource {
 public:
  struct Slot {
    std::atomic<int> request{0};  // 1: posted, 0: answered
    std::atomic<bool> running{false};
    Fiber* fiber = nullptr;
  };
  explicit FakeSlots(int n) : slots(n) {}
  int Poll() override {
    int found = 0;
    for (Slot& slot : slots) {
      if (slot.running.load() && slot.request.load() == 1) {
        slot.running.store(false);
        running_.fetch_sub(1);
        Unpark(slot.fiber);
        ++found;
      }
    }
    if (poll_takes_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(poll_takes_ns));
    return found;
  }
  int Running() const override { return running_.load(); }
  void SetDoorbellArmed(bool armed) override { armed_.store(armed); }

  // The fiber: answers and waits for the next request. False: it did not come.
  bool Switch(Slot& slot) {
    slot.request.store(0);  // first: a Poll() must not take the old request for a new one
    running_.fetch_add(1);
    slot.running.store(true);
    const int64_t deadline = NowNs() + 10'000'000'000;
    while (slot.request.load() == 0 || slot.running.load()) {
      if (Park(deadline) == ParkResult::kTimedOut) return false;
    }
    return true;
  }
  // The "stub".
  void Call(Slot& slot, int doorbell) {
    slot.request.store(1);
    if (armed_.load()) {
      uint64_t one = 1;
      ASSERT_EQ(write(doorbell, &one, 8), 8);
      rings.fetch_add(1);
    }
    while (slot.request.load() == 1) std::this_thread::yield();
  }
  std::deque<Slot> slots;
  std::atomic<int> rings{0};
  int64_t poll_takes_ns = 0;  // from the look at the slots to the end of Poll()

 private:
  std::atomic<int> running_{0};
  std::atomic<bool> armed_{true};
};

void DriveSlots(int guests, int workers, int64_t spin_ns, int calls, int64_t poll_takes_ns = 0) {
  auto scheduler = MUST(Scheduler::Create({.workers = workers, .spin_ns = spin_ns}));
  FakeSlots source(guests);
  source.poll_takes_ns = poll_takes_ns;
  scheduler->SetSpinSource(&source);
  std::atomic<int> left{guests}, served{0};
  for (FakeSlots::Slot& slot : source.slots) {
    slot.request.store(1);
    slot.fiber = scheduler->Spawn("task", [&] {
      std::thread guest([&] {
        while (slot.request.load() == 1) std::this_thread::yield();
        for (int i = 0; i < calls; ++i) source.Call(slot, scheduler->doorbell_fd());
      });
      for (int i = 0; i < calls; ++i) {
        CHECK(source.Switch(slot));  // else the request was slept over
        served.fetch_add(1);
      }
      slot.request.store(0);
      guest.join();
      if (left.fetch_sub(1) == 1) scheduler->Stop();
    });
  }
  scheduler->Run();
  EXPECT_EQ(served.load(), guests * calls);
}

TEST(SpinTest, OneGuestIsServed) { DriveSlots(1, 2, 5000, 1000); }
TEST(SpinTest, OneGuestIsServedWithoutSpinning) { DriveSlots(1, 2, 0, 500); }
TEST(SpinTest, NoRequestIsLostWithManyGuests) { DriveSlots(6, 2, 5000, 300); }
TEST(SpinTest, NoRequestIsLostWithOneWorker) { DriveSlots(4, 1, 5000, 300); }
TEST(SpinTest, NoRequestIsLostWithManyWorkers) { DriveSlots(3, 4, 2000, 300); }
// One worker takes the doorbell's event while another one, whose look came too early, still has the
// role: git_life once hung so, everybody asleep.
TEST(SpinTest, NoRingIsLostWhileAnotherWorkerPolls) { DriveSlots(3, 3, 0, 300, 100'000); }

}  // namespace
}  // namespace msentry::sched
