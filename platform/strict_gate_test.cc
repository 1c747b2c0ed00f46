// systrap with Options::strict_gate: every memory call of a stub passes a user notification.
#include <elf.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "platform/test_guest.h"

extern "C" const char msentry_stub_image[], msentry_stub_image_end[];

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(patched_loop);
PLATFORM_SNIPPET(call_and_report);

// A `syscall` of the stub behind which a result that is not 0 is returned to whoever is on the
// stack (stub_clone_thread's).
uint64_t SyscallAndReturnInTheStub() {
  const char pattern[] = "\x0f\x05\x48\x85\xc0\x74";
  std::string_view image(msentry_stub_image, msentry_stub_image_end - msentry_stub_image);
  size_t offset = image.find(std::string_view(pattern, 6));
  CHECK(offset != std::string_view::npos);
  Elf64_Ehdr header;
  memcpy(&header, image.data(), sizeof(header));
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, image.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type == PT_LOAD && offset >= segment.p_offset &&
        offset < segment.p_offset + segment.p_filesz) {
      return segment.p_vaddr + offset - segment.p_offset;
    }
  }
  CHECK(false);
}

class GateTest : public PlatformTest {
 protected:
  // What guest code gets for an mmap of its own by the stub's instruction.
  int64_t MmapBehindOurBack() {
    Guest guest = NewGuest(k_call_and_report);
    arch::Registers& r = guest.registers;
    r.r15 = SyscallAndReturnInTheStub();
    guest.Write(r.rsp, kCode + 3);  // behind the jump
    r.rax = SYS_mmap;
    r.rdi = 0x20000000;
    r.rsi = kPage;
    r.rdx = PROT_READ;
    r.r10 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    r.r8 = ~uint64_t{0};
    r.r9 = 0;
    guest.ExpectSyscall(1000);
    return static_cast<int64_t>(guest.registers.arg(0));
  }

  void MapUnderSignals() {
    Guest guest = NewGuest(k_call_loop);
    std::atomic<bool> stop{false};
    int pid = guest.space->host_pid();
    std::thread sender([&] {
      // Harder than Interrupt(): at any time, not only in guest code.
      while (!stop.load()) {
        syscall(SYS_tgkill, pid, pid, SIGURG);
        std::this_thread::sleep_for(std::chrono::microseconds(10));
      }
    });
    ScopedFd file(memfd_create("file", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(file.get(), kPage), 0);
    for (int i = 0; i < 500 && !HasFailure(); ++i) {
      MemoryBatch batch;
      batch.MapAnonymous(0x10000000, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
      batch.MapFile(0x10001000, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
      batch.Unmap(0x10000000, 2 * kPage);
      Result<> result = guest.thread->Apply(batch);
      EXPECT_TRUE(result.ok()) << "round " << i << ": " << static_cast<int>(result.error());
      if (i % 50 == 0) guest.Fork().ExpectSyscall(39);
    }
    stop.store(true);
    sender.join();
  }
};
class StrictGateTest : public GateTest {
 protected:
  bool StrictGate() const override { return true; }
};

// What the fast gate leaves open (docs/threat-model.md), and the strict one closes.
TEST_P(GateTest, AGuestMayMapMemoryThroughTheStub) {
  Run([&] { EXPECT_EQ(MmapBehindOurBack(), 0x20000000); });
}
TEST_P(StrictGateTest, AGuestMayNotMapMemoryThroughTheStub) {
  Run([&] { EXPECT_EQ(MmapBehindOurBack(), -EPERM); });
}

TEST_P(StrictGateTest, MemoryCallsOfTheSentryPass) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    ScopedFd file(memfd_create("file", MFD_CLOEXEC));
    ASSERT_EQ(pwrite(file.get(), "file", 4, 0), 4);
    ASSERT_EQ(ftruncate(file.get(), 4 * kPage), 0);
    MemoryBatch batch;
    batch.MapAnonymous(0x10000000, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    batch.MapFile(0x10004000, kPage, PROT_READ, MAP_SHARED, file.get(), 0);
    batch.Protect(0x10000000, kPage, PROT_READ);
    batch.Remap(0x10001000, kPage, 0x10010000, kPage);
    batch.Advise(0x10002000, kPage, MADV_DONTNEED);
    batch.Sync(0x10004000, kPage, MS_SYNC);
    batch.Unmap(0x10003000, kPage);
    ASSERT_TRUE(guest.thread->Apply(batch).ok());
    EXPECT_EQ(static_cast<uint32_t>(guest.Read(0x10004000)), 0x656c6966u);
    EXPECT_EQ(guest.Read(0x10010000), 0u);
    std::byte byte;
    EXPECT_FALSE(guest.space->CopyIn(0x10003000, {&byte, 1}).ok());
    guest.ExpectSyscall(39);
  });
}

TEST_P(StrictGateTest, ForksAndThreadsWork) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    for (int i = 0; i < 20; ++i) {
      Guest child = guest.Fork();
      child.ExpectSyscall(39);
      MemoryBatch batch;
      batch.MapAnonymous(0x10000000, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
      ASSERT_TRUE(child.thread->Apply(batch).ok());
      Guest grandchild = child.Fork();
      grandchild.ExpectSyscall(39);
      Guest thread = grandchild.NewThread(kCode, kStackTop - 2 * kPage);
      thread.ExpectSyscall(39);
      ASSERT_TRUE(thread.thread->Apply(batch).ok());
    }
  });
}

TEST_P(StrictGateTest, CallSitesArePatched) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    MapProgramFile(guest, k_patched_loop);
    for (uint64_t i = 0; i < 400; ++i) {
      guest.ExpectSyscall(39);
      ASSERT_EQ(guest.registers.rbx, i);
    }
  });
}

// While a call waits for the keeper the host ends it for a signal, even one just let through.
TEST_P(GateTest, SignalsDoNotBreakFileMappings) {
  Run([&] { MapUnderSignals(); });
}
TEST_P(StrictGateTest, SignalsDoNotBreakMemoryCalls) {
  Run([&] { MapUnderSignals(); });
}

INSTANTIATE_TEST_SUITE_P(Platforms, GateTest, testing::Values(Kind::kSystrap),
                         [](const auto&) { return "systrap"; });
INSTANTIATE_TEST_SUITE_P(Platforms, StrictGateTest, testing::Values(Kind::kSystrap),
                         [](const auto&) { return "systrap"; });

}  // namespace
}  // namespace msentry::platform
