// Address spaces and threads: fork, clone, death.
#include <csignal>

#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(store);
PLATFORM_SNIPPET(spin);
PLATFORM_SNIPPET(wait_word);

class ProcessTest : public PlatformTest {
 protected:
  // Runs `body` on its own fiber; Wait() on what it returns before the fixture goes.
  std::unique_ptr<sched::Completion> Go(absl::AnyInvocable<void()> body) {
    auto done = std::make_unique<sched::Completion>();
    scheduler().Spawn("helper", [body = std::move(body), d = done.get()]() mutable {
      body();
      d->Signal();
    });
    return done;
  }
};

TEST_P(ProcessTest, ForkCopiesMemoryAndRegisters) {
  Run([&] {
    Guest parent = NewGuest(k_call_loop);
    parent.Write(kData, 1);
    parent.ExpectSyscall(39);
    Guest child = parent.Fork();
    EXPECT_NE(child.space->host_pid(), parent.space->host_pid());
    EXPECT_EQ(child.Read(kData), 1u);
    child.Write(kData, 2);
    parent.Write(kData + 8, 3);
    EXPECT_EQ(parent.Read(kData), 1u);
    EXPECT_EQ(child.Read(kData), 2u);
    EXPECT_EQ(child.Read(kData + 8), 0u);
    uint64_t rbx = child.registers.rbx;
    child.registers.rax = 0;
    child.ExpectSyscall(39);
    EXPECT_EQ(child.registers.rbx, rbx + 1);
    parent.ExpectSyscall(39);
  });
}

TEST_P(ProcessTest, ForkedMemoryIsCopyOnWriteForGuestCodeToo) {
  Run([&] {
    Guest parent = NewGuest(k_store);
    parent.registers.rdi = kData;
    parent.registers.rsi = 1;
    parent.ExpectSyscall(1000);
    Guest child = parent.Fork();
    child.registers.rip = kCode;
    child.registers.rdi = kData;
    child.registers.rsi = 2;
    child.ExpectSyscall(1000);
    EXPECT_EQ(child.registers.arg(0), 2u);
    EXPECT_EQ(parent.Read(kData), 1u);
  });
}

TEST_P(ProcessTest, SharedMappingStaysSharedAfterFork) {
  Run([&] {
    Guest parent = NewGuest(k_call_loop);
    MemoryBatch batch;
    batch.MapAnonymous(0x10000000, kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
    ASSERT_TRUE(parent.thread->Apply(batch).ok());
    Guest child = parent.Fork();
    child.Write(0x10000000, 42);
    EXPECT_EQ(parent.Read(0x10000000), 42u);
  });
}

TEST_P(ProcessTest, ForkOfFork) {
  Run([&] {
    Guest first = NewGuest(k_call_loop);
    first.ExpectSyscall(39);
    Guest second = first.Fork();
    Guest third = second.Fork();
    first = Guest();  // ancestors may go first
    second = Guest();
    third.ExpectSyscall(39);
    third.Write(kData, 5);
    EXPECT_EQ(third.Read(kData), 5u);
  });
}

TEST_P(ProcessTest, ThreadsShareMemory) {
  Run([&] {
    Guest waiter = NewGuest(k_wait_word);
    waiter.registers.rdi = kData;
    Guest writer = waiter.NewThread(kCode, kStackTop - 2 * kPage);
    auto done = Go([&] { waiter.ExpectSyscall(1000); });
    // The other thread of the guest runs at the same time, and sets the word.
    writer.Write(kData + 64, 1);
    writer.registers.rdi = kData + 64;
    writer.ExpectSyscall(1000);
    writer.Write(kData, 1);
    done->Wait();
  });
}

TEST_P(ProcessTest, FirstThreadMayEndFirst) {
  Run([&] {
    Guest first = NewGuest(k_call_loop);
    first.ExpectSyscall(39);
    Guest second = first.NewThread(kCode, kStackTop - 2 * kPage);
    first.thread.reset();
    for (int i = 0; i < 10; ++i) second.ExpectSyscall(39);
    second.Write(kData, 1);
    EXPECT_EQ(second.Read(kData), 1u);
    Guest third = second.NewThread(kCode, kStackTop - 2 * kPage);
    second.thread.reset();
    third.ExpectSyscall(39);
    Guest child = third.Fork();
    child.ExpectSyscall(39);
  });
}

TEST_P(ProcessTest, EndOfTheLastThreadEndsTheProcess) {
  int before = 0, after = -1;
  Run([&] {
    { Guest warm = NewGuest(k_call_loop); }
    before = CountChildren();
    Guest guest = NewGuest(k_call_loop);
    RefPtr<AddressSpace> space = guest.space;
    guest.thread.reset();
    // Its end is noticed by and by.
    while (space->host_pid() != -1) sched::Park(sched::NowNs() + 1'000'000);
    std::byte byte;
    EXPECT_EQ(space->CopyIn(kData, {&byte, 1}).error(), Errno::kEFAULT);
    EXPECT_EQ(space->CopyOut(kData, {&byte, 1}).error(), Errno::kEFAULT);
    EXPECT_EQ(space->ForceCopyOut(kData, {&byte, 1}).error(), Errno::kEFAULT);
    space->Kill();
    for (int i = 0; i < 2000 && (after = CountChildren()) > before; ++i) {
      sched::Park(sched::NowNs() + 1'000'000);
    }
  });
  EXPECT_LE(after, before + 2);  // a platform may have filled its pool meanwhile
}

TEST_P(ProcessTest, KillEndsSwitchesOfAllThreads) {
  Run([&] {
    Guest one = NewGuest(k_spin);
    Guest two = one.NewThread(kCode, kStackTop - 2 * kPage);
    Event::Kind kinds[2] = {Event::Kind::kSyscall, Event::Kind::kSyscall};
    auto first = Go([&] { kinds[0] = one.Switch().kind; });
    auto second = Go([&] { kinds[1] = two.Switch().kind; });
    sched::Park(sched::NowNs() + 2'000'000);
    one.space->Kill();
    first->Wait();
    second->Wait();
    EXPECT_EQ(kinds[0], Event::Kind::kExited);
    EXPECT_EQ(kinds[1], Event::Kind::kExited);
    EXPECT_EQ(one.Switch().kind, Event::Kind::kExited);
  });
}

// Never kill(-1, ...): that would be everybody. A stub that is gone has the process id -1.
void SignalStub(const AddressSpace& space, int signo) {
  int pid = space.host_pid();
  ASSERT_GT(pid, 0);
  kill(pid, signo);
}

TEST_P(ProcessTest, HostKillOfAStub) {
  Run([&] {
    Guest running = NewGuest(k_spin);
    auto done = Go([&] { EXPECT_EQ(running.Switch().kind, Event::Kind::kExited); });
    sched::Park(sched::NowNs() + 2'000'000);
    SignalStub(*running.space, SIGKILL);
    done->Wait();

    Guest stopped = NewGuest(k_call_loop);
    stopped.ExpectSyscall(39);
    SignalStub(*stopped.space, SIGKILL);
    EXPECT_EQ(stopped.Switch().kind, Event::Kind::kExited);
    MemoryBatch batch;
    batch.MapAnonymous(0x10000000, kPage, PROT_READ, MAP_PRIVATE);
    EXPECT_FALSE(stopped.thread->Apply(batch).ok());
    EXPECT_FALSE(stopped.thread->Fork().ok());
    EXPECT_FALSE(stopped.thread->NewThread().ok());
    std::vector<std::byte> fpu;
    EXPECT_FALSE(stopped.thread->SaveFpu(fpu).ok());
    EXPECT_FALSE(stopped.thread->LoadFpu(fpu).ok());
    EXPECT_FALSE(stopped.thread->ResetFpu().ok());
    stopped.thread->Interrupt();
    EXPECT_EQ(stopped.Switch().kind, Event::Kind::kExited);
    // The others do not care.
    Guest other = NewGuest(k_call_loop);
    other.ExpectSyscall(39);
  });
}

TEST_P(ProcessTest, SignalsFromOutsideDoNotReachGuests) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    for (int signo : {SIGTERM, SIGINT, SIGSEGV, SIGUSR1, SIGSTOP, SIGCONT, SIGTRAP, SIGSYS}) {
      SignalStub(*guest.space, signo);
      if (signo == SIGSTOP) SignalStub(*guest.space, SIGCONT);  // a stub may stop as any process
      for (int i = 0; i < 3; ++i) guest.ExpectSyscall(39);
    }
  });
}

