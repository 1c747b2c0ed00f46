#include "fsimpl/overlay/overlay.h"

#include <linux/fs.h>

#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tests/random_model.h"
#include "fsimpl/tmpfs/tmpfs.h"

namespace msentry::overlay {
namespace {

using Names = std::vector<std::string>;

RefPtr<vfs::FileSystem> Tmp() { return MUST(tmpfs::Create({.mode = 0755})); }

// Lower and upper are tmpfs: `low` prepares the lower layer before Start().
class OverlayTest : public testing::Test {
 protected:
  OverlayTest()
      : lower_(Tmp()),
        upper_(Tmp()),
        low(vfs_, vfs::MountNamespace::Create(lower_, 0), RootCreds()),
        up(vfs_, vfs::MountNamespace::Create(upper_, 0), RootCreds()) {}

  // The dentries of the layers' own shells see nothing of what overlay does: only used before Start
  // (low), or for fresh names after it (up).
  void Start() {
    creds_ = RootCreds();
    vfs::OpContext ctx(vfs_, *creds_);
    RefPtr<vfs::FileSystem> fs =
        MUST(Create(ctx, {.lower = {lower_}, .upper = upper_, .show_options = {}}));
    ns_ = vfs::MountNamespace::Create(std::move(fs), 0);
    sh_ = std::make_unique<Shell>(vfs_, ns_, creds_);
  }
  Shell& sh() { return *sh_; }
  // Forgets every cached name, so that the next lookups read the layers again.
  void DropCaches() { ns_->Root().dentry->PruneChildren(); }

