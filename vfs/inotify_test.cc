#include "vfs/inotify.h"

#include <sys/inotify.h>

#include "absl/strings/str_format.h"
#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"

namespace msentry::vfs {
namespace {

using Lines = std::vector<std::string>;

class InotifyTest : public testing::Test {
 protected:
  InotifyTest() : sh_(vfs_, MountNamespace::Create(MUST(tmpfs::Create({})), 0), RootCreds()) {
    OpContext c = sh_.ctx();
    file_ = MUST(MakeInotify(c, 0));
    MUST(sh_.Mkdir("/d"));
  }
  int Watch(std::string_view path, uint32_t mask) {
    OpContext c = sh_.ctx();
    return MUST(AddInotifyWatch(c, *file_, MUST(sh_.Resolve(path)).inode(), mask));
  }
  // What is queued, as "mask name".
  Lines Events() {
    Lines out;
    for (;;) {
      Result<std::string> raw = sh_.ReadFrom(*file_, 64 * 1024);
      if (!raw.ok()) return out;
      for (size_t at = 0; at < raw->size();) {
        inotify_event e;
        memcpy(&e, raw->data() + at, sizeof e);
        const char* name = e.len ? raw->data() + at + sizeof e : "";
        out.push_back(absl::StrFormat("%x %s", e.mask, name));
        at += sizeof e + e.len;
      }
    }
  }

  Vfs vfs_;
  Shell sh_;
  RefPtr<FileDescription> file_;
};

TEST_F(InotifyTest, NamesInADirectory) {
  Watch("/d", IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_MODIFY);
  MUST(sh_.Put("/d/f", "x"));
  MUST(sh_.Rename("/d/f", "/d/g"));
  MUST(sh_.Mkdir("/d/sub"));
  MUST(sh_.Unlink("/d/g"));
  EXPECT_EQ(Events(), (Lines{"100 f", "2 f", "8 f", "40 f", "80 g", "40000100 sub", "200 g"}));
}

TEST_F(InotifyTest, EndOfAFile) {
  MUST(sh_.Put("/d/f", ""));
  Watch("/d/f", IN_ALL_EVENTS);
  MUST(sh_.Unlink("/d/f"));
  EXPECT_EQ(Events(), (Lines{"4 ", "400 ", "8000 "}));
}

TEST_F(InotifyTest, EqualEventsAreMerged) {
  MUST(sh_.Put("/d/f", ""));
  Watch("/d/f", IN_MODIFY);
  RefPtr<FileDescription> f = MUST(sh_.Open("/d/f", O_WRONLY));
  for (int i = 0; i < 5; ++i) MUST(sh_.WriteTo(*f, "x"));
  EXPECT_EQ(Events(), (Lines{"2 "}));
}

TEST_F(InotifyTest, AFullQueueSaysSo) {
  vfs_.inotify_limits().max_queued_events = 3;
  Watch("/d", IN_CREATE);
  for (int i = 0; i < 10; ++i) MUST(sh_.Mkdir("/d/" + std::to_string(i)));
  EXPECT_EQ(Events(), (Lines{"40000100 0", "40000100 1", "40000100 2", "4000 "}));
}

TEST_F(InotifyTest, OneShotAndRemoval) {
  const int wd = Watch("/d", IN_CREATE | IN_ONESHOT);
  MUST(sh_.Mkdir("/d/1"));
  MUST(sh_.Mkdir("/d/2"));
  EXPECT_EQ(Events(), (Lines{"40000100 1", "8000 "}));
  EXPECT_EQ(Outcome(RemoveInotifyWatch(*file_, wd)), "EINVAL");
  const int again = Watch("/d", IN_CREATE);
  EXPECT_NE(again, wd);
  EXPECT_EQ(Outcome(RemoveInotifyWatch(*file_, again)), "ok");
  MUST(sh_.Mkdir("/d/3"));
  EXPECT_EQ(Events(), (Lines{"8000 "}));
}

TEST_F(InotifyTest, WatchesAreCountedPerUser) {
  vfs_.inotify_limits().max_user_watches = 1;
  const int wd = Watch("/d", IN_CREATE);
  EXPECT_EQ(Watch("/d", IN_DELETE), wd) << "the same inode, the same watch";
  OpContext c = sh_.ctx();
  EXPECT_EQ(Outcome(AddInotifyWatch(c, *file_, sh_.root().inode(), IN_CREATE)), "ENOSPC");
}

TEST_F(InotifyTest, ClosingTheInstanceEndsItsWatches) {
  Watch("/d", IN_CREATE);
  EXPECT_TRUE(InotifyActive());
  file_.Reset();
  EXPECT_FALSE(InotifyActive());
  MUST(sh_.Mkdir("/d/1"));
}

}  // namespace
}  // namespace msentry::vfs
