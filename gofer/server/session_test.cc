// The server against a client that breaks every rule, and against files that move under it.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "gofer/testing.h"
#include "gtest/gtest.h"

namespace msentry::gofer {
namespace {

using testing::DirectSession;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    char name[] = "/tmp/gofer.XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    top = name;
    dir = top + "/served";
    CHECK(mkdir(dir.c_str(), 0755) == 0);
    std::ofstream(top + "/secret") << "secret";
    std::ofstream(dir + "/file") << "contents";
    CHECK(mkdir((dir + "/d").c_str(), 0755) == 0);
    CHECK(symlink("..", (dir + "/up").c_str()) == 0);
    CHECK(symlink((top + "/secret").c_str(), (dir + "/out").c_str()) == 0);
    umask(0);
  }
  ~SessionTest() override { CHECK(system(("rm -rf " + top).c_str()) == 0); }

  std::string top, dir;
};

Errno ErrorOf(const auto& result) { return result.ok() ? Errno{} : result.error(); }

TEST_F(SessionTest, DotDotStopsAtTheRoot) {
  DirectSession s(dir);
  EXPECT_EQ(MUST(s.Walk(0, 1, {"..", "..", ".."})).qids.size(), 3u);
  EXPECT_EQ(ErrorOf(s.Walk(1, 2, {"secret"})), Errno::kENOENT);
  EXPECT_EQ(MUST(s.Walk(1, 2, {"d", "..", "file"})).qids.size(), 3u);
}

TEST_F(SessionTest, LinksAreNotFollowed) {
  DirectSession s(dir);
  EXPECT_EQ(MUST(s.Walk(0, 1, {"up"})).qids[0].type, p9::kQidSymlink);
  EXPECT_EQ(ErrorOf(s.Walk(1, 2, {"secret"})), Errno::kENOTDIR);
  EXPECT_EQ(MUST(s.Walk(0, 3, {"up", "secret"})).qids.size(), 1u);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tgetattr, p9::Rgetattr>({.fid = 3})), Errno::kEBADF);
  MUST(s.Walk(0, 4, {"out"}));
  EXPECT_EQ(ErrorOf(s.Call<p9::Tlopen, p9::Rlopen>({.fid = 4, .flags = O_RDONLY})), Errno::kELOOP);
  EXPECT_EQ(ErrorOf(s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 4, .flags = O_RDWR})), Errno::kELOOP);
}

TEST_F(SessionTest, FidRules) {
  DirectSession s(dir);
  EXPECT_EQ(ErrorOf(s.Walk(7, 8, {"file"})), Errno::kEBADF);
  MUST(s.Walk(0, 1, {"file"}));
  EXPECT_EQ(ErrorOf(s.Walk(0, 1, {"d"})), Errno::kEBADF);
  EXPECT_EQ(ErrorOf(s.Walk(0, p9::kNoFid, {"d"})), Errno::kEBADF);
  EXPECT_EQ(ErrorOf(s.Walk(1, 2, {"below"})), Errno::kENOTDIR);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tread, p9::Rread>({.fid = 1, .count = 10})), Errno::kEBADF);
  MUST((s.Call<p9::Tlopen, p9::Rlopen>({.fid = 1, .flags = O_RDONLY})));
  EXPECT_EQ(ErrorOf(s.Call<p9::Tlopen, p9::Rlopen>({.fid = 1})), Errno::kEBUSY);
  EXPECT_EQ(MUST((s.Call<p9::Tread, p9::Rread>({.fid = 1, .count = 1u << 31}))).data.data.size(),
            8u);
  EXPECT_EQ(ErrorOf(s.Call<p9::Twrite, p9::Rwrite>({.fid = 1, .data = {{}}})), Errno::kEBADF);
  MUST((s.Call<p9::Tclunk, p9::Rclunk>({.fid = 1})));
  EXPECT_EQ(ErrorOf(s.Call<p9::Tclunk, p9::Rclunk>({.fid = 1})), Errno::kEBADF);
  // Clunking the root does not end the attach point for fids made of it.
  MUST(s.Walk(0, 5, {"d"}));
  MUST((s.Call<p9::Tclunk, p9::Rclunk>({.fid = 0})));
  EXPECT_EQ(MUST(s.Walk(5, 6, {"..", "file"})).qids.size(), 2u);
}

