#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "fsimpl/pipefs/pipe_file.h"
#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "vfs/user_memory.h"

namespace msentry::pipefs {
namespace {

class PipeTest : public testing::Test {
 protected:
  PipeTest() : sh_(vfs_, vfs::MountNamespace::Create(MUST(tmpfs::Create({})), 0), RootCreds()) {
    vfs_.SetFifoOpener(OpenFifo);
    Make(0);
  }
  void Make(int flags) {
    auto [read_end, write_end] = MakePipe(sh_.ctx(), flags);
    read_ = std::move(read_end);
    write_ = std::move(write_end);
  }
  std::string Write(std::string_view text) { return Outcome(sh_.WriteTo(*write_, text)); }
  std::string Read(size_t n) {
    Result<std::string> got = sh_.ReadFrom(*read_, n);
    return got.ok() ? *got : ErrnoName(got.error());
  }
  size_t WriteSome(size_t n) { return sh_.WriteTo(*write_, std::string(n, 'x')).value_or(0); }

  vfs::Vfs vfs_;
  Shell sh_;
  RefPtr<PipeFile> read_, write_;
};

TEST_F(PipeTest, BytesComeOutInOrder) {
  EXPECT_EQ(Read(10), "EAGAIN");
  EXPECT_EQ(Write("ab"), "ok");
  EXPECT_EQ(Write("cde"), "ok");
  EXPECT_EQ(Read(3), "abc");
  EXPECT_EQ(Read(10), "de");
  EXPECT_EQ(Read(10), "EAGAIN");
}

TEST_F(PipeTest, ReadAfterTheLastWriterIsTheEnd) {
  EXPECT_EQ(Write("x"), "ok");
  write_.Reset();
  EXPECT_EQ(Read(10), "x");
  EXPECT_EQ(Read(10), "");
  EXPECT_EQ(read_->Readiness(sched::kIn), sched::kHup);
}

TEST_F(PipeTest, WriteWithoutAReaderIsEpipe) {
  read_.Reset();
  EXPECT_EQ(Write("x"), "EPIPE");
  EXPECT_TRUE(write_->Readiness(sched::kOut) & sched::kErr);
}

TEST_F(PipeTest, SmallWritesAreAllOrNothing) {
  const size_t capacity = read_->pipe().capacity();
  EXPECT_EQ(WriteSome(capacity - 100), capacity - 100);
  EXPECT_EQ(Write(std::string(101, 'y')), "EAGAIN");
  EXPECT_EQ(WriteSome(100), 100u);
  // A larger one takes what there is room for, but no crumbs.
  EXPECT_EQ(Read(50).size(), 50u);
  EXPECT_EQ(Write(std::string(5000, 'y')), "EAGAIN");
  EXPECT_EQ(Read(4500).size(), 4500u);
  EXPECT_EQ(WriteSome(5000), 4550u);
}

TEST_F(PipeTest, PacketsKeepTheirBoundaries) {
  Make(O_DIRECT);
  EXPECT_EQ(Write("one"), "ok");
  EXPECT_EQ(Write("two"), "ok");
  EXPECT_EQ(Read(100), "one");
  EXPECT_EQ(Read(2), "tw");  // the rest of a packet that is read short is lost
  EXPECT_EQ(Read(100), "EAGAIN");
}

TEST_F(PipeTest, CapacityGrowsAndShrinks) {
  Pipe& pipe = read_->pipe();
  EXPECT_EQ(*pipe.SetCapacity(5000, false), 8192u);
  EXPECT_EQ(WriteSome(8000), 8000u);
  EXPECT_EQ(Outcome(pipe.SetCapacity(4096, false)), "EBUSY");
  EXPECT_EQ(*pipe.SetCapacity(1 << 20, false), size_t{1} << 20);
  EXPECT_EQ(Outcome(pipe.SetCapacity((1 << 20) + 1, false)), "EPERM");
  EXPECT_EQ(Read(9000), std::string(8000, 'x'));
}

// The ring has wrapped at every position once.
TEST_F(PipeTest, WrapsAround) {
  ASSERT_TRUE(read_->pipe().SetCapacity(4096, false).ok());
  std::string written, read;
  for (int i = 0; i < 2000; ++i) {
    std::string text(i % 37 + 1, static_cast<char>('a' + i % 26));
    ASSERT_EQ(Write(text), "ok");
    written += text;
    read += Read(i % 41 + 1);
    while (read_->pipe().Room() < 64) read += Read(1000);
  }
  for (std::string rest = Read(4096); rest != "EAGAIN"; rest = Read(4096)) read += rest;
  EXPECT_EQ(read, written);
}

TEST_F(PipeTest, TeeCopiesWithoutConsuming) {
  auto [other_read, other_write] = MakePipe(sh_.ctx(), 0);
  EXPECT_EQ(Outcome(read_->pipe().TeeTo(other_write->pipe(), 10)), "EAGAIN");
  EXPECT_EQ(Write("hello"), "ok");
  EXPECT_EQ(*read_->pipe().TeeTo(other_write->pipe(), 4), 4u);
  EXPECT_EQ(*sh_.ReadFrom(*other_read, 10), "hell");
  EXPECT_EQ(Read(10), "hello");
}

TEST_F(PipeTest, WaitersAreNotified) {
  sched::EventMask readable = 0, writable = 0;
  sched::Waiter reader(sched::kIn | sched::kHup, [&](sched::EventMask e) { readable |= e; });
  read_->wait_queue().Add(&reader);
  EXPECT_EQ(Write("x"), "ok");
  EXPECT_TRUE(readable & sched::kIn);
  WriteSome(read_->pipe().Room());
  sched::Waiter writer(sched::kOut, [&](sched::EventMask e) { writable |= e; });
  write_->wait_queue().Add(&writer);
  EXPECT_EQ(write_->Readiness(sched::kOut), 0u);
  EXPECT_EQ(Read(65536).size(), 65536u);
  EXPECT_TRUE(writable & sched::kOut);
  write_->wait_queue().Remove(&writer);
  write_.Reset();
  EXPECT_TRUE(readable & sched::kHup);
  read_->wait_queue().Remove(&reader);
}

TEST_F(PipeTest, FionreadSaysWhatIsThere) {
  EXPECT_EQ(Write("abc"), "ok");
  int n = -1;
  vfs::SentryMemory memory;
  ASSERT_TRUE(read_->Ioctl(sh_.ctx(), FIONREAD, reinterpret_cast<uint64_t>(&n), memory).ok());
  EXPECT_EQ(n, 3);
}

// ---- FIFOs ----

TEST_F(PipeTest, FifoWriterWithoutAReader) {
  MUST(sh_.Mknod("/f", S_IFIFO | 0600));
  EXPECT_EQ(Outcome(sh_.Open("/f", O_WRONLY | O_NONBLOCK)), "ENXIO");
  auto reader = sh_.Open("/f", O_RDONLY | O_NONBLOCK);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->Readiness(sched::kIn | sched::kHup), 0u);  // nobody has come yet
  auto writer = sh_.Open("/f", O_WRONLY | O_NONBLOCK);
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(*sh_.WriteTo(**writer, "hi"), 2u);
  EXPECT_EQ(*sh_.ReadFrom(**reader, 10), "hi");
  *writer = nullptr;
  EXPECT_EQ((*reader)->Readiness(sched::kIn) & sched::kHup, sched::kHup);
}

}  // namespace
}  // namespace msentry::pipefs
