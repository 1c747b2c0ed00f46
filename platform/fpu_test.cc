// The FPU state of guest threads.
#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(fpu);

constexpr uint64_t kDefaultMxcsr = 0x1f80;

class FpuTest : public PlatformTest {
 protected:
  Guest AtFirstCall(uint64_t value, uint64_t mxcsr) {
    Guest guest = NewGuest(k_fpu);
    guest.registers.rdi = value;
    guest.registers.rsi = mxcsr;
    guest.ExpectSyscall(1000);
    return guest;
  }
  static void ExpectState(Guest& guest, uint64_t xmm0, uint64_t xmm15, uint64_t st0,
                          uint64_t mxcsr) {
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.Read(kData), xmm0);
    EXPECT_EQ(guest.Read(kData + 8), xmm15);
    EXPECT_EQ(guest.Read(kData + 16), st0);
    EXPECT_EQ(guest.Read(kData + 24) & 0xffff, mxcsr);
  }
};

TEST_P(FpuTest, SurvivesACall) {
  Run([&] {
    Guest guest = AtFirstCall(77, 0x3f80);
    ExpectState(guest, 77, 77, 77, 0x3f80);
  });
}

TEST_P(FpuTest, SurvivesMemoryBatches) {
  Run([&] {
    Guest guest = AtFirstCall(78, kDefaultMxcsr);
    MemoryBatch batch;
    batch.MapAnonymous(0x10000000, kPage, PROT_READ, MAP_PRIVATE);
    ASSERT_TRUE(guest.thread->Apply(batch).ok());
    ExpectState(guest, 78, 78, 78, kDefaultMxcsr);
  });
}

TEST_P(FpuTest, SaveAndLoadRoundTrip) {
  Run([&] {
    Guest guest = AtFirstCall(79, 0x3f80);
    std::vector<std::byte> image;
    ASSERT_TRUE(guest.thread->SaveFpu(image).ok());
    ASSERT_GE(image.size(), 576u);
    uint64_t xmm0;
    memcpy(&xmm0, image.data() + 160, 8);
    EXPECT_EQ(xmm0, 79u);
    uint64_t changed = 1234;
    memcpy(image.data() + 160, &changed, 8);
    ASSERT_TRUE(guest.thread->LoadFpu(image).ok());
    ExpectState(guest, 1234, 79, 79, 0x3f80);
  });
}

TEST_P(FpuTest, LoadSanitizesWhatTheGuestWrote) {
  Run([&] {
    Guest guest = AtFirstCall(80, kDefaultMxcsr);
    std::vector<std::byte> image;
    ASSERT_TRUE(guest.thread->SaveFpu(image).ok());
    uint32_t mxcsr = 0xffffffff;
    memcpy(image.data() + 24, &mxcsr, 4);
    for (size_t i = 520; i < 576; ++i) image[i] = std::byte{0xff};  // reserved header bytes
    uint64_t features = ~uint64_t{0};
    memcpy(image.data() + 512, &features, 8);
    ASSERT_TRUE(guest.thread->LoadFpu(image).ok());
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.Read(kData), 80u);
    // Too short, empty, too long: never worse than the initial state.
    for (size_t size :
         {size_t{0}, size_t{100}, size_t{511}, size_t{512}, size_t{600}, image.size() + 100}) {
      std::vector<std::byte> odd(size, std::byte{0x11});
      EXPECT_TRUE(guest.thread->LoadFpu(odd).ok()) << size;
    }
  });
}

TEST_P(FpuTest, ResetGivesTheInitialState) {
  Run([&] {
    Guest guest = AtFirstCall(81, 0x3f80);
    ASSERT_TRUE(guest.thread->ResetFpu().ok());
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.Read(kData), 0u);
    EXPECT_EQ(guest.Read(kData + 8), 0u);
    EXPECT_EQ(guest.Read(kData + 24) & 0xffff, kDefaultMxcsr);
  });
}

TEST_P(FpuTest, ForkAndThreadInheritIt) {
  Run([&] {
    Guest guest = AtFirstCall(82, 0x3f80);
    Guest child = guest.Fork();
    Guest thread = guest.NewThread(guest.registers.rip, guest.registers.rsp);
    ExpectState(child, 82, 82, 82, 0x3f80);
    ExpectState(thread, 82, 82, 82, 0x3f80);
    guest.Write(kData, 0);
    ExpectState(guest, 82, 82, 82, 0x3f80);
  });
}

TEST_P(FpuTest, NewProcessHasNothingOfOurs) {
  Run([&] {
    asm volatile("movq %0, %%xmm7" ::"r"(0x5ec2e75ec2e7) : "xmm7");
    auto [space, thread] = MUST(platform().NewProcess());
    std::vector<std::byte> image;
    ASSERT_TRUE(thread->SaveFpu(image).ok());
    for (size_t i = 160; i < 160 + 256; ++i) ASSERT_EQ(image[i], std::byte{0}) << i;
  });
}

PLATFORM_TEST_SUITE(FpuTest);

}  // namespace
}  // namespace msentry::platform