TEST_F(SessionTest, BadNamesAreRefused) {
  DirectSession s(dir);
  for (std::string_view name : {"", "a/b", "/", "../x"}) {
    EXPECT_EQ(ErrorOf(s.Walk(0, 1, {name})), Errno::kEPROTO) << name;
    EXPECT_EQ(ErrorOf(s.Call<p9::Tmkdir, p9::Rmkdir>({.dfid = 0, .name = {name}, .mode = 0755})),
              Errno::kEPROTO);
  }
  EXPECT_EQ(ErrorOf(s.Walk(0, 1, {std::string_view("a\0b", 3)})), Errno::kEPROTO);
  EXPECT_EQ(ErrorOf(s.Walk(0, 1, {std::string(256, 'x')})), Errno::kEPROTO);
  for (std::string_view name : {".", ".."}) {
    EXPECT_FALSE((s.Call<p9::Tmkdir, p9::Rmkdir>({.dfid = 0, .name = {name}, .mode = 0755}).ok()));
    EXPECT_FALSE(
        (s.Call<p9::Tunlinkat, p9::Runlinkat>({.dfid = 0, .name = {name}, .flags = 0x200}).ok()));
    EXPECT_FALSE((s.Call<p9::Trenameat, p9::Rrenameat>(
                       {.olddirfid = 0, .oldname = {"d"}, .newdirfid = 0, .newname = {name}})
                      .ok()));
  }
}

TEST_F(SessionTest, DirectoriesAndDevicesAreNotDonated) {
  DirectSession s(dir);
  MUST(s.Walk(0, 1, {"d"}));
  EXPECT_EQ(ErrorOf(s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 1})), Errno::kEISDIR);
  ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0666), 0);
  MUST(s.Walk(0, 2, {"fifo"}));
  EXPECT_EQ(ErrorOf(s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 2})), Errno::kENXIO);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tlopen, p9::Rlopen>({.fid = 2, .flags = O_RDWR})), Errno::kENXIO);
  // A device node is nothing that we make on the host.
  EXPECT_EQ(ErrorOf(s.Call<p9::Tmknod, p9::Rmknod>(
                {.dfid = 0, .name = {"null"}, .mode = S_IFCHR | 0666, .major = 1, .minor = 3})),
            Errno::kEPERM);
  // But a whiteout is.
  MUST((s.Call<p9::Tmknod, p9::Rmknod>({.dfid = 0, .name = {"white"}, .mode = S_IFCHR})));
}

TEST_F(SessionTest, RepliesFitTheNegotiatedSize) {
  DirectSession s(dir);
  MUST((s.Call<p9::Tversion, p9::Rversion>({.msize = 4096, .version = p9::kVersionExtended})));
  // Too small for the extension: plain, and its messages are refused.
  EXPECT_EQ(ErrorOf(s.Call<p9::Tclunks, p9::Rclunks>({})), Errno::kEOPNOTSUPP);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tversion, p9::Rversion>({.msize = 100, .version = "9P2000.L"})),
            Errno::kEMSGSIZE);
  EXPECT_EQ(
      MUST((s.Call<p9::Tversion, p9::Rversion>({.msize = 8192, .version = "9P2000"}))).version,
      "unknown");
  EXPECT_EQ(ErrorOf(s.Call<p9::Tattach, p9::Rattach>({.fid = 0, .aname = "0"})), Errno::kEPROTO);
}

TEST_F(SessionTest, UnknownAttachPointsAndTypes) {
  DirectSession s(dir);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tattach, p9::Rattach>({.fid = 9, .aname = "/etc"})), Errno::kENOENT);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tauth, p9::Rauth>({.afid = 9})), Errno::kENOENT);
  for (int type = 0; type < 256; ++type) {
    std::vector<uint8_t> message = {7, 0, 0, 0, static_cast<uint8_t>(type), 1, 0};
    s.Raw(message);  // no body: an error, or nothing to say, but always an answer
  }
}

TEST_F(SessionTest, WalkattrGivesFidsAsFarAsItGets) {
  DirectSession s(dir);
  ASSERT_EQ(mkdir((dir + "/d/e").c_str(), 0700), 0);
  auto r = MUST((s.Call<p9::Twalkattr, p9::Rwalkattr>(
      {.fid = 0, .newfid = 10, .names = {{"d"}, {"e"}, {"none"}, {"x"}}})));
  EXPECT_EQ(r.attrs.size(), 2u);
  EXPECT_EQ(r.error, static_cast<uint32_t>(Errno::kENOENT));
  EXPECT_EQ(r.attrs[1].mode, S_IFDIR | 0700u);
  EXPECT_TRUE((s.Call<p9::Tgetattrs, p9::Rgetattrs>({.fid = 11}).ok()));
  EXPECT_EQ(ErrorOf(s.Call<p9::Tgetattrs, p9::Rgetattrs>({.fid = 12})), Errno::kEBADF);
  r = MUST((s.Call<p9::Twalkattr, p9::Rwalkattr>({.fid = 0, .newfid = 20, .names = {{"up"}}})));
  EXPECT_EQ(r.target, "..");
  // A fid in the way ends the walk there.
  r = MUST(
      (s.Call<p9::Twalkattr, p9::Rwalkattr>({.fid = 0, .newfid = 10, .names = {{"d"}, {"e"}}})));
  EXPECT_EQ(r.attrs.size(), 0u);
  EXPECT_EQ(r.error, static_cast<uint32_t>(Errno::kEBADF));
  EXPECT_EQ(ErrorOf(s.Call<p9::Twalkattr, p9::Rwalkattr>({.fid = 0, .newfid = 0xfffffff0})),
            Errno::kEBADF);
}

