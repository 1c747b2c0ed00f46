#include "vfs/path_walk.h"

#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "vfs/dentry_cache.h"

namespace msentry::vfs {
namespace {

class PathWalkTest : public testing::Test {
 protected:
  PathWalkTest()
      : ns_(MountNamespace::Create(MUST(tmpfs::Create({.mode = 0755})), 0)),
        sh_(vfs_, ns_, RootCreds()),
        user_(vfs_, ns_, UserCreds(1000)) {
    for (const char* d : {"/a", "/a/b", "/a/b/c", "/m"}) MUST(sh_.Mkdir(d));
    MUST(sh_.Put("/a/f", "f"));
    MUST(sh_.Symlink("b/c", "/a/rel"));
    MUST(sh_.Symlink("/a/b", "/a/abs"));
    MUST(sh_.Symlink("loop", "/a/loop"));
    MUST(sh_.Symlink("f", "/a/tofile"));
    MUST(sh_.Symlink("missing", "/a/dangling"));
    MUST(sh_.Symlink("../../..", "/a/up"));
  }

  std::string Where(std::string_view path, uint32_t flags = kWalkFollow) {
    Result<Location> at = sh_.Resolve(path, flags);
    return at.ok() ? PathOf(*at, sh_.root()) : ErrnoName(at.error());
  }

