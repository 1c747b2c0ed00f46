// Interrupt(): never lost, whatever it races with.
#include <thread>

#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(spin_counting);

class InterruptTest : public PlatformTest {};

TEST_P(InterruptTest, EndsASpinInGuestCode) {
  Run([&] {
    Guest guest = NewGuest(k_spin_counting);
    guest.registers.rdi = kData;
    std::atomic<int> rounds{0};
    sched::Completion ended;
    scheduler().Spawn("guest", [&] {
      for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(guest.Switch().kind, Event::Kind::kInterrupted);
        EXPECT_GE(guest.registers.rip, kCode);
        EXPECT_LT(guest.registers.rip, kCode + 16);
        ++rounds;
      }
      ended.Signal();
    });
    for (int i = 0; i < 50; ++i) {
      uint64_t before = guest.Read(kData);
      while (guest.Read(kData) == before) sched::Park(sched::NowNs() + 50'000);
      guest.thread->Interrupt();
      while (rounds.load() <= i) sched::Park(sched::NowNs() + 50'000);
    }
    ended.Wait();
  });
}

TEST_P(InterruptTest, BeforeTheSwitchEndsTheNextOne) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    arch::Registers before = guest.registers;
    guest.thread->Interrupt();
    guest.thread->Interrupt();  // idempotent
    EXPECT_EQ(guest.Switch().kind, Event::Kind::kInterrupted);
    EXPECT_EQ(guest.registers.rip, before.rip);
    EXPECT_EQ(guest.registers.rax, before.rax);
    guest.ExpectSyscall(39);
    guest.ExpectSyscall(39);
  });
}

TEST_P(InterruptTest, ResultOfTheCallSurvivesAnInterrupt) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    guest.registers.rax = 0x77;
    guest.thread->Interrupt();
    ASSERT_EQ(guest.Switch().kind, Event::Kind::kInterrupted);
    EXPECT_EQ(guest.registers.rax, 0x77u);
  });
}

TEST_P(InterruptTest, RacingWithSystemCallsIsNeverLost) {
  // Each interrupt gives at least one kInterrupted after it, and no call is lost or doubled.
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    std::atomic<int> sent{0}, seen{0};
    std::atomic<bool> stop{false};
    std::thread sender([&] {
      for (int i = 0; i < 400; ++i) {
        guest.thread->Interrupt();
        sent.store(i + 1);
        while (seen.load() < i + 1) std::this_thread::yield();
      }
      stop.store(true);
    });
    uint64_t calls = 0;
    while (!stop.load()) {
      Event event = guest.Switch();
      if (event.kind == Event::Kind::kInterrupted) {
        seen.fetch_add(1);
        continue;
      }
      ASSERT_EQ(event.kind, Event::Kind::kSyscall);
      ASSERT_EQ(guest.registers.syscall_number(), 39u);
      ASSERT_EQ(guest.registers.rbx, calls);
      ++calls;
    }
    sender.join();
    EXPECT_EQ(seen.load(), 400);
  });
}

TEST_P(InterruptTest, DuringMemoryBatchesDoesNoHarm) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    std::atomic<bool> stop{false};
    std::thread sender([&] {
      while (!stop.load()) {
        guest.thread->Interrupt();
        std::this_thread::yield();
      }
    });
    for (int i = 0; i < 300; ++i) {
      MemoryBatch batch;
      batch.MapAnonymous(0x10000000, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
      batch.Unmap(0x10000000, kPage);
      ASSERT_TRUE(guest.thread->Apply(batch).ok());
      if (i % 10 == 0) {
        Guest child = guest.Fork();
        while (child.Switch().kind != Event::Kind::kSyscall) {
        }
      }
      Event event = guest.Switch();
      ASSERT_TRUE(event.kind == Event::Kind::kSyscall || event.kind == Event::Kind::kInterrupted);
    }
    stop.store(true);
    sender.join();
  });
}

PLATFORM_TEST_SUITE(InterruptTest);

}  // namespace
}  // namespace msentry::platform
