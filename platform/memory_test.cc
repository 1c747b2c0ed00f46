// Memory batches and copies.
#include <fcntl.h>
#include <unistd.h>
#include <csignal>

#include <numeric>

#include "platform/test_guest.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(load);
PLATFORM_SNIPPET(store);

constexpr uint64_t kArea = 0x10000000;

class MemoryTest : public PlatformTest {
 protected:
  // Whether a load at the address works, seen by the guest.
  static bool Readable(Guest& guest, uint64_t address) {
    guest.registers.rip = kCode;
    guest.registers.rdi = address;
    return guest.Switch().kind == Event::Kind::kSyscall;
  }
  // The bytes copied; 0 with a failed expectation when none were.
  static size_t Copied(const Result<size_t>& result) {
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : ErrnoName(result.error()));
    return result.value_or(0);
  }
  static Result<> Apply(Guest& guest, absl::FunctionRef<void(MemoryBatch&)> fill) {
    MemoryBatch batch;
    fill(batch);
    return guest.thread->Apply(batch);
  }
  // A memfd whose page i is filled with 'a' + i.
  static ScopedFd File(int pages) {
    ScopedFd fd(memfd_create("test", MFD_CLOEXEC));
    for (int i = 0; i < pages; ++i) {
      std::string page(kPage, static_cast<char>('a' + i));
      EXPECT_EQ(pwrite(fd.get(), page.data(), kPage, i * kPage), static_cast<ssize_t>(kPage));
    }
    return fd;
  }
};

TEST_P(MemoryTest, NewProcessIsEmpty) {
  Run([&] {
    auto [space, thread] = MUST(platform().NewProcess());
    std::byte byte;
    for (uint64_t address = 0; address < arch::kTaskSize; address += arch::kTaskSize / 997) {
      EXPECT_EQ(space->CopyIn(address, {&byte, 1}).error(), Errno::kEFAULT);
    }
    for (const void* ours : {static_cast<const void*>(&byte), static_cast<const void*>(this),
                             reinterpret_cast<const void*>(&CountFds)}) {
      EXPECT_FALSE(space->CopyIn(reinterpret_cast<uint64_t>(ours), {&byte, 1}).ok());
    }
  });
}

TEST_P(MemoryTest, MapUnmapProtect) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    EXPECT_FALSE(Readable(guest, kArea));
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  b.MapAnonymous(kArea, 8 * kPage, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_NORESERVE);
                  b.Unmap(kArea + 2 * kPage, kPage);
                  b.Protect(kArea + 4 * kPage, kPage, PROT_NONE);
                }).ok());
    EXPECT_TRUE(Readable(guest, kArea));
    EXPECT_TRUE(Readable(guest, kArea + kPage));
    EXPECT_FALSE(Readable(guest, kArea + 2 * kPage));
    EXPECT_TRUE(Readable(guest, kArea + 3 * kPage));
    EXPECT_FALSE(Readable(guest, kArea + 4 * kPage));
    EXPECT_TRUE(Readable(guest, kArea + 7 * kPage));
    EXPECT_FALSE(Readable(guest, kArea + 8 * kPage));
  });
}

TEST_P(MemoryTest, MapReplacesWhatWasThere) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    guest.Write(kData, 77);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  b.MapAnonymous(kData, kPage, PROT_READ, MAP_PRIVATE);
                }).ok());
    EXPECT_EQ(guest.Read(kData), 0u);
  });
}

TEST_P(MemoryTest, PrivateFileMappingIsCopyOnWrite) {
  Run([&] {
    Guest guest = NewGuest(k_store);
    ScopedFd file = File(3);
    ASSERT_TRUE(Apply(guest, [&](MemoryBatch& b) {
                  b.MapFile(kArea, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), kPage);
                }).ok());
    EXPECT_EQ(guest.Read(kArea), 0x6262626262626262u);
    guest.registers.rdi = kArea;
    guest.registers.rsi = 5;
    guest.ExpectSyscall(1000);
    EXPECT_EQ(guest.Read(kArea), 5u);
    char c;
    ASSERT_EQ(pread(file.get(), &c, 1, kPage), 1);
    EXPECT_EQ(c, 'b');
  });
}

