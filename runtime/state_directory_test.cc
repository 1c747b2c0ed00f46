#include "runtime/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "gtest/gtest.h"

namespace msentry::runtime {
namespace {

class StateDirectoryTest : public testing::Test {
 protected:
  StateDirectoryTest() {
    char path[] = "/tmp/msentry-test-XXXXXX";
    parent_ = mkdtemp(path);
  }
  ~StateDirectoryTest() override { RemoveTree(parent_); }
  static bool Exists(const std::string& path) {
    struct stat st;
    return lstat(path.c_str(), &st) == 0;
  }
  std::string parent_;
};

TEST_F(StateDirectoryTest, PrivateOneHasAnUpperLayerAndIsLocked) {
  StateDirectory state;
  std::string error;
  ASSERT_TRUE(CreateStateDirectory(parent_, &state, &error)) << error;
  EXPECT_TRUE(Exists(UpperPath(state.path)));
  ScopedFd other(open(state.path.c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_NE(flock(other.get(), LOCK_EX | LOCK_NB), 0);
}

TEST_F(StateDirectoryTest, NextOneSweepsWhatHasNoOwnerAndNothingElse) {
  StateDirectory dead, live, next;
  std::string error;
  ASSERT_TRUE(CreateStateDirectory(parent_, &dead, &error)) << error;
  ASSERT_TRUE(CreateStateDirectory(parent_, &live, &error)) << error;
  dead.lock.Reset();
  ASSERT_TRUE(CreateStateDirectory(parent_, &next, &error)) << error;
  EXPECT_FALSE(Exists(dead.path));
  EXPECT_TRUE(Exists(live.path));
}

TEST_F(StateDirectoryTest, TheLastOneTakesTheBaseAlong) {
  StateDirectory first, second;
  std::string error;
  ASSERT_TRUE(CreateStateDirectory(parent_, &first, &error)) << error;
  ASSERT_TRUE(CreateStateDirectory(parent_, &second, &error)) << error;
  std::string base = first.path.substr(0, first.path.rfind('/'));
  RemoveStateDirectory(first.path);
  EXPECT_TRUE(Exists(base));
  RemoveStateDirectory(second.path);
  EXPECT_FALSE(Exists(base));
}

TEST_F(StateDirectoryTest, SomebodyElsesBaseIsRefused) {
  std::string base = parent_ + "/msentry-" + std::to_string(geteuid());
  ASSERT_EQ(mkdir(base.c_str(), 0700), 0);
  ASSERT_EQ(chmod(base.c_str(), 0777), 0);
  StateDirectory state;
  std::string error;
  EXPECT_FALSE(CreateStateDirectory(parent_, &state, &error));
  EXPECT_NE(error.find(base), std::string::npos) << error;
}

TEST_F(StateDirectoryTest, KeptOneIsRefusedWhileInUse) {
  StateDirectory first, second;
  std::string error;
  ASSERT_TRUE(OpenKeptStateDirectory(parent_ + "/kept", &first, &error)) << error;
  EXPECT_FALSE(OpenKeptStateDirectory(parent_ + "/kept", &second, &error));
  EXPECT_NE(error.find("another sandbox"), std::string::npos) << error;
  first.lock.Reset();
  EXPECT_TRUE(OpenKeptStateDirectory(parent_ + "/kept", &second, &error)) << error;
}

TEST_F(StateDirectoryTest, RemovesTreesDeeperThanAnyPathAndDirectoriesWithoutPermissions) {
  std::string top = parent_ + "/deep";
  ASSERT_EQ(mkdir(top.c_str(), 0755), 0);
  ScopedFd fd(open(top.c_str(), O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < 3000; i++) {
    ASSERT_EQ(mkdirat(fd.get(), "directory", 0755), 0);
    ASSERT_EQ(symlinkat("/", fd.get(), "link"), 0);
    ScopedFd next(openat(fd.get(), "directory", O_RDONLY | O_DIRECTORY));
    fd = std::move(next);
  }
  fd.Reset();
  ASSERT_EQ(mkdir((top + "/closed").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((top + "/closed/inner").c_str(), 0755), 0);
  ASSERT_EQ(chmod((top + "/closed/inner").c_str(), 0), 0);
  ASSERT_EQ(chmod((top + "/closed").c_str(), 0), 0);
  RemoveTree(top);
  EXPECT_FALSE(Exists(top));
}

}  // namespace
}  // namespace msentry::runtime
