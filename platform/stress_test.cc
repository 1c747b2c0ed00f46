// Many threads of one process and several processes at once, all of the interface, under a storm of
// Interrupt(). What must hold: each call of a guest is seen exactly once and in order, whatever it
// races with; nothing breaks the protocol (no kExited); nobody waits for ever.
#include <sys/mman.h>

#include <thread>

#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(patched_loop);

constexpr int kThreads = 8;

class StressTest : public PlatformTest {
 protected:
  int Workers() const override { return 4; }  // more than CPUs: any two of them interleave anywhere
};

// One guest thread in a loop of calls, and the fiber that answers it.
class Caller {
 public:
  Caller(Guest guest, int index) : guest_(std::move(guest)), index_(index) {
    guest_.registers.rbx = 0;
  }

  void Run(int rounds) {
    for (int i = 0; i < rounds && !testing::Test::HasFailure(); ++i) {
      if (!Call()) continue;
      switch ((i + index_) % 8) {
        case 0:
        case 1:
          MapAndUnmap();
          break;
        case 2:
          ResultsArriveBeforeTheThreadGoesOn();
          break;
        case 3:
          KeepsItsFpu();
          break;
        case 4:
          if (i % 4 == 0) ForksAChild();
          break;
        case 5:
          if (i % 3 == 0) StartsAThread();
          break;
        default:
          break;
      }
    }
  }
  GuestThread* thread() const { return guest_.thread.get(); }
  int calls() const { return calls_; }

 private:
  uint64_t Area() const { return 0x10000000 + static_cast<uint64_t>(index_) * 0x100000; }

  // False: it was an interrupt.
  bool Call() {
    Event event = guest_.Switch();
    if (event.kind == Event::Kind::kInterrupted) return false;
    EXPECT_EQ(event.kind, Event::Kind::kSyscall) << "signo " << event.signo;
    EXPECT_EQ(guest_.registers.syscall_number(), 39u);
    EXPECT_EQ(guest_.registers.rbx, static_cast<uint64_t>(calls_)) << "a call lost or doubled";
    ++calls_;
    return true;
  }

  void MapAndUnmap() {
    MemoryBatch batch;
    batch.MapAnonymous(Area(), 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    batch.Protect(Area() + kPage, kPage, PROT_READ);
    ASSERT_TRUE(guest_.thread->Apply(batch).ok());
    guest_.Write(Area(), 0x5eed);
    EXPECT_EQ(guest_.Read(Area()), 0x5eedu);
    MemoryBatch unmap;
    unmap.Unmap(Area(), 4 * kPage);
    ASSERT_TRUE(guest_.thread->Apply(unmap).ok());
  }

  void ResultsArriveBeforeTheThreadGoesOn() {
    uint64_t value = static_cast<uint64_t>(calls_);
    uint64_t at = kData + 512 + static_cast<uint64_t>(index_) * 8;
    ASSERT_EQ(guest_.thread->CopyOut(at, std::as_bytes(std::span(&value, 1))).value_or(0), 8u);
    while (!Call()) {
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(guest_.Read(at), value);
  }

  void KeepsItsFpu() {
    std::vector<std::byte> image, again;
    ASSERT_TRUE(guest_.thread->SaveFpu(image).ok());
    image[160] = static_cast<std::byte>(index_);  // xmm0
    image[512] |= static_cast<std::byte>(3);      // XSTATE_BV: x87 and SSE are there
    ASSERT_TRUE(guest_.thread->LoadFpu(image).ok());
    ASSERT_TRUE(guest_.thread->SaveFpu(again).ok());
    EXPECT_EQ(again[160], static_cast<std::byte>(index_));
  }

  void ForksAChild() {
    Guest child = guest_.Fork();
    uint64_t rbx = child.registers.rbx;
    child.registers.rax = 0;
    child.ExpectSyscall(39);
    EXPECT_EQ(child.registers.rbx, rbx + 1);
  }

  void StartsAThread() {
    Guest other = guest_.NewThread(guest_.registers.rip, kStackTop - 2 * kPage);
    uint64_t rbx = other.registers.rbx;
    other.ExpectSyscall(39);
    EXPECT_EQ(other.registers.rbx, rbx + 1);
  }

  Guest guest_;
  const int index_;
  int calls_ = 0;
};

// `threads`: the first one's process gets that many, the second one's too.
void Storm(sched::Scheduler& scheduler, std::vector<std::unique_ptr<Caller>>& callers, int rounds) {
  std::atomic<int> left{static_cast<int>(callers.size())};
  sched::Completion ended;
  for (std::unique_ptr<Caller>& caller : callers) {
    scheduler.Spawn("caller", [&, c = caller.get()] {
      c->Run(rounds);
      if (left.fetch_sub(1) == 1) ended.Signal();
    });
  }
  std::thread interrupter([&] {
    for (uint32_t i = 1; left.load() > 0; i = i * 1664525 + 1013904223) {
      callers[(i >> 16) % callers.size()]->thread()->Interrupt();
      if (i & 0x10000) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::microseconds((i >> 20) % 64));
    }
  });
  ended.Wait();
  sched::Offload([&] { interrupter.join(); });
}

TEST_P(StressTest, EveryCallIsSeenOnceUnderInterrupts) {
  Run([&] {
    std::vector<std::unique_ptr<Caller>> callers;
    for (int process = 0; process < 2; ++process) {
      Guest first = NewGuest(k_call_loop);
      for (int i = 1; i < kThreads / 2; ++i) {
        callers.push_back(std::make_unique<Caller>(first.NewThread(kCode, kStackTop - 2 * kPage),
                                                   static_cast<int>(callers.size())));
      }
      callers.push_back(
          std::make_unique<Caller>(std::move(first), static_cast<int>(callers.size())));
    }
    Storm(scheduler(), callers, 400);
  });
}

// Code in a private file mapping: its call sites become jumps while all threads run through them.
TEST_P(StressTest, CallSitesArePatchedUnderRunningThreads) {
  Run([&] {
    for (int round = 0; round < 6 && !HasFailure(); ++round) {
      Guest first = NewGuest(k_call_loop);
      MapProgramFile(first, k_patched_loop);
      std::vector<std::unique_ptr<Caller>> callers;
      for (int i = 1; i < kThreads; ++i) {
        callers.push_back(
            std::make_unique<Caller>(first.NewThread(kCode, kStackTop - 2 * kPage), i));
      }
      callers.push_back(std::make_unique<Caller>(std::move(first), 0));
      Storm(scheduler(), callers, 60);
    }
  });
}

PLATFORM_TEST_SUITE(StressTest);

}  // namespace
}  // namespace msentry::platform