  vfs::Vfs vfs_;
  RefPtr<vfs::FileSystem> lower_, upper_;
  Shell low, up;
  RefPtr<auth::Credentials> creds_;
  RefPtr<vfs::MountNamespace> ns_;
  std::unique_ptr<Shell> sh_;
};

TEST_F(OverlayTest, ShowsLowerAndCopiesOnWrite) {
  ASSERT_TRUE(low.Mkdir("/d").ok());
  ASSERT_TRUE(low.Put("/d/f", "lower").ok());
  ASSERT_TRUE(low.Chmod("/d/f", 0640).ok());
  Start();
  EXPECT_EQ(*sh().Get("/d/f"), "lower");
  const uint64_t ino = sh().Stat("/d/f")->ino;
  RefPtr<vfs::FileDescription> old = MUST(sh().Open("/d/f", O_RDONLY));
  RefPtr<vfs::FileDescription> w = MUST(sh().Open("/d/f", O_WRONLY | O_APPEND));
  ASSERT_TRUE(sh().WriteTo(*w, "+upper").ok());
  EXPECT_EQ(*sh().Get("/d/f"), "lower+upper");
  EXPECT_EQ(*sh().ReadFrom(*old, 100), "lower+upper") << "an old descriptor sees the copy";
  EXPECT_EQ(*low.Get("/d/f"), "lower") << "the lower layer is never written";
  EXPECT_EQ(sh().Stat("/d/f")->ino, ino);
  EXPECT_EQ(sh().Stat("/d/f")->mode & 07777, 0640u);
  DropCaches();
  old.Reset();
  w.Reset();
  DropCaches();
  EXPECT_EQ(sh().Stat("/d/f")->ino, ino) << "also when the inode had been forgotten";
  EXPECT_EQ(*sh().Get("/d/f"), "lower+upper");
}

TEST_F(OverlayTest, RootHasTheLowerOnesOwnerAndMode) {
  ASSERT_TRUE(low.Chmod("/", 01750).ok());
  ASSERT_TRUE(low.Chown("/", 7, 8).ok());
  ASSERT_TRUE(up.Chown("/", 1000, 1000).ok());
  Start();
  vfs::Attributes root = *sh().Stat("/");
  EXPECT_EQ(root.mode & 07777, 01750u);
  EXPECT_EQ(root.uid, 7u);
  EXPECT_EQ(root.gid, 8u);
  ASSERT_TRUE(sh().Chmod("/", 0711).ok());
  Start();  // on the same layers, as with --keep
  root = *sh().Stat("/");
  EXPECT_EQ(root.mode & 07777, 0711u) << "only once";
  EXPECT_EQ(root.uid, 7u);
}

TEST_F(OverlayTest, RemovedNamesStayRemoved) {
  ASSERT_TRUE(low.Mkdir("/d").ok());
  ASSERT_TRUE(low.Put("/d/a", "a").ok());
  ASSERT_TRUE(low.Put("/d/b", "b").ok());
  Start();
  ASSERT_EQ(Outcome(sh().Unlink("/d/a")), "ok");
  DropCaches();
  EXPECT_EQ(Outcome(sh().Stat("/d/a")), "ENOENT");
  EXPECT_EQ(*sh().List("/d"), (Names{"b"}));
  EXPECT_EQ(Outcome(sh().Rmdir("/d")), "ENOTEMPTY");
  ASSERT_TRUE(sh().Put("/d/a", "new").ok());
  DropCaches();
  EXPECT_EQ(*sh().Get("/d/a"), "new");
  ASSERT_TRUE(sh().Unlink("/d/a").ok());
  ASSERT_TRUE(sh().Unlink("/d/b").ok());
  EXPECT_EQ(*sh().List("/d"), Names());
  ASSERT_EQ(Outcome(sh().Rmdir("/d")), "ok");
  DropCaches();
  EXPECT_EQ(Outcome(sh().Stat("/d")), "ENOENT");
  // A new directory of that name is empty.
  ASSERT_TRUE(sh().Mkdir("/d").ok());
  DropCaches();
  EXPECT_EQ(*sh().List("/d"), Names());
  EXPECT_EQ(Outcome(sh().Stat("/d/b")), "ENOENT");
}

TEST_F(OverlayTest, LowerDirectoriesCanBeRenamed) {
  ASSERT_TRUE(low.Mkdir("/d").ok());
  ASSERT_TRUE(low.Mkdir("/d/sub").ok());
  ASSERT_TRUE(low.Put("/d/sub/f", "deep").ok());
  ASSERT_TRUE(low.Mkdir("/other").ok());
  Start();
  ASSERT_EQ(Outcome(sh().Rename("/d", "/other/e")), "ok");
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_EQ(*sh().Get("/other/e/sub/f"), "deep");
    EXPECT_EQ(Outcome(sh().Stat("/d")), "ENOENT");
    EXPECT_EQ(*sh().List("/"), (Names{"other"}));
    EXPECT_EQ(*sh().List("/other/e"), (Names{"sub"}));
    DropCaches();
  }
  // And again, one level below the moved one.
  ASSERT_EQ(Outcome(sh().Rename("/other/e/sub", "/sub2")), "ok");
  DropCaches();
  EXPECT_EQ(*sh().Get("/sub2/f"), "deep");
  EXPECT_EQ(*sh().List("/other/e"), Names());
  // A new directory at the old name does not show what was moved away.
  ASSERT_TRUE(sh().Mkdir("/d").ok());
  DropCaches();
  EXPECT_EQ(*sh().List("/d"), Names());
}

TEST_F(OverlayTest, RenameOverLowerFileAndIntoWhiteout) {
  ASSERT_TRUE(low.Put("/a", "a").ok());
  ASSERT_TRUE(low.Put("/b", "b").ok());
  Start();
  ASSERT_EQ(Outcome(sh().Rename("/a", "/b")), "ok");
  DropCaches();
  EXPECT_EQ(*sh().List("/"), (Names{"b"}));
  EXPECT_EQ(*sh().Get("/b"), "a");
  ASSERT_EQ(Outcome(sh().Rename("/b", "/a")), "ok");
  DropCaches();
  EXPECT_EQ(*sh().List("/"), (Names{"a"}));
  ASSERT_TRUE(sh().Put("/c", "c").ok());
  ASSERT_EQ(Outcome(sh().Rename("/a", "/c", RENAME_EXCHANGE)), "ok");
  DropCaches();
  EXPECT_EQ(*sh().Get("/a"), "c");
  EXPECT_EQ(*sh().Get("/c"), "a");
}

TEST_F(OverlayTest, HardLinksOfLowerFilesStayOneFile) {
  ASSERT_TRUE(low.Put("/a", "x").ok());
  ASSERT_TRUE(low.Link("/a", "/b").ok());
  Start();
  EXPECT_EQ(sh().Stat("/a")->nlink, 2u);
  ASSERT_TRUE(sh().Put("/a", "changed").ok());
  DropCaches();
  EXPECT_EQ(*sh().Get("/b"), "changed");
  EXPECT_EQ(sh().Stat("/b")->ino, sh().Stat("/a")->ino);
  EXPECT_EQ(sh().Stat("/b")->nlink, 2u);
  ASSERT_TRUE(sh().Link("/b", "/c").ok());
  EXPECT_EQ(sh().Stat("/c")->nlink, 3u);
  ASSERT_TRUE(sh().Rename("/b", "/e").ok());
  EXPECT_EQ(*sh().Get("/e"), "changed");
  ASSERT_TRUE(sh().Unlink("/a").ok());
  DropCaches();
  EXPECT_EQ(*sh().List("/"), (Names{"c", "e"}));
  EXPECT_EQ(sh().Stat("/e")->nlink, 2u);
  EXPECT_EQ(*sh().Get("/e"), "changed");
}

TEST_F(OverlayTest, RemovedOpenLowerFileCanStillBeChanged) {
  ASSERT_TRUE(low.Put("/a", "x").ok());
  Start();
  RefPtr<vfs::FileDescription> f = MUST(sh().Open("/a", O_RDONLY));
  ASSERT_TRUE(sh().Unlink("/a").ok());
  vfs::OpContext c = sh().ctx();
  vfs::SetAttributes a;
  a.set = vfs::SetAttributes::kMode;
  a.mode = 0600;
  EXPECT_EQ(Outcome(vfs::SetAttr(c, f->location(), a)), "ok");
  EXPECT_EQ(vfs::GetAttr(c, *f)->mode & 07777, 0600u);
  EXPECT_EQ(vfs::GetAttr(c, *f)->nlink, 0u);
  EXPECT_EQ(*sh().ReadFrom(*f, 10), "x");
  EXPECT_EQ(*sh().List("/"), Names());
}

TEST_F(OverlayTest, TruncatingOpenDoesNotKeepContent) {
  ASSERT_TRUE(low.Put("/a", std::string(100'000, 'x')).ok());
  Start();
  ASSERT_TRUE(sh().Put("/a", "short").ok());
  EXPECT_EQ(*sh().Get("/a"), "short");
  EXPECT_EQ(low.Stat("/a")->size, 100'000u);
}

TEST_F(OverlayTest, SpecialFilesAndXattrs) {
  ASSERT_TRUE(low.Mknod("/fifo", S_IFIFO | 0644).ok());
  ASSERT_TRUE(low.Symlink("fifo", "/link").ok());
  ASSERT_TRUE(low.Put("/x", "").ok());
  vfs::OpContext lc = low.ctx();
  ASSERT_TRUE(vfs::SetXattr(lc, MUST(low.Resolve("/x")), "user.k", "v", 0).ok());
  Start();
  ASSERT_TRUE(sh().Chmod("/fifo", 0600).ok());
  EXPECT_EQ(sh().Stat("/fifo")->mode, S_IFIFO | 0600u);
  ASSERT_TRUE(sh().Chown("/link", 7, 7).ok());
  EXPECT_EQ(*sh().ReadLink("/link"), "fifo");
  EXPECT_EQ(sh().Stat("/link")->uid, 7u);
  ASSERT_TRUE(sh().Put("/x", "1").ok());
  vfs::OpContext c = sh().ctx();
  EXPECT_EQ(*vfs::GetXattr(c, MUST(sh().Resolve("/x")), "user.k"), "v");
  EXPECT_EQ(Outcome(sh().Mknod("/w", S_IFCHR, 0)), "EPERM") << "that would be a whiteout";
}

TEST_F(OverlayTest, RandomOperationsAgreeWithAPlainFileSystem) {
  for (uint32_t seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    lower_ = Tmp();
    upper_ = Tmp();
    Shell fresh_low(vfs_, vfs::MountNamespace::Create(lower_, 0), RootCreds());
    Shell fresh_up(vfs_, vfs::MountNamespace::Create(upper_, 0), RootCreds());
    PrepareTree(fresh_low);
    Start();
    Shell plain(vfs_, vfs::MountNamespace::Create(Tmp(), 0), RootCreds());
    PrepareTree(plain);
    RandomModel(seed, sh(), plain, [&] { DropCaches(); }).Run(400);
  }
}

}  // namespace
}  // namespace msentry::overlay