  Vfs vfs_;
  RefPtr<MountNamespace> ns_;
  Shell sh_, user_;
};

TEST_F(PathWalkTest, Components) {
  EXPECT_EQ(Where("/"), "/");
  EXPECT_EQ(Where("///a//./b/../b/"), "/a/b");
  EXPECT_EQ(Where("/../../a"), "/a");
  EXPECT_EQ(Where(""), "ENOENT");
  EXPECT_EQ(Where("", kWalkEmptyPath), "/");
  EXPECT_EQ(Where("/a/x"), "ENOENT");
  EXPECT_EQ(Where("/a/x/y"), "ENOENT");
  EXPECT_EQ(Where("/a/f/y"), "ENOTDIR");
  EXPECT_EQ(Where("/a/f/"), "ENOTDIR");
  EXPECT_EQ(Where("/a/f/."), "ENOTDIR");
  EXPECT_EQ(Where("/a/f/.."), "ENOTDIR");
  EXPECT_EQ(Where("/a/f", kWalkDirectory), "ENOTDIR");
}

TEST_F(PathWalkTest, Symlinks) {
  EXPECT_EQ(Where("/a/rel"), "/a/b/c");
  EXPECT_EQ(Where("/a/rel", 0), "/a/rel");
  EXPECT_EQ(Where("/a/rel/", 0), "/a/b/c");
  EXPECT_EQ(Where("/a/rel/..", 0), "/a/b");
  EXPECT_EQ(Where("/a/abs/c"), "/a/b/c");
  EXPECT_EQ(Where("/a/loop"), "ELOOP");
  EXPECT_EQ(Where("/a/loop", 0), "/a/loop");
  EXPECT_EQ(Where("/a/tofile/"), "ENOTDIR");
  EXPECT_EQ(Where("/a/dangling"), "ENOENT");
  EXPECT_EQ(Where("/a/dangling/", 0), "ENOENT");
  EXPECT_EQ(Where("/a/up/a"), "/a");
}

TEST_F(PathWalkTest, FortyLinksAndNoMore) {
  MUST(sh_.Mkdir("/l"));
  MUST(sh_.Put("/l/0", ""));
  for (int i = 1; i <= 41; ++i) {
    MUST(sh_.Symlink(std::to_string(i - 1), "/l/" + std::to_string(i)));
  }
  EXPECT_EQ(Where("/l/40"), "/l/0");
  EXPECT_EQ(Where("/l/41"), "ELOOP");
}

TEST_F(PathWalkTest, Lengths) {
  EXPECT_EQ(Where("/" + std::string(255, 'n')), "ENOENT");
  EXPECT_EQ(Where("/" + std::string(256, 'n')), "ENAMETOOLONG");
  EXPECT_EQ(Where("/x/" + std::string(256, 'n')), "ENOENT");
  EXPECT_EQ(Where(std::string(4095, '/')), "/");
  EXPECT_EQ(Where(std::string(4096, '/')), "ENAMETOOLONG");
}

TEST_F(PathWalkTest, SearchPermission) {
  MUST(sh_.Chmod("/a", 0700));
  EXPECT_EQ(Outcome(user_.Stat("/a")), "ok");
  EXPECT_EQ(Outcome(user_.Stat("/a/f")), "EACCES");
  EXPECT_EQ(Outcome(user_.Stat("/a/.")), "EACCES");
  EXPECT_EQ(Outcome(user_.Stat("/a/missing")), "EACCES");
  MUST(sh_.Chmod("/a", 0711));
  EXPECT_EQ(Outcome(user_.Stat("/a/f")), "ok");
  EXPECT_EQ(Outcome(user_.List("/a")), "EACCES");
}

TEST_F(PathWalkTest, ResolveFlags) {
  ASSERT_TRUE(sh_.Chdir("/a").ok());
  EXPECT_EQ(Where("b/c", kWalkBeneath | kWalkFollow), "/a/b/c");
  EXPECT_EQ(Where("..", kWalkBeneath), "EXDEV");
  EXPECT_EQ(Where("b/../..", kWalkBeneath), "EXDEV");
  EXPECT_EQ(Where("/a", kWalkBeneath), "EXDEV");
  EXPECT_EQ(Where("abs", kWalkBeneath | kWalkFollow), "EXDEV");
  EXPECT_EQ(Where("rel", kWalkBeneath | kWalkFollow), "/a/b/c");
  EXPECT_EQ(Where("/b", kWalkInRoot), "/a/b");
  EXPECT_EQ(Where("../../b", kWalkInRoot), "/a/b");
  EXPECT_EQ(Where("abs", kWalkInRoot | kWalkFollow), "ENOENT") << "/a/b below /a";
  EXPECT_EQ(Where("rel", kWalkNoSymlinks | kWalkFollow), "ELOOP");
  EXPECT_EQ(Where("rel", kWalkNoSymlinks), "/a/rel");
  EXPECT_EQ(Where("abs/c", kWalkNoSymlinks), "ELOOP");
  EXPECT_EQ(Outcome(WalkFlagsOfResolve(64)), "EINVAL");
  EXPECT_EQ(Outcome(WalkFlagsOfResolve(8 | 16)), "EINVAL");
}

TEST_F(PathWalkTest, CachedOnly) {
  EXPECT_EQ(Where("/a/b"), "/a/b");
  EXPECT_EQ(Where("/a/b", kWalkCached), "/a/b");
  ns_->Root().dentry->PruneChildren();
  EXPECT_EQ(Where("/a/b", kWalkCached), "EAGAIN");
}

TEST_F(PathWalkTest, MountsAreCrossedBothWays) {
  RefPtr<FileSystem> fs = MUST(tmpfs::Create({}));
  ASSERT_EQ(Outcome(ns_->Attach(fs, MUST(sh_.Resolve("/m")), 0)), "ok");
  MUST(sh_.Mkdir("/m/in"));
  EXPECT_EQ(Where("/m/in/../../a"), "/a");
  EXPECT_EQ(Where("/m", kWalkNoXdev), "EXDEV");
  ASSERT_TRUE(sh_.Chdir("/m").ok());
  EXPECT_EQ(Where("..", kWalkNoXdev), "EXDEV");
  EXPECT_EQ(Where(".."), "/");
  EXPECT_NE(sh_.Stat("/m")->dev, sh_.Stat("/a")->dev);
  EXPECT_EQ(Outcome(sh_.Rmdir("/m")), "EBUSY");
  EXPECT_EQ(Outcome(sh_.Rename("/a/f", "/m/f")), "EXDEV");
  EXPECT_EQ(Outcome(ns_->Detach(MUST(sh_.Resolve("/m")), false)), "EBUSY") << "a cwd is in it";
  ASSERT_TRUE(sh_.Chdir("/").ok());
  EXPECT_EQ(Outcome(ns_->Detach(MUST(sh_.Resolve("/m")), false)), "ok");
  EXPECT_EQ(Outcome(sh_.Stat("/m/in")), "ENOENT");
  EXPECT_EQ(Outcome(ns_->Detach(MUST(sh_.Resolve("/m")), false)), "EINVAL");
}

TEST_F(PathWalkTest, BindMountsAndFlags) {
  Location a = MUST(sh_.Resolve("/a")), m = MUST(sh_.Resolve("/m"));
  RefPtr<Mount> bind = MUST(ns_->Bind(a, m, false));
  EXPECT_EQ(*sh_.Get("/m/f"), "f");
  EXPECT_EQ(sh_.Stat("/m")->ino, sh_.Stat("/a")->ino);
  ASSERT_TRUE(ns_->SetFlags(*bind, kMountReadOnly | kMountNoExec).ok());
  EXPECT_EQ(Outcome(sh_.Put("/m/f", "g")), "EROFS");
  EXPECT_EQ(Outcome(sh_.Unlink("/m/f")), "EROFS");
  EXPECT_EQ(Outcome(sh_.Mkdir("/m/b")), "EEXIST");
  EXPECT_EQ(Outcome(sh_.Put("/a/f", "g")), "ok");
  EXPECT_EQ(Outcome(sh_.Link("/a/f", "/m/g")), "EXDEV");
  std::vector<MountInfo> list = ns_->List(sh_.root());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[1].root, "/a");
  EXPECT_EQ(list[1].mount_point, "/m");
  EXPECT_EQ(list[1].options, "ro,noexec");
  // A writer keeps the mount from becoming read-only.
  ASSERT_TRUE(ns_->SetFlags(*bind, 0).ok());
  RefPtr<FileDescription> w = MUST(sh_.Open("/m/f", O_WRONLY));
  EXPECT_EQ(Outcome(ns_->SetFlags(*bind, kMountReadOnly)), "EBUSY");
  w.Reset();
  EXPECT_EQ(Outcome(ns_->SetFlags(*bind, kMountReadOnly)), "ok");
}

TEST_F(PathWalkTest, NamespaceCopiesAreIndependent) {
  Location cwd = sh_.cwd();
  RefPtr<MountNamespace> copy = *ns_->Clone({&cwd});
  EXPECT_TRUE(copy->Contains(*cwd.mount));
  ASSERT_TRUE(ns_->Attach(MUST(tmpfs::Create({})), MUST(sh_.Resolve("/m")), 0).ok());
  EXPECT_EQ(ns_->List(sh_.root()).size(), 2u);
  EXPECT_EQ(copy->List(copy->Root()).size(), 1u);
}

TEST_F(PathWalkTest, ExecAndWriteExcludeEachOther) {
  MUST(sh_.Chmod("/a/f", 0755));
  OpContext c = sh_.ctx();
  WalkContext walk{c, sh_.root(), sh_.cwd()};
  RefPtr<FileDescription> exe = MUST(OpenForExec(walk, "/a/f", kWalkFollow));
  EXPECT_EQ(Outcome(sh_.Open("/a/f", O_WRONLY)), "ETXTBSY");
  EXPECT_EQ(Outcome(sh_.Truncate("/a/f", 0)), "ETXTBSY");
  exe.Reset();
  RefPtr<FileDescription> w = MUST(sh_.Open("/a/f", O_WRONLY));
  EXPECT_EQ(Outcome(OpenForExec(walk, "/a/f", kWalkFollow)), "ETXTBSY");
  EXPECT_EQ(Outcome(OpenForExec(walk, "/a", kWalkFollow)), "EACCES");
}

TEST_F(PathWalkTest, OpenCreatesThroughDanglingLinks) {
  EXPECT_EQ(Outcome(sh_.Put("/a/dangling", "made")), "ok");
  EXPECT_EQ(*sh_.Get("/a/missing"), "made");
  EXPECT_EQ(Outcome(sh_.Open("/a/tofile", O_CREAT | O_EXCL | O_WRONLY)), "EEXIST");
  EXPECT_EQ(Outcome(sh_.Open("/a/tofile", O_CREAT | O_NOFOLLOW | O_WRONLY)), "ELOOP");
  EXPECT_EQ(Outcome(sh_.Open("/a/tofile", O_RDONLY | O_NOFOLLOW)), "ELOOP");
  EXPECT_EQ(Outcome(sh_.Open("/a/tofile", O_PATH | O_NOFOLLOW)), "ok");
  EXPECT_EQ(Outcome(sh_.Open("/a", O_WRONLY)), "EISDIR");
  EXPECT_EQ(Outcome(sh_.Open("/a", O_CREAT | O_RDONLY)), "EISDIR");
  EXPECT_EQ(Outcome(sh_.Open("/a/f", O_DIRECTORY)), "ENOTDIR");
}

TEST_F(PathWalkTest, TheCacheIsBounded) {
  DentryCache& cache = DentryCache::Get();
  const size_t before = cache.size();
  cache.SetLimit(before + 100);
  for (int i = 0; i < 2000; ++i) MUST(sh_.Mkdir("/m/" + std::to_string(i)));
  EXPECT_LE(cache.size(), before + 200);
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(sh_.Stat("/m/" + std::to_string(i)).ok());
  EXPECT_LE(cache.size(), before + 200);
  cache.SetLimit(65536);
}

}  // namespace
}  // namespace msentry::vfs
