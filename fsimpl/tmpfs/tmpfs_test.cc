#include "fsimpl/tmpfs/tmpfs.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>

#include "fsimpl/tests/fs_fixture.h"
#include "sentry/mm/host_proc.h"
#include "vfs/mapping.h"

namespace msentry::tmpfs {
namespace {

using vfs::kWalkFollow;
using Names = std::vector<std::string>;

class TmpfsTest : public testing::Test {
 protected:
  explicit TmpfsTest(Options options = {})
      : ns_(vfs::MountNamespace::Create(MUST(Create(options)), 0)),
        sh_(vfs_, ns_, RootCreds()),
        user_(vfs_, ns_, UserCreds(1000)) {}

  vfs::Vfs vfs_;
  RefPtr<vfs::MountNamespace> ns_;
  Shell sh_, user_;
};

TEST_F(TmpfsTest, FilesKeepWhatIsWritten) {
  ASSERT_EQ(Outcome(sh_.Put("/a", "hello")), "ok");
  EXPECT_EQ(*sh_.Get("/a"), "hello");
  vfs::Attributes a = MUST(sh_.Stat("/a"));
  EXPECT_EQ(a.size, 5u);
  EXPECT_EQ(a.mode, S_IFREG | 0644u);
  EXPECT_EQ(a.nlink, 1u);
}

TEST_F(TmpfsTest, LargeFileMovesToTheHost) {
  std::string big(300'000, 'x');
  big[299'999] = 'y';
  ASSERT_EQ(Outcome(sh_.Put("/big", big)), "ok");
  EXPECT_EQ(*sh_.Get("/big"), big);
  EXPECT_EQ(sh_.Stat("/big")->blocks, (300'000u + 4095) / 4096 * 8);
  EXPECT_EQ(Outcome(sh_.Truncate("/big", 10)), "ok");
  EXPECT_EQ(*sh_.Get("/big"), "xxxxxxxxxx");
}

TEST_F(TmpfsTest, AppendGoesToTheEnd) {
  ASSERT_TRUE(sh_.Put("/a", "one").ok());
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/a", O_WRONLY | O_APPEND));
  EXPECT_EQ(*sh_.WriteTo(*f, "two"), 3u);
  EXPECT_EQ(f->position(), 6);
  EXPECT_EQ(*sh_.Get("/a"), "onetwo");
}

TEST_F(TmpfsTest, NamesFollowLinuxRules) {
  ASSERT_TRUE(sh_.Mkdir("/d").ok());
  EXPECT_EQ(Outcome(sh_.Mkdir("/d")), "EEXIST");
  EXPECT_EQ(Outcome(sh_.Mkdir("/d/x/y")), "ENOENT");
  ASSERT_TRUE(sh_.Put("/d/f", "").ok());
  EXPECT_EQ(Outcome(sh_.Mkdir("/d/f/x")), "ENOTDIR");
  EXPECT_EQ(Outcome(sh_.Rmdir("/d")), "ENOTEMPTY");
  EXPECT_EQ(Outcome(sh_.Unlink("/d")), "EISDIR");
  EXPECT_EQ(Outcome(sh_.Rmdir("/d/f")), "ENOTDIR");
  EXPECT_EQ(Outcome(sh_.Unlink("/d/f/")), "ENOTDIR");
  EXPECT_EQ(Outcome(sh_.Rmdir("/d/.")), "EINVAL");
  EXPECT_EQ(Outcome(sh_.Rmdir("/d/..")), "ENOTEMPTY");
  EXPECT_EQ(Outcome(sh_.Rmdir("/")), "EBUSY");
  EXPECT_EQ(Outcome(sh_.Mkdir("/d/n/")), "ok");
  EXPECT_EQ(Outcome(sh_.Open("/d/new/", O_CREAT | O_WRONLY)), "EISDIR");
  EXPECT_EQ(Outcome(sh_.Symlink("x", "/d/l/")), "ENOENT");
  EXPECT_EQ(*sh_.List("/d"), (Names{"f", "n"}));
}

TEST_F(TmpfsTest, LinkCountsOfDirectories) {
  ASSERT_TRUE(sh_.Mkdir("/d").ok());
  EXPECT_EQ(sh_.Stat("/d")->nlink, 2u);
  ASSERT_TRUE(sh_.Mkdir("/d/e").ok());
  EXPECT_EQ(sh_.Stat("/d")->nlink, 3u);
  ASSERT_TRUE(sh_.Rename("/d/e", "/e").ok());
  EXPECT_EQ(sh_.Stat("/d")->nlink, 2u);
}

TEST_F(TmpfsTest, RenameReplacesAndExchanges) {
  ASSERT_TRUE(sh_.Put("/a", "a").ok());
  ASSERT_TRUE(sh_.Put("/b", "b").ok());
  EXPECT_EQ(Outcome(sh_.Rename("/a", "/b", RENAME_NOREPLACE)), "EEXIST");
  EXPECT_EQ(Outcome(sh_.Rename("/a", "/b", RENAME_EXCHANGE)), "ok");
  EXPECT_EQ(*sh_.Get("/a"), "b");
  EXPECT_EQ(Outcome(sh_.Rename("/a", "/b")), "ok");
  EXPECT_EQ(*sh_.Get("/b"), "b");
  EXPECT_EQ(Outcome(sh_.Stat("/a")), "ENOENT");
  ASSERT_TRUE(sh_.Mkdir("/d").ok());
  ASSERT_TRUE(sh_.Mkdir("/d/e").ok());
  EXPECT_EQ(Outcome(sh_.Rename("/d", "/d/e/x")), "EINVAL");
  EXPECT_EQ(Outcome(sh_.Rename("/d/e", "/d")), "ENOTEMPTY");
  EXPECT_EQ(Outcome(sh_.Rename("/b", "/d")), "EISDIR");
  EXPECT_EQ(Outcome(sh_.Rename("/d", "/b")), "ENOTDIR");
  EXPECT_EQ(Outcome(sh_.Rename("/d/.", "/x")), "EBUSY");
  ASSERT_TRUE(sh_.Link("/b", "/b2").ok());
  EXPECT_EQ(Outcome(sh_.Rename("/b", "/b2")), "ok");
  EXPECT_TRUE(sh_.Stat("/b").ok()) << "two names of one file: rename does nothing";
}

TEST_F(TmpfsTest, RemovedFileLivesUntilClosed) {
  ASSERT_TRUE(sh_.Put("/a", "data").ok());
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/a", O_RDONLY));
  ASSERT_TRUE(sh_.Unlink("/a").ok());
  EXPECT_EQ(*sh_.ReadFrom(*f, 10), "data");
  vfs::OpContext c = sh_.ctx();
  EXPECT_EQ(vfs::GetAttr(c, *f)->nlink, 0u);
  EXPECT_EQ(vfs::PathOf(f->location(), sh_.root()), "/a (deleted)");
}

TEST_F(TmpfsTest, RemovedDirectoryTakesNoNewNames) {
  ASSERT_TRUE(sh_.Mkdir("/d").ok());
  ASSERT_TRUE(sh_.Chdir("/d").ok());
  ASSERT_TRUE(sh_.Rmdir("/d").ok());
  EXPECT_EQ(Outcome(sh_.Put("x", "")), "ENOENT");
  EXPECT_EQ(Outcome(sh_.Stat(".")), "ok");
  EXPECT_EQ(Outcome(vfs::PathForGetcwd(sh_.cwd(), sh_.root())), "ENOENT");
  EXPECT_EQ(Outcome(sh_.Chdir("..")), "ok");
}

TEST_F(TmpfsTest, DirectoryCanChangeWhileItIsRead) {
  ASSERT_TRUE(sh_.Mkdir("/d").ok());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sh_.Put("/d/" + std::to_string(i), "").ok());
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/d", O_RDONLY | O_DIRECTORY));
  vfs::OpContext c = sh_.ctx();
  int removed = 0;
  for (;;) {  // as rm -r does: read some, remove them, go on
    std::vector<std::string> some;
    ASSERT_TRUE(vfs::ReadDirectory(c, *f, [&](const vfs::Dirent& d) {
                  if (some.size() == 7) return false;
                  some.emplace_back(d.name);
                  return true;
                }).ok());
    if (some.empty()) break;
    for (const std::string& n : some) {
      if (n == "." || n == "..") continue;
      ASSERT_TRUE(sh_.Unlink("/d/" + n).ok());
      ++removed;
    }
  }
  EXPECT_EQ(removed, 100);
  EXPECT_EQ(Outcome(sh_.Rmdir("/d")), "ok");
}

TEST_F(TmpfsTest, PermissionsAndSticky) {
  ASSERT_TRUE(sh_.Mkdir("/secret", 0700).ok());
  ASSERT_TRUE(sh_.Put("/secret/f", "x").ok());
  EXPECT_EQ(Outcome(user_.Get("/secret/f")), "EACCES");
  ASSERT_TRUE(sh_.Put("/rootfile", "x").ok());
  EXPECT_EQ(Outcome(user_.Unlink("/rootfile")), "EPERM") << "the root is sticky: mode 1777";
  ASSERT_TRUE(user_.Put("/mine", "x").ok());
  EXPECT_EQ(Outcome(user_.Unlink("/mine")), "ok");
  EXPECT_EQ(Outcome(user_.Chmod("/rootfile", 0777)), "EPERM");
  EXPECT_EQ(Outcome(user_.Open("/rootfile", O_WRONLY)), "EACCES");
  EXPECT_EQ(Outcome(user_.Link("/rootfile", "/l")), "EPERM") << "protected_hardlinks";
  ASSERT_TRUE(user_.Symlink("/rootfile", "/ul").ok());
  EXPECT_EQ(Outcome(sh_.Get("/ul")), "EACCES") << "protected_symlinks";
}

TEST_F(TmpfsTest, SetIdBitsGoOnWriteAndChown) {
  ASSERT_TRUE(user_.Put("/p", "x").ok());
  ASSERT_TRUE(user_.Chmod("/p", 06755).ok());
  RefPtr<vfs::FileDescription> f = MUST(user_.Open("/p", O_WRONLY));
  ASSERT_TRUE(user_.WriteTo(*f, "y").ok());
  EXPECT_EQ(user_.Stat("/p")->mode & 07777, 0755u);
  ASSERT_TRUE(sh_.Chmod("/p", 04755).ok());
  ASSERT_TRUE(sh_.Chown("/p", 5, 5).ok());
  EXPECT_EQ(user_.Stat("/p")->mode & 07777, 0755u);
}

TEST_F(TmpfsTest, SetGidDirectoryGivesItsGroup) {
  ASSERT_TRUE(sh_.Mkdir("/g").ok());
  ASSERT_TRUE(sh_.Chown("/g", 0, 42).ok());
  ASSERT_TRUE(sh_.Chmod("/g", 02775).ok());
  ASSERT_TRUE(sh_.Mkdir("/g/d").ok());
  ASSERT_TRUE(sh_.Put("/g/f", "").ok());
  EXPECT_EQ(sh_.Stat("/g/d")->gid, 42u);
  EXPECT_EQ(sh_.Stat("/g/d")->mode & S_ISGID, unsigned{S_ISGID});
  EXPECT_EQ(sh_.Stat("/g/f")->gid, 42u);
}

TEST_F(TmpfsTest, UnnamedFilesCanBeLinkedOnce) {
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/", O_TMPFILE | O_RDWR, 0600));
  ASSERT_TRUE(sh_.WriteTo(*f, "t").ok());
  vfs::OpContext c = sh_.ctx();
  EXPECT_EQ(vfs::GetAttr(c, *f)->nlink, 0u);
  ASSERT_EQ(Outcome(vfs::Link({c, sh_.root(), f->location()}, "", vfs::kWalkEmptyPath,
                              {c, sh_.root(), sh_.cwd()}, "/named")),
            "ok");
  EXPECT_EQ(*sh_.Get("/named"), "t");
}

TEST_F(TmpfsTest, FileSizeLimitStopsWrites) {
  sh_.fsize_limit = 4;
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/a", O_CREAT | O_WRONLY));
  EXPECT_EQ(*sh_.WriteTo(*f, "123456"), 4u);
  EXPECT_EQ(Outcome(sh_.WriteTo(*f, "7")), "EFBIG");
}

class SmallTmpfsTest : public TmpfsTest {
 protected:
  SmallTmpfsTest() : TmpfsTest({.max_bytes = 64 * 4096, .max_inodes = 10}) {}
};

TEST_F(SmallTmpfsTest, FullFileSystemSaysNoSpaceAndRecovers) {
  std::string page(4096, 'p');
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/a", O_CREAT | O_WRONLY));
  for (int i = 0; i < 64; ++i) ASSERT_EQ(*sh_.WriteTo(*f, page), 4096u) << i;
  EXPECT_EQ(Outcome(sh_.WriteTo(*f, page)), "ENOSPC");
  vfs::OpContext c = sh_.ctx();
  EXPECT_EQ(vfs::GetStatFs(c, sh_.root())->blocks_free, 0u);
  ASSERT_TRUE(sh_.Truncate("/a", 4096 * 60).ok());
  EXPECT_EQ(vfs::GetStatFs(c, sh_.root())->blocks_free, 4u);
  f.Reset();
  ASSERT_TRUE(sh_.Unlink("/a").ok());
  EXPECT_EQ(vfs::GetStatFs(c, sh_.root())->blocks_free, 64u);
  for (int i = 0; i < 9; ++i) ASSERT_EQ(Outcome(sh_.Mkdir("/d" + std::to_string(i))), "ok");
  EXPECT_EQ(Outcome(sh_.Mkdir("/d9")), "ENOSPC");
}

TEST_F(SmallTmpfsTest, HolesAreFree) {
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/a", O_CREAT | O_RDWR));
  ASSERT_TRUE(sh_.Truncate("/a", 1 << 30).ok());
  vfs::OpContext c = sh_.ctx();
  ASSERT_EQ(*f->Seek(c, 1 << 29, SEEK_SET), 1 << 29);
  EXPECT_EQ(*sh_.WriteTo(*f, "x"), 1u);
  EXPECT_EQ(sh_.Stat("/a")->blocks, 8u);
  EXPECT_EQ(vfs::GetStatFs(c, sh_.root())->blocks_free, 63u);
}

TEST_F(TmpfsTest, MappingsShareTheFile) {
  mm::host_proc::SetDirectory(ScopedFd(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)));
  ASSERT_TRUE(sh_.Put("/m", "before").ok());
  RefPtr<vfs::FileDescription> f = MUST(sh_.Open("/m", O_RDWR));
  RefPtr<mm::MappedFile> mapped = vfs::MakeMappedFile(f, sh_.root());
  EXPECT_EQ(mapped->MapsPath(), "/m");
  auto backing = MUST(mapped->HostBacking(true));
  char* p = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, backing.host_fd, backing.offset));
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_STREQ(p, "before");
  ASSERT_TRUE(sh_.WriteTo(*f, "after!").ok());
  EXPECT_STREQ(p, "after!");
  p[0] = 'A';
  EXPECT_EQ(*sh_.Get("/m"), "After!");
  munmap(p, 4096);
  // What is not shared and writable must not be writable by other means.
  auto read_only = MUST(mapped->HostBacking(false));
  EXPECT_EQ(fcntl(read_only.host_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(TmpfsTest, SealsHold) {
  RefPtr<vfs::FileSystem> shm = MUST(Create({}));
  vfs::OpContext c = sh_.ctx();
  RefPtr<vfs::FileDescription> f = MUST(CreateMemfd(c, *shm, "m", MFD_ALLOW_SEALING));
  EXPECT_EQ(vfs::PathOf(f->location(), sh_.root()), "/memfd:m (deleted)");
  ASSERT_TRUE(sh_.WriteTo(*f, "abc").ok());
  RefPtr<mm::MappedFile> mapped = vfs::MakeMappedFile(f, sh_.root());
  MUST(mapped->HostBacking(true));
  EXPECT_EQ(Outcome(AddSeals(*f, F_SEAL_WRITE)), "EBUSY");
  mapped.Reset();
  EXPECT_EQ(Outcome(AddSeals(*f, F_SEAL_WRITE | F_SEAL_GROW)), "ok");
  EXPECT_EQ(*GetSeals(*f), unsigned{F_SEAL_WRITE | F_SEAL_GROW});
  EXPECT_EQ(Outcome(sh_.WriteTo(*f, "x")), "EPERM");
  EXPECT_EQ(Outcome(vfs::TruncateFile(c, *f, 10)), "EPERM");
  EXPECT_EQ(Outcome(vfs::TruncateFile(c, *f, 1)), "ok");
  EXPECT_EQ(Outcome(AddSeals(*f, F_SEAL_SEAL)), "ok");
  EXPECT_EQ(Outcome(AddSeals(*f, F_SEAL_SHRINK)), "EPERM");
}

TEST_F(TmpfsTest, DeepTreesDoNotOverflowTheStack) {
  {
    Shell sh(vfs_, vfs::MountNamespace::Create(MUST(Create({})), 0), RootCreds());
    for (int i = 0; i < 20'000; ++i) {
      ASSERT_TRUE(sh.Mkdir("d").ok());
      ASSERT_TRUE(sh.Chdir("d").ok());
    }
    // The lower half goes while its last directory is somebody's cwd: a chain that only that holds.
    Shell inside(sh);
    for (int i = 0; i < 10'000; ++i) {
      ASSERT_TRUE(sh.Chdir("..").ok());
      ASSERT_TRUE(sh.Rmdir("d").ok());
    }
    EXPECT_EQ(Outcome(inside.Put("x", "")), "ENOENT");
  }
}

TEST(TmpfsOptionsTest, Parse) {
  EXPECT_EQ(ParseOptions("size=64m,mode=755")->max_bytes, 64u << 20);
  EXPECT_EQ(ParseOptions("size=64m,mode=755")->mode, 0755u);
  EXPECT_EQ(Outcome(ParseOptions("size=")), "EINVAL");
  EXPECT_EQ(Outcome(ParseOptions("nonsense")), "EINVAL");
  EXPECT_EQ(Outcome(ParseOptions("mode=9")), "EINVAL");
}

}  // namespace
}  // namespace msentry::tmpfs
