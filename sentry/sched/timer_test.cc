#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "sentry/sched/scheduler.h"
#include "sentry/sched/timer_heap.h"

namespace msentry::sched {
namespace {

void RunFiber(int workers, absl::AnyInvocable<void(Scheduler&)> body) {
  auto scheduler = MUST(Scheduler::Create({.workers = workers}));
  scheduler->Spawn("test", [&] {
    body(*scheduler);
    scheduler->Stop();
  });
  scheduler->Run();
}

TEST(TimerHeapTest, RemovalKeepsTheOrder) {
  std::mt19937 random(1);
  std::vector<internal::TimerNode> nodes(500);
  internal::TimerHeap heap;
  for (auto& node : nodes) {
    node.deadline_ns = random() % 1000;
    heap.Push(&node);
  }
  std::vector<int64_t> left;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (i % 3 == 0) {
      heap.Remove(&nodes[i]);
      EXPECT_FALSE(nodes[i].queued());
    } else {
      left.push_back(nodes[i].deadline_ns);
    }
  }
  std::sort(left.begin(), left.end());
  for (int64_t deadline : left) {
    ASSERT_EQ(heap.first()->deadline_ns, deadline);
    heap.Remove(heap.first());
  }
  EXPECT_TRUE(heap.empty());
}

TEST(TimerTest, FiresOnceAtItsTime) {
  RunFiber(2, [](Scheduler& scheduler) {
    std::atomic<int> fired{0};
    Fiber* self = CurrentFiber();
    Timer timer(scheduler, [&] {
      ++fired;
      Unpark(self);
    });
    int64_t deadline = NowNs() + 2'000'000;
    timer.Arm(deadline);
    while (fired.load() == 0) Park();
    EXPECT_GE(NowNs(), deadline);
    EXPECT_EQ(Park(NowNs() + 2'000'000), ParkResult::kTimedOut);
    EXPECT_EQ(fired.load(), 1);
  });
}

TEST(TimerTest, CancelledTimerDoesNotFire) {
  RunFiber(2, [](Scheduler& scheduler) {
    std::atomic<int> fired{0};
    Timer timer(scheduler, [&] { ++fired; });
    timer.Arm(NowNs() + 1'000'000);
    timer.Cancel();
    Park(NowNs() + 3'000'000);
    EXPECT_EQ(fired.load(), 0);
  });
}

TEST(TimerTest, CallbackMayArmAgain) {
  RunFiber(2, [](Scheduler& scheduler) {
    std::atomic<int> fired{0};
    Fiber* self = CurrentFiber();
    Timer* again = nullptr;
    Timer timer(scheduler, [&] {
      if (++fired < 5) again->Arm(NowNs() + 100'000);
      Unpark(self);
    });
    again = &timer;
    timer.Arm(NowNs() + 100'000);
    while (fired.load() < 5) Park();
  });
}

TEST(TimerTest, EarlierTimerOvertakesASleepingWorker) {
  RunFiber(2, [](Scheduler& scheduler) {
    Fiber* self = CurrentFiber();
    std::atomic<bool> fired{false};
    Timer late(scheduler, [] {});
    late.Arm(NowNs() + 60'000'000'000);
    Park(NowNs() + 2'000'000);  // both workers have slept with the late deadline in view
    Timer soon(scheduler, [&] {
      fired.store(true);
      Unpark(self);
    });
    std::thread([&] { soon.Arm(NowNs() + 1'000'000); }).join();
    while (!fired.load()) Park();
  });
}

TEST(TimerTest, DestructionRacesWithFiring) {
  RunFiber(2, [](Scheduler& scheduler) {
    for (int i = 0; i < 2000; ++i) {
      auto count = std::make_unique<std::atomic<int>>(0);
      Timer timer(scheduler, [p = count.get()] { ++*p; });
      timer.Arm(NowNs() + 1000 * (i % 20));
      if (i % 3 == 0) Yield();
      if (i % 100 == 0) Park(NowNs() + 10'000);
    }
  });
}

TEST(TimerTest, ManyParkedFibersWakeInOrderOfTheirDeadlines) {
  RunFiber(1, [](Scheduler& scheduler) {
    std::vector<int> order;
    std::atomic<int> left{20};
    Fiber* self = CurrentFiber();
    int64_t base = NowNs() + 2'000'000;
    for (int i = 0; i < 20; ++i) {
      scheduler.Spawn("sleeper", [&, i] {
        Park(base + ((i * 7) % 20) * 200'000);
        order.push_back((i * 7) % 20);
        if (left.fetch_sub(1) == 1) Unpark(self);
      });
    }
    while (left.load() > 0) Park();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  });
}

}  // namespace
}  // namespace msentry::sched