TEST_F(SessionTest, DonatedFdsHaveTheAskedMode) {
  DirectSession s(dir, {.read_only = true});
  MUST(s.Walk(0, 1, {"file"}));
  EXPECT_EQ(ErrorOf(s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 1, .flags = O_RDWR})), Errno::kEROFS);
  EXPECT_EQ(ErrorOf(s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 1, .flags = O_TRUNC})), Errno::kEROFS);
  EXPECT_EQ(ErrorOf(s.Call<p9::Tsetattr, p9::Rsetattr>({.fid = 1, .valid = p9::kSetMode})),
            Errno::kEROFS);
  MUST((s.Call<p9::Topenfd, p9::Ropenfd>({.fid = 1, .flags = O_RDONLY})));
  ScopedFd fd = s.TakeFd();
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(SessionTest, HostProcIsAnEmptyDirectory) {
  DirectSession s("/");
  MUST(s.Walk(0, 1, {"proc"}));
  EXPECT_EQ(ErrorOf(s.Walk(1, 2, {"self"})), Errno::kENOENT);
  MUST((s.Call<p9::Tlopen, p9::Rlopen>({.fid = 1, .flags = O_RDONLY})));
  auto r = MUST((s.Call<p9::Treaddir, p9::Rreaddir>({.fid = 1, .count = 4096})));
  std::span<const uint8_t> data = r.data.data;
  p9::Dirent entry;
  int entries = 0;
  while (p9::TakeDirent(data, entry)) ++entries;
  EXPECT_EQ(entries, 2);
  EXPECT_FALSE((s.Call<p9::Tmkdir, p9::Rmkdir>({.dfid = 1, .name = {"x"}, .mode = 0755}).ok()));
}

// Directories are renamed and replaced by links while a client walks them: whatever it reaches lies
// below the root.
TEST_F(SessionTest, RacingRenamesDoNotLeadOut) {
  DirectSession s(dir);
  ASSERT_EQ(mkdir((dir + "/d/inner").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((top + "/inner").c_str(), 0755), 0);
  std::ofstream(top + "/inner/leak") << "secret";
  ASSERT_EQ(symlink(top.c_str(), (dir + "/evil").c_str()), 0);
  std::atomic<bool> stop{false};
  std::thread racer([&] {
    while (!stop) {
      syscall(SYS_renameat2, AT_FDCWD, (dir + "/d").c_str(), AT_FDCWD, (dir + "/evil").c_str(),
              RENAME_EXCHANGE);
    }
  });
  int reached = 0;
  for (uint32_t i = 0; i < 20000; ++i) {
    auto r = s.Call<p9::Twalkattr, p9::Rwalkattr>(
        {.fid = 0, .newfid = 100, .flags = p9::kWalkNoFids, .names = {{"d"}, {"inner"}, {"leak"}}});
    ASSERT_TRUE(r.ok());
    EXPECT_LT(r->attrs.size(), 3u);
    reached += r->attrs.size() == 2;
  }
  stop = true;
  racer.join();
  EXPECT_GT(reached, 0);
}

TEST_F(SessionTest, XattrByWalkAndCreate) {
  DirectSession s(dir);
  MUST(s.Walk(0, 1, {"file"}));
  MUST(s.Walk(0, 2, {"file"}));
  MUST((s.Call<p9::Txattrcreate, p9::Rxattrcreate>({.fid = 2, .name = "user.k", .size = 3})));
  const uint8_t value[] = {'a', 'b', 'c', 'd'};
  EXPECT_EQ(ErrorOf(s.Call<p9::Twrite, p9::Rwrite>({.fid = 2, .data = {value}})), Errno::kE2BIG);
  EXPECT_EQ(ErrorOf(s.Call<p9::Twrite, p9::Rwrite>(
                {.fid = 2, .offset = 1, .data = {std::span(value).first(1)}})),
            Errno::kEINVAL);
  MUST((s.Call<p9::Twrite, p9::Rwrite>({.fid = 2, .data = {std::span(value).first(3)}})));
  MUST((s.Call<p9::Tclunk, p9::Rclunk>({.fid = 2})));
  EXPECT_EQ(
      MUST((s.Call<p9::Txattrwalk, p9::Rxattrwalk>({.fid = 1, .newfid = 3, .name = "user.k"})))
          .size,
      3u);
  auto r = MUST((s.Call<p9::Tread, p9::Rread>({.fid = 3, .offset = 1, .count = 100})));
  EXPECT_EQ(std::string(r.data.data.begin(), r.data.data.end()), "bc");
}

}  // namespace
}  // namespace msentry::gofer