TEST_P(ProcessTest, ManyProcessesLeaveNothingBehind) {
  Run([&] {
    { Guest warm = NewGuest(k_call_loop); }
    sched::Park(sched::NowNs() + 20'000'000);
    int fds = CountFds(), children = CountChildren();
    for (int i = 0; i < 1000; ++i) {
      Guest guest = NewGuest(k_call_loop);
      if (i % 4 == 0) {
        guest.ExpectSyscall(39);
        Guest child = guest.Fork();
        Guest thread = guest.NewThread(kCode, kStackTop - 2 * kPage);
        thread.ExpectSyscall(39);
        if (i % 8 == 0) guest = Guest();
        child.ExpectSyscall(39);
      }
    }
    int now = -1;
    for (int i = 0; i < 2000 && (now = CountChildren()) > children; ++i) {
      sched::Park(sched::NowNs() + 1'000'000);
    }
    EXPECT_LE(now, children);
    EXPECT_LE(CountFds(), fds + 2);
  });
}

TEST_P(ProcessTest, ManyGuestsAtOnce) {
  Run([&] {
    std::vector<std::unique_ptr<sched::Completion>> all;
    std::atomic<int> calls{0};
    for (int i = 0; i < 20; ++i) {
      all.push_back(Go([&] {
        Guest guest = NewGuest(k_call_loop);
        for (int j = 0; j < 100; ++j) {
          guest.ExpectSyscall(39);
          ++calls;
        }
      }));
    }
    for (auto& done : all) done->Wait();
    EXPECT_EQ(calls.load(), 2000);
  });
}

TEST_P(ProcessTest, CpuTimeGrowsWithWork) {
  Run([&] {
    Guest guest = NewGuest(k_spin);
    auto done = Go([&] { EXPECT_EQ(guest.Switch().kind, Event::Kind::kInterrupted); });
    int64_t start = guest.thread->cpu_time_ns();
    while (guest.thread->cpu_time_ns() - start < 5'000'000) {
      sched::Park(sched::NowNs() + 1'000'000);
    }
    guest.thread->Interrupt();
    done->Wait();
    int64_t stopped = guest.thread->cpu_time_ns();
    sched::Park(sched::NowNs() + 20'000'000);
    EXPECT_LT(guest.thread->cpu_time_ns() - stopped, 10'000'000);
  });
}

PLATFORM_TEST_SUITE(ProcessTest);

}  // namespace
}  // namespace msentry::platform
