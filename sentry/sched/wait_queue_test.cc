#include "sentry/sched/wait_queue.h"

#include <gtest/gtest.h>

#include <thread>

#include "sentry/sched/scheduler.h"

namespace msentry::sched {
namespace {

TEST(WaitQueueTest, NotifiesMatchingMasksOnly) {
  WaitQueue queue;
  EventMask in = 0, out = 0;
  Waiter reader(kIn | kHup, [&](EventMask e) { in |= e; });
  Waiter writer(kOut, [&](EventMask e) { out |= e; });
  EXPECT_TRUE(queue.empty());
  queue.Notify(kIn);
  queue.Add(&reader);
  queue.Add(&writer);
  EXPECT_FALSE(queue.empty());
  queue.Notify(kIn);
  EXPECT_EQ(in, kIn);
  EXPECT_EQ(out, 0u);
  queue.Remove(&reader);
  queue.Remove(&reader);
  queue.Notify(kHup | kOut);
  EXPECT_EQ(in, kIn);
  EXPECT_EQ(out, kHup | kOut);
  queue.Remove(&writer);
  EXPECT_TRUE(queue.empty());
}

TEST(WaitQueueTest, OneExclusiveWaiterAfterAllOthers) {
  WaitQueue queue;
  std::string calls;
  Waiter a(kIn, [&](EventMask) { calls += 'a'; });
  Waiter x(kIn, [&](EventMask) { calls += 'x'; });
  Waiter y(kIn, [&](EventMask) { calls += 'y'; });
  Waiter b(kIn, [&](EventMask) { calls += 'b'; });
  x.exclusive = y.exclusive = true;
  for (Waiter* w : {&x, &a, &y, &b}) queue.Add(w);
  queue.Notify(kIn);
  EXPECT_EQ(calls, "bax");
  queue.Remove(&x);
  queue.Notify(kIn);
  EXPECT_EQ(calls, "baxbay");
  for (Waiter* w : {&a, &y, &b}) queue.Remove(w);
}

TEST(WaitQueueTest, NoWakeUpIsLost) {
  auto scheduler = MUST(Scheduler::Create({.workers = 2}));
  WaitQueue queue;
  std::atomic<int> value{0};
  constexpr int kRounds = 4000;
  scheduler->Spawn("consumer", [&] {
    Waiter waiter(kIn, [fiber = CurrentFiber()](EventMask) { Unpark(fiber); });
    for (int i = 1; i <= kRounds; ++i) {
      queue.Add(&waiter);
      while (value.load() < i) Park();
      queue.Remove(&waiter);
    }
    scheduler->Stop();
  });
  std::thread producer([&] {
    for (int i = 1; i <= kRounds; ++i) {
      value.store(i);
      queue.Notify(kIn);
      if (i % 16 == 0) std::this_thread::yield();
    }
  });
  scheduler->Run();
  producer.join();
}

}  // namespace
}  // namespace msentry::sched
