#include "runtime/supervisor/hidden_paths.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "gtest/gtest.h"
#include "runtime/state_directory.h"

namespace msentry::runtime {
namespace {

using Show = gofer::HiddenPath::Show;

TEST(LockPasswordsTest, EveryPasswordIsReplacedAndTheRestStays) {
  EXPECT_EQ(LockPasswords("root:$y$j9T$abc:19000:0:99999:7:::\ndaemon:*:19000::\n"),
            "root:!*:19000:0:99999:7:::\ndaemon:!*:19000::\n");
  EXPECT_EQ(LockPasswords("noflags:secret"), "noflags:!*\n");
  EXPECT_EQ(LockPasswords("not a shadow line\n"), "");
  EXPECT_EQ(LockPasswords(""), "");
}

TEST(HostsFileTest, HasLocalhostAndTheOwnName) {
  EXPECT_EQ(HostsFile("box"),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "127.0.0.1\tbox\n");
  EXPECT_TRUE(HostsFile("box.example.org").ends_with("\n127.0.0.1\tbox.example.org\tbox\n"));
}

class HiddenPathsTest : public testing::Test {
 protected:
  HiddenPathsTest() {
    char path[] = "/tmp/msentry-test-XXXXXX";
    root_ = mkdtemp(path);
    for (const char* dir : {"/etc", "/etc/ssh", "/etc/ssl", "/etc/ssl/private", "/state"}) {
      mkdir((root_ + dir).c_str(), 0755);
    }
    Write("/etc/shadow", "root:hash:1:\n");
    Write("/etc/ssh/ssh_host_rsa_key", "key");
    Write("/etc/ssh/ssh_host_rsa_key.pub", "public");
    config_.set_rootfs(root_);
    config_.set_state_directory(root_ + "/state/private");
  }
  ~HiddenPathsTest() override { RemoveTree(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(root_ + path) << text;
  }
  const gofer::HiddenPath* Find(const std::vector<gofer::HiddenPath>& all,
                                const std::string& path) {
    auto it = std::find_if(all.begin(), all.end(),
                           [&](const auto& h) { return h.host_path == root_ + path; });
    return it == all.end() ? nullptr : &*it;
  }
  std::string root_;
  control::Config config_;
};

TEST_F(HiddenPathsTest, KeysAreAbsentDirectoriesEmptyAndShadowLocked) {
  std::vector<gofer::HiddenPath> all = HiddenPaths(config_);
  ASSERT_NE(Find(all, "/etc/ssh/ssh_host_rsa_key"), nullptr);
  EXPECT_EQ(Find(all, "/etc/ssh/ssh_host_rsa_key")->show, Show::kAbsent);
  EXPECT_EQ(Find(all, "/etc/ssh/ssh_host_rsa_key.pub"), nullptr);
  ASSERT_NE(Find(all, "/etc/ssl/private"), nullptr);
  EXPECT_EQ(Find(all, "/etc/ssl/private")->show, Show::kEmptyDirectory);
  ASSERT_NE(Find(all, "/etc/shadow"), nullptr);
  EXPECT_EQ(Find(all, "/etc/shadow")->content, "root:!*:1:\n");
}

TEST_F(HiddenPathsTest, WhatIsShownStaysAndTheStateNeverAppears) {
  config_.add_show(root_ + "/etc/ssh");
  std::vector<gofer::HiddenPath> all = HiddenPaths(config_);
  EXPECT_EQ(Find(all, "/etc/ssh/ssh_host_rsa_key"), nullptr);
  EXPECT_NE(Find(all, "/state"), nullptr);
  config_.set_show_secrets(true);
  all = HiddenPaths(config_);
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all[0].host_path, root_ + "/state");
  EXPECT_EQ(Find(all, "/etc/shadow"), nullptr);
  for (const char* parent : {"/var/tmp", "/tmp"}) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const auto& h) {
      return h.host_path == parent + std::string("/msentry-") && h.show == Show::kAbsentNumbered;
    })) << parent;
  }
}

}  // namespace
}  // namespace msentry::runtime
