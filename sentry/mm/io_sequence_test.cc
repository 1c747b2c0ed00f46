#include "sentry/mm/io_sequence.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "sentry/arch/registers.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/mm/local_platform_for_test.h"

namespace msentry::mm {
namespace {

constexpr uint64_t kPage = arch::kPageSize;

std::span<const std::byte> Bytes(std::string_view s) { return std::as_bytes(std::span(s)); }

class IoSequenceTest : public testing::Test {
 protected:
  uint64_t Map(uint64_t pages) {
    return MUST(p.mm->Map(p.thread,
                          {.length = pages * kPage,
                           .protection = PROT_READ | PROT_WRITE,
                           .flags = MAP_PRIVATE | MAP_ANONYMOUS},
                          {}));
  }
  // A page followed by nothing.
  uint64_t MapBeforeHole() {
    uint64_t a = Map(2);
    MUST(p.mm->Unmap(p.thread, a + kPage, kPage));
    return a;
  }
  ScopedFd File(std::string_view content) {
    ScopedFd fd(memfd_create("io_sequence_test", MFD_CLOEXEC));
    EXPECT_EQ(pwrite(fd.get(), content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
    return fd;
  }
  std::string GuestText(uint64_t at, size_t n) {
    std::string s(n, '?');
    MUST(p.memory().CopyInBytes(at, std::as_writable_bytes(std::span(s))));
    return s;
  }

  LocalProcess p;
};

TEST_F(IoSequenceTest, CopiesAcrossRangesAndKeepsThePosition) {
  uint64_t a = Map(1);
  IoSequence s(p.memory(), {{a, 3}, {a + 100, 0}, {a + 200, 5}});
  EXPECT_EQ(s.size(), 8u);
  EXPECT_EQ(MUST(s.CopyOut(Bytes("ab"))), 2u);
  EXPECT_EQ(MUST(s.CopyOut(Bytes("cdefghijkl"))), 6u);
  EXPECT_TRUE(s.empty());
  EXPECT_EQ(s.position(), 8u);
  EXPECT_EQ(GuestText(a, 3), "abc");
  EXPECT_EQ(GuestText(a + 200, 5), "defgh");
  IoSequence back(p.memory(), {{a, 3}, {a + 200, 5}});
  char text[16];
  EXPECT_EQ(MUST(back.CopyIn(std::as_writable_bytes(std::span(text)))), 8u);
  EXPECT_EQ(std::string_view(text, 8), "abcdefgh");
}

TEST_F(IoSequenceTest, ABadAddressEndsTheTransferShortThenFaults) {
  uint64_t a = MapBeforeHole();
  IoSequence s(p.memory(), a + kPage - 3, 10);
  EXPECT_EQ(MUST(s.CopyOut(Bytes("0123456789"))), 3u);
  EXPECT_EQ(s.CopyOut(Bytes("3456789")).error(), Errno::kEFAULT);
}

TEST_F(IoSequenceTest, SentryMemory) {
  char text[8] = {};
  IoSequence s = IoSequence::ForReading(std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(MUST(s.CopyOut(Bytes("abc"))), 3u);
  s.Skip(1);
  s.Truncate(2);
  EXPECT_EQ(MUST(s.CopyOut(Bytes("defgh"))), 2u);
  EXPECT_EQ(std::string_view(text, 8), std::string_view("abc\0de\0\0", 8));
}

class HostIoTest : public IoSequenceTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override { p.thread.offer_bulk = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Bulk, HostIoTest, testing::Bool());

TEST_P(HostIoTest, ReadsUpToTheEndOfTheFile) {
  std::string content(300000, 'x');
  content += "end";
  ScopedFd fd = File(content);
  uint64_t a = Map(100);
  IoSequence s(p.memory(), a, 100 * kPage);
  EXPECT_EQ(MUST(s.ReadFromHost(fd.get(), 0, s.size())), content.size());
  EXPECT_EQ(GuestText(a + 300000, 3), "end");
  EXPECT_EQ(MUST(s.ReadFromHost(fd.get(), static_cast<int64_t>(content.size()), s.size())), 0u);
}

TEST_P(HostIoTest, ReadStopsBeforeAHole) {
  ScopedFd fd = File("0123456789");
  uint64_t a = MapBeforeHole();
  IoSequence s(p.memory(), a + kPage - 4, 10);
  EXPECT_EQ(MUST(s.ReadFromHost(fd.get(), 0, 10)), 4u);
  EXPECT_EQ(s.ReadFromHost(fd.get(), 4, 6).error(), Errno::kEFAULT);
}

TEST_P(HostIoTest, ScatteredReadIsOneHostCallOnAStream) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
  ScopedFd reader(fds[0]), writer(fds[1]);
  ASSERT_EQ(write(writer.get(), "abcdef", 6), 6);
  uint64_t a = Map(1);
  IoSequence s(p.memory(), {{a, 2}, {a + 10, 3}, {a + 20, 10}});
  EXPECT_EQ(MUST(s.ReadFromHost(reader.get(), -1, s.size())), 6u);
  EXPECT_EQ(GuestText(a, 2) + GuestText(a + 10, 3) + GuestText(a + 20, 1), "abcdef");
  EXPECT_EQ(s.ReadFromHost(reader.get(), -1, s.size()).error(), Errno::kEAGAIN);
}

TEST_P(HostIoTest, WritesGatherRanges) {
  ScopedFd fd = File("");
  uint64_t a = Map(1);
  MUST(p.memory().CopyOutBytes(a, Bytes("hello world")));
  IoSequence s(p.memory(), {{a + 6, 5}, {a + 5, 1}, {a, 5}});
  EXPECT_EQ(MUST(s.WriteToHost(fd.get(), 0, s.size())), 11u);
  char text[16];
  ASSERT_EQ(pread(fd.get(), text, sizeof(text), 0), 11);
  EXPECT_EQ(std::string_view(text, 11), "world hello");
}

TEST_P(HostIoTest, WriteFromABadAddress) {
  ScopedFd fd = File("");
  uint64_t a = MapBeforeHole();
  IoSequence s(p.memory(), a + kPage, 10);
  EXPECT_EQ(s.WriteToHost(fd.get(), 0, 10).error(), Errno::kEFAULT);
}

TEST_F(IoSequenceTest, IovecsAreCheckedBeforeUse) {
  uint64_t a = Map(1);
  struct {
    uint64_t base, length;
  } v[2] = {{a + 512, 4}, {a + 600, 8}};
  MUST(p.memory().CopyOutBytes(a, std::as_bytes(std::span(v))));
  IoSequence s = MUST(p.memory().CopyInIovec(a, 2));
  EXPECT_EQ(s.size(), 12u);
  EXPECT_EQ(p.memory().CopyInIovec(a, 1025).error(), Errno::kEINVAL);
  v[1].length = ~uint64_t{0};
  MUST(p.memory().CopyOutBytes(a, std::as_bytes(std::span(v))));
  EXPECT_EQ(p.memory().CopyInIovec(a, 2).error(), Errno::kEINVAL);
  v[1] = {arch::kTaskSize - 4, 8};
  MUST(p.memory().CopyOutBytes(a, std::as_bytes(std::span(v))));
  EXPECT_EQ(p.memory().CopyInIovec(a, 2).error(), Errno::kEFAULT);
  EXPECT_EQ(p.memory().CopyInIovec(a + 2 * kPage, 1).error(), Errno::kEFAULT);
}

TEST_F(IoSequenceTest, StringsMayEndAtAnUnmappedPage) {
  uint64_t a = MapBeforeHole();
  MUST(p.memory().CopyOutBytes(a + kPage - 4, std::as_bytes(std::span("abc"))));
  EXPECT_EQ(MUST(p.memory().CopyInString(GuestPtr<char>(a + kPage - 4), 4096)), "abc");
  MUST(p.memory().CopyOut(GuestPtr<char>(a + kPage - 1), 'd'));
  EXPECT_EQ(p.memory().CopyInString(GuestPtr<char>(a + kPage - 4), 4096).error(), Errno::kEFAULT);
  EXPECT_EQ(p.memory().CopyInString(GuestPtr<char>(a + kPage - 4), 4).error(),
            Errno::kENAMETOOLONG);
}

TEST_F(IoSequenceTest, VersionedStructs) {
  struct V {
    uint64_t a, b;
  };
  uint64_t at = Map(1);
  uint64_t words[4] = {1, 2, 0, 0};
  MUST(p.memory().CopyOutBytes(at, std::as_bytes(std::span(words))));
  EXPECT_EQ(MUST(p.memory().CopyInVersioned(GuestPtr<V>(at), 8)).b, 0u);
  EXPECT_EQ(MUST(p.memory().CopyInVersioned(GuestPtr<V>(at), 32)).b, 2u);
  MUST(p.memory().CopyOut(GuestPtr<char>(at + 31), 1));
  EXPECT_EQ(p.memory().CopyInVersioned(GuestPtr<V>(at), 32).error(), Errno::kE2BIG);
}

}  // namespace
}  // namespace msentry::mm