TEST_P(MemoryTest, SharedFileMappingWritesTheFile) {
  Run([&] {
    Guest guest = NewGuest(k_store);
    ScopedFd file = File(1), other = File(2);
    ASSERT_TRUE(Apply(guest, [&](MemoryBatch& b) {
                  b.MapFile(kArea, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
                  b.MapFile(kArea + kPage, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
                  b.MapFile(kArea + 2 * kPage, kPage, PROT_READ, MAP_PRIVATE, other.get(), kPage);
                  b.Sync(kArea, kPage, MS_SYNC);
                }).ok());
    guest.registers.rdi = kArea;
    guest.registers.rsi = 0x41;
    guest.ExpectSyscall(1000);
    char c;
    ASSERT_EQ(pread(file.get(), &c, 1, 0), 1);
    EXPECT_EQ(c, 0x41);
    EXPECT_EQ(guest.Read(kArea + 2 * kPage), 0x6262626262626262u);
  });
}

TEST_P(MemoryTest, AccessBehindTheEndOfFileIsABusError) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    ScopedFd file = File(1);
    ASSERT_TRUE(Apply(guest, [&](MemoryBatch& b) {
                  b.MapFile(kArea, 2 * kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
                }).ok());
    guest.registers.rdi = kArea + kPage;
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGBUS);
    EXPECT_EQ(event.code, BUS_ADRERR);
    EXPECT_EQ(event.address, kArea + kPage);
  });
}

TEST_P(MemoryTest, RemapGrowsAndMoves) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  b.MapAnonymous(kArea, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
                }).ok());
    guest.Write(kArea, 1);
    guest.Write(kArea + kPage, 2);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  b.Remap(kArea, 2 * kPage, kArea, 4 * kPage);
                  b.Remap(kArea, 4 * kPage, kArea + 64 * kPage, 3 * kPage);
                }).ok());
    EXPECT_FALSE(Readable(guest, kArea));
    EXPECT_EQ(guest.Read(kArea + 64 * kPage), 1u);
    EXPECT_EQ(guest.Read(kArea + 65 * kPage), 2u);
    EXPECT_EQ(guest.Read(kArea + 66 * kPage), 0u);
    EXPECT_FALSE(Readable(guest, kArea + 67 * kPage));
  });
}

TEST_P(MemoryTest, AdviseDontNeedDropsThePages) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    guest.Write(kData, 1);
    guest.Write(kData + kPage, 2);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) { b.Advise(kData, kPage, MADV_DONTNEED); }).ok());
    EXPECT_EQ(guest.Read(kData), 0u);
    EXPECT_EQ(guest.Read(kData + kPage), 2u);
  });
}

TEST_P(MemoryTest, FirstFailureEndsTheBatch) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    Result<> result = Apply(guest, [](MemoryBatch& b) {
      b.MapAnonymous(kArea, kPage, PROT_READ, MAP_PRIVATE);
      b.Protect(kArea + 16 * kPage, kPage, PROT_READ);  // nothing there
      b.Unmap(kArea, kPage);
    });
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error(), Errno::kENOMEM);
    EXPECT_TRUE(Readable(guest, kArea));
  });
}

TEST_P(MemoryTest, WriteOnlyFileCannotBeMapped) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    ScopedFd file(open("/dev/null", O_WRONLY | O_CLOEXEC));
    Result<> result = Apply(guest, [&](MemoryBatch& b) {
      b.MapFile(kArea, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
    });
    ASSERT_FALSE(result.ok());
    EXPECT_TRUE(result.error() == Errno::kEACCES || result.error() == Errno::kENODEV);
    guest.registers.rdi = kData;
    guest.ExpectSyscall(1000);  // still well
  });
}

TEST_P(MemoryTest, ManyBatchesLeakNothing) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    ScopedFd file = File(1);
    int fds = CountFds();
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(Apply(guest, [&](MemoryBatch& b) {
                    b.MapFile(kArea + i * kPage, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
                    b.Unmap(kArea + i * kPage, kPage);
                  }).ok());
    }
    EXPECT_LT(CountFds(), fds + 20);  // a platform may fill its pool meanwhile
  });
}

TEST_P(MemoryTest, BatchOfManyOperations) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  for (int i = 0; i < 200; ++i) {
                    b.MapAnonymous(kArea + 2 * i * kPage, kPage, PROT_READ, MAP_PRIVATE);
                  }
                }).ok());
    EXPECT_TRUE(Readable(guest, kArea + 398 * kPage));
    EXPECT_FALSE(Readable(guest, kArea + 399 * kPage));
  });
}

TEST_P(MemoryTest, CopyCrossesPages) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    std::vector<std::byte> out(3 * kPage);
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7);
    EXPECT_EQ(Copied(guest.space->CopyOut(kData + 100, out)), out.size());
    std::vector<std::byte> in(out.size());
    EXPECT_EQ(Copied(guest.space->CopyIn(kData + 100, in)), in.size());
    EXPECT_EQ(in, out);
    guest.ExpectSyscall(39);
    std::fill(in.begin(), in.end(), std::byte{0});
    EXPECT_EQ(Copied(guest.thread->CopyIn(kData + 100, in)), in.size());
    EXPECT_EQ(in, out);
  });
}

