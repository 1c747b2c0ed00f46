// Guests that do their worst: they may lose, the sentry and the other guests must not notice.
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(jump_far);
PLATFORM_SNIPPET(scribble);

class HostileTest : public PlatformTest {
 protected:
  // A Switch that cannot last: guest code may spin for ever.
  Event BoundedSwitch(Guest& guest) {
    sched::Timer timer(scheduler(), [&] { guest.thread->Interrupt(); });
    timer.Arm(sched::NowNs() + 50'000'000);
    return guest.Switch();
  }
};

TEST_P(HostileTest, JumpsIntoThePlatformsRegion) {
  Run([&] {
    Guest witness = NewGuest(k_call_loop);
    witness.ExpectSyscall(39);
    std::vector<uint64_t> targets;
    for (uint64_t offset = 0; offset < 48; ++offset) targets.push_back(arch::kStubBase + offset);
    for (uint64_t page = 1; page < 24; ++page) targets.push_back(arch::kStubBase + page * kPage);
    for (uint64_t target : targets) {
      Guest guest = NewGuest(k_jump_far);
      guest.registers.r15 = target;
      guest.registers.rax = SYS_exit_group;
      guest.registers.rdi = 0;
      BoundedSwitch(guest);  // whatever it ends in, it ends
    }
    witness.ExpectSyscall(39);
    Guest other = NewGuest(k_call_loop);
    other.ExpectSyscall(39);
  });
}

TEST_P(HostileTest, OverwritesWhatItCanReach) {
  Run([&] {
    Guest witness = NewGuest(k_call_loop);
    witness.ExpectSyscall(39);
    ScopedFd file(memfd_create("file", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(file.get(), kPage), 0);
    for (uint64_t page = 0; page < 24; ++page) {
      // Fills one page of the platform's region with nonsense, then asks for service.
      Guest guest = NewGuest(k_scribble);
      guest.registers.rdi = arch::kStubBase + page * kPage;
      guest.registers.rcx = kPage / 8;
      guest.registers.rdx = 0xfffffffffffff123;
      Event event = BoundedSwitch(guest);
      if (event.kind == Event::Kind::kExited) continue;
      MemoryBatch batch;
      batch.MapFile(0x10000000, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
      (void)guest.thread->Apply(batch).ok();
      (void)guest.thread->Fork().ok();
      BoundedSwitch(guest);
    }
    MemoryBatch batch;
    batch.MapFile(0x10000000, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
    EXPECT_TRUE(witness.thread->Apply(batch).ok());
    witness.ExpectSyscall(39);
    witness.Fork().ExpectSyscall(39);
  });
}

TEST_P(HostileTest, UnmapsAllOfItself) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    MemoryBatch batch;
    batch.Unmap(arch::kMinGuestAddress, arch::kTaskSize - arch::kMinGuestAddress);
    ASSERT_TRUE(guest.thread->Apply(batch).ok());
    Event event = BoundedSwitch(guest);
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.address, guest.registers.rip);
    // The sentry can still build a new program in there.
    MemoryBatch again;
    again.MapAnonymous(kCode, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    ASSERT_TRUE(guest.thread->Apply(again).ok());
    auto bytes = std::as_bytes(std::span(k_call_loop.begin, k_call_loop.end));
    ASSERT_EQ(guest.space->CopyOut(kCode, bytes).value_or(0), bytes.size());
    guest.registers.rip = kCode;
    guest.ExpectSyscall(39);
  });
}

TEST_P(HostileTest, StackPointerToNowhere) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    for (uint64_t rsp : {uint64_t{0}, uint64_t{8}, arch::kTaskSize, arch::kStubBase + kPage,
                         uint64_t{0x7fffffffe000}, ~uint64_t{0}}) {
      guest.registers.rsp = rsp;
      guest.ExpectSyscall(39);
      EXPECT_EQ(guest.registers.rsp, rsp);
    }
  });
}

TEST_P(HostileTest, CloneStorm) {
  Run([&] {
    int children = CountChildren();
    {
      Guest first = NewGuest(k_call_loop);
      first.ExpectSyscall(39);
      std::vector<Guest> storm;
      for (int i = 0; i < 60; ++i) {
        storm.push_back((i % 2 ? storm.back() : first).Fork());
        storm.push_back(storm.back().NewThread(kCode, kStackTop - 2 * kPage));
      }
      for (Guest& guest : storm) guest.ExpectSyscall(39);
    }
    int now = -1;
    for (int i = 0; i < 5000 && (now = CountChildren()) > children + 4; ++i) {
      sched::Park(sched::NowNs() + 1'000'000);
    }
    EXPECT_LE(now, children + 4);
    Guest after = NewGuest(k_call_loop);
    after.ExpectSyscall(39);
  });
}

PLATFORM_TEST_SUITE(HostileTest);

}  // namespace
}  // namespace msentry::platform