TEST_P(MemoryTest, CopyStopsAtTheEndOfTheMapping) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    std::vector<std::byte> buffer(2 * kPage, std::byte{9});
    uint64_t last = kData + 4 * kPage - 10;
    EXPECT_EQ(Copied(guest.space->CopyIn(last, buffer)), 10u);
    EXPECT_EQ(Copied(guest.space->CopyOut(last, buffer)), 10u);
    EXPECT_EQ(Copied(guest.thread->CopyIn(last, buffer)), 10u);
    EXPECT_EQ(guest.space->CopyIn(last + 10, buffer).error(), Errno::kEFAULT);
    EXPECT_EQ(guest.space->CopyOut(last + 10, buffer).error(), Errno::kEFAULT);
    EXPECT_EQ(Copied(guest.space->CopyIn(last + 10, {})), 0u);
  });
}

TEST_P(MemoryTest, CopyObeysProtection) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    std::vector<std::byte> buffer(8, std::byte{1});
    EXPECT_EQ(guest.space->CopyOut(kCode, buffer).error(), Errno::kEFAULT);
    ASSERT_TRUE(Apply(guest, [](MemoryBatch& b) {
                  b.Protect(kData, kPage, PROT_NONE);
                  b.Protect(kData + kPage, kPage, PROT_READ);
                }).ok());
    EXPECT_EQ(guest.space->CopyIn(kData, buffer).error(), Errno::kEFAULT);
    EXPECT_EQ(Copied(guest.space->CopyIn(kData + kPage, buffer)), 8u);
    EXPECT_EQ(guest.space->CopyOut(kData + kPage, buffer).error(), Errno::kEFAULT);
  });
}

TEST_P(MemoryTest, ForcedCopyIgnoresWriteProtection) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    guest.registers.rdi = kData;
    guest.ExpectSyscall(1000);
    std::vector<std::byte> trap(11, std::byte{0xcc});
    EXPECT_EQ(Copied(guest.space->ForceCopyOut(kCode + kPage - 3, trap)), trap.size());
    EXPECT_EQ(guest.Read(kCode + kPage - 3), 0xccccccccccccccccu);
    EXPECT_EQ(guest.Read(kCode + kPage - 11), 0u);
    EXPECT_EQ(Copied(guest.space->ForceCopyOut(kCode, std::span(trap).first(1))), 1u);
    guest.registers.rip = kCode;
    Event event = guest.Switch();
    EXPECT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGTRAP);
    EXPECT_EQ(guest.space->ForceCopyOut(kArea, trap).error(), Errno::kEFAULT);
  });
}

TEST_P(MemoryTest, NothingBeyondGuestMemoryCanBeCopied) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    std::vector<std::byte> buffer(64);
    for (uint64_t address : {arch::kTaskSize, arch::kStubBase, arch::kStubBase + kPage,
                             uint64_t{0x7fffffffe000}, ~uint64_t{0} - 8, uint64_t{1} << 63}) {
      EXPECT_FALSE(guest.space->CopyIn(address, buffer).ok()) << std::hex << address;
      EXPECT_FALSE(guest.space->CopyOut(address, buffer).ok()) << std::hex << address;
      EXPECT_FALSE(guest.space->ForceCopyOut(address, buffer).ok()) << std::hex << address;
    }
  });
}

TEST_P(MemoryTest, CopyOutReachesTheGuestBeforeItResumes) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    for (uint64_t i = 1; i < 200; ++i) {
      guest.registers.rip = kCode;
      guest.registers.rdi = kData + 8 * i;
      ASSERT_EQ(Copied(guest.thread->CopyOut(kData + 8 * i, std::as_bytes(std::span(&i, 1)))), 8u);
      guest.ExpectSyscall(1000);
      ASSERT_EQ(guest.registers.arg(0), i);
    }
  });
}

TEST_P(MemoryTest, BulkWindowMovesBytes) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    std::span<std::byte> window =
        guest.thread->BeginBulk(kData, 2 * kPage, GuestThread::Direction::kToGuest);
    if (window.empty()) GTEST_SKIP() << "no bulk window on this platform";
    std::fill(window.begin(), window.end(), std::byte{0x5a});
    ASSERT_TRUE(guest.thread->FinishBulk(window.size()).ok());
    guest.ExpectSyscall(39);
    std::vector<std::byte> in(window.size());
    EXPECT_EQ(Copied(guest.space->CopyIn(kData, in)), in.size());
    for (std::byte byte : in) ASSERT_EQ(byte, std::byte{0x5a});
  });
}

PLATFORM_TEST_SUITE(MemoryTest);

}  // namespace
}  // namespace msentry::platform
