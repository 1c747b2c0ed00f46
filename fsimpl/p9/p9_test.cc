// The p9 file system against our own gofer in a process of its own, through vfs, as the guest sees
// it.
#include "fsimpl/p9/p9.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fstream>
#include <sstream>

#include "fsimpl/p9/testing.h"
#include "gtest/gtest.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/file_io.h"

namespace msentry::p9 {
namespace {

using testing::Bed;
using testing::BedOptions;
using World = Bed::World;

void WriteHost(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string ReadHost(const std::string& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

Result<RefPtr<vfs::FileDescription>> OpenFile(World& w, std::string_view path, int flags,
                                              uint32_t mode = 0644) {
  return vfs::Open(w.Walk(), path, {.flags = flags, .mode = mode});
}

Result<std::string> ReadAll(World& w, std::string_view path) {
  RefPtr<vfs::FileDescription> file = TRY(OpenFile(w, path, O_RDONLY));
  return vfs::ReadWholeFile(*w.ctx, *file, 1 << 24);
}

Result<size_t> WriteAt(World& w, vfs::FileDescription& file, std::string_view text,
                       uint64_t offset) {
  auto from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
  return vfs::WriteFileAt(*w.ctx, file, from, offset);
}

std::vector<std::string> Names(World& w, std::string_view path) {
  auto dir = MUST(OpenFile(w, path, O_RDONLY | O_DIRECTORY));
  std::vector<std::string> names;
  MUST(vfs::ReadDirectory(*w.ctx, *dir, [&](const vfs::Dirent& entry) {
    names.emplace_back(entry.name);
    return true;
  }));
  std::sort(names.begin(), names.end());
  return names;
}

Errno ErrorOf(const auto& result) { return result.ok() ? Errno{} : result.error(); }

struct Mode {
  const char* name;
  bool extended;
  CachePolicy cache;
};

class P9 : public ::testing::TestWithParam<Mode> {
 protected:
  BedOptions Options() const {
    return {.extended = GetParam().extended, .cache = GetParam().cache};
  }
};

TEST_P(P9, ReadsWhatTheHostHas) {
  Bed bed(Options());
  mkdir((bed.dir + "/a").c_str(), 0755);
  mkdir((bed.dir + "/a/b").c_str(), 0750);
  WriteHost(bed.dir + "/a/b/file", "contents");
  MUST(Result<>(symlink("b/file", (bed.dir + "/a/link").c_str()) == 0 ? Result<>(Ok())
                                                                      : FromHost(errno)));
  bed.Run([&](World& w) {
    EXPECT_EQ(MUST(ReadAll(w, "/a/b/file")), "contents");
    EXPECT_EQ(MUST(ReadAll(w, "/a/link")), "contents");
    EXPECT_EQ(MUST(vfs::ReadLink(w.Walk(), "/a/link", 0)), "b/file");
    vfs::Attributes attr = MUST(vfs::Stat(w.Walk(), "/a/b", 0));
    EXPECT_EQ(attr.mode, S_IFDIR | 0750u);
    struct stat st;
    ASSERT_EQ(stat((bed.dir + "/a/b/file").c_str(), &st), 0);
    attr = MUST(vfs::Stat(w.Walk(), "/a/b/file", 0));
    EXPECT_EQ(attr.ino, st.st_ino);
    EXPECT_EQ(attr.size, 8u);
    EXPECT_EQ(attr.mtime.sec, st.st_mtim.tv_sec);
    EXPECT_EQ(attr.mtime.nsec, st.st_mtim.tv_nsec);
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/a/none", 0)), Errno::kENOENT);
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/a/none/below", 0)), Errno::kENOENT);
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/a/b/file/below", 0)), Errno::kENOTDIR);
    EXPECT_EQ(Names(w, "/a"), (std::vector<std::string>{".", "..", "b", "link"}));
  });
}

TEST_P(P9, WritesReachTheHostAndAttributesAgree) {
  Bed bed(Options());
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/new", O_RDWR | O_CREAT | O_EXCL, 0640));
    EXPECT_EQ(MUST(WriteAt(w, *file, "hello", 0)), 5u);
    EXPECT_EQ(MUST(WriteAt(w, *file, "world", 10)), 5u);
    EXPECT_EQ(MUST(vfs::GetAttr(*w.ctx, *file)).size, 15u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/new", 0)).size, 15u);
    MUST(vfs::TruncateFile(*w.ctx, *file, 3));
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/new", 0)).size, 3u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/new", 0)).mode, S_IFREG | 0640u);
    EXPECT_EQ(ReadHost(bed.dir + "/new"), "hel");
    EXPECT_EQ(ErrorOf(OpenFile(w, "/new", O_RDWR | O_CREAT | O_EXCL)), Errno::kEEXIST);
    auto again = MUST(OpenFile(w, "/new", O_WRONLY | O_TRUNC));
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/new", 0)).size, 0u);
  });
}

TEST_P(P9, AppendsGoToTheEnd) {
  Bed bed(Options());
  WriteHost(bed.dir + "/log", "one\n");
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/log", O_WRONLY | O_APPEND));
    for (std::string_view text : {"two\n", "three\n"}) {
      auto from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
      EXPECT_EQ(MUST(vfs::WriteFile(*w.ctx, *file, from)), text.size());
    }
    EXPECT_EQ(ReadHost(bed.dir + "/log"), "one\ntwo\nthree\n");
  });
}

TEST_P(P9, NamesComeAndGo) {
  Bed bed(Options());
  bed.Run([&](World& w) {
    auto walk = w.Walk();
    MUST(vfs::Mkdir(walk, "/d", 0755));
    MUST(vfs::Mkdir(walk, "/d/sub", 0700));
    MUST(vfs::Symlink(walk, "../target", "/d/link"));
    MUST(OpenFile(w, "/d/file", O_WRONLY | O_CREAT));
    MUST(vfs::Link(walk, "/d/file", 0, walk, "/d/hard"));
    EXPECT_EQ(Names(w, "/d"), (std::vector<std::string>{".", "..", "file", "hard", "link", "sub"}));
    vfs::Attributes one = MUST(vfs::Stat(walk, "/d/file", 0));
    vfs::Attributes two = MUST(vfs::Stat(walk, "/d/hard", 0));
    EXPECT_EQ(one.ino, two.ino);
    EXPECT_EQ(one.nlink, 2u);
    MUST(vfs::Unlink(walk, "/d/file"));
    EXPECT_EQ(ErrorOf(vfs::Stat(walk, "/d/file", 0)), Errno::kENOENT);
    EXPECT_EQ(MUST(vfs::Stat(walk, "/d/hard", 0)).nlink, 1u);
    MUST(vfs::Rename(walk, "/d/hard", walk, "/d/sub/moved", 0));
    EXPECT_EQ(ErrorOf(vfs::Stat(walk, "/d/hard", 0)), Errno::kENOENT);
    EXPECT_EQ(MUST(vfs::Stat(walk, "/d/sub/moved", 0)).ino, one.ino);
    EXPECT_EQ(ErrorOf(vfs::Rmdir(walk, "/d/sub")), Errno::kENOTEMPTY);
    MUST(vfs::Unlink(walk, "/d/sub/moved"));
    MUST(vfs::Rmdir(walk, "/d/sub"));
    MUST(vfs::Unlink(walk, "/d/link"));
    EXPECT_EQ(Names(w, "/d"), (std::vector<std::string>{".", ".."}));
    MUST(vfs::Rmdir(walk, "/d"));
    EXPECT_EQ(access((bed.dir + "/d").c_str(), F_OK), -1);
  });
}

TEST_P(P9, UnlinkedFileStaysUsable) {
  Bed bed(Options());
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/f", O_RDWR | O_CREAT));
    MUST(vfs::Unlink(w.Walk(), "/f"));
    EXPECT_EQ(MUST(WriteAt(w, *file, "still here", 0)), 10u);
    EXPECT_EQ(MUST(vfs::ReadWholeFile(*w.ctx, *file, 100)), "still here");
    vfs::Attributes attr = MUST(vfs::GetAttr(*w.ctx, *file));
    EXPECT_EQ(attr.nlink, 0u);
    EXPECT_EQ(attr.size, 10u);
    vfs::SetAttributes change{.set = vfs::SetAttributes::kMode, .mode = 0600};
    MUST(vfs::SetAttr(*w.ctx, file->location(), change));
    EXPECT_EQ(MUST(vfs::GetAttr(*w.ctx, *file)).mode, S_IFREG | 0600u);
  });
}

TEST_P(P9, AttributesChange) {
  Bed bed(Options());
  WriteHost(bed.dir + "/f", "x");
  bed.Run([&](World& w) {
    using Set = vfs::SetAttributes;
    MUST(vfs::SetAttr(w.Walk(), "/f", 0, Set{.set = Set::kMode, .mode = 04711}));
    MUST(vfs::SetAttr(w.Walk(), "/f", 0, Set{.set = Set::kUid | Set::kGid, .uid = 12, .gid = 34}));
    MUST(vfs::SetAttr(w.Walk(), "/f", 0,
                      Set{.set = Set::kAtime | Set::kMtime, .atime = {1000, 1}, .mtime = {-5, 7}}));
    vfs::Attributes attr = MUST(vfs::Stat(w.Walk(), "/f", 0));
    EXPECT_EQ(attr.uid, 12u);
    EXPECT_EQ(attr.gid, 34u);
    EXPECT_EQ(attr.atime, (vfs::Timespec{1000, 1}));
    EXPECT_EQ(attr.mtime, (vfs::Timespec{-5, 7}));
    struct stat st;
    ASSERT_EQ(stat((bed.dir + "/f").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 12u);
    EXPECT_EQ(st.st_mtim.tv_sec, -5);
  });
}

TEST_P(P9, ExtendedAttributes) {
  Bed bed(Options());
  WriteHost(bed.dir + "/f", "x");
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/f", O_RDWR));
    const vfs::Location& at = file->location();
    EXPECT_EQ(ErrorOf(vfs::GetXattr(*w.ctx, at, "user.a")), Errno::kENODATA);
    MUST(vfs::SetXattr(*w.ctx, at, "user.a", "value", 0));
    EXPECT_EQ(MUST(vfs::GetXattr(*w.ctx, at, "user.a")), "value");
    EXPECT_EQ(MUST(vfs::ListXattr(*w.ctx, at)), (std::vector<std::string>{"user.a"}));
    MUST(vfs::RemoveXattr(*w.ctx, at, "user.a"));
    EXPECT_EQ(ErrorOf(vfs::GetXattr(*w.ctx, at, "user.a")), Errno::kENODATA);
    char value[8];
    EXPECT_EQ(getxattr((bed.dir + "/f").c_str(), "user.a", value, sizeof value), -1);
  });
}

TEST_P(P9, LargeDirectoryIsListedWhole) {
  Bed bed(Options());
  for (int i = 0; i < 2500; ++i) {
    WriteHost(bed.dir + "/" + std::string(180, 'n') + std::to_string(i), "");
  }
  bed.Run([&](World& w) { EXPECT_EQ(Names(w, "/").size(), 2502u); });
}

TEST_P(P9, LargeFileRoundTrips) {
  Bed bed(Options());
  std::string data(3'000'000, 0);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 24);
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/big", O_RDWR | O_CREAT));
    for (size_t at = 0; at < data.size();) {
      at += MUST(WriteAt(w, *file, std::string_view(data).substr(at), at));
    }
    EXPECT_TRUE(MUST(vfs::ReadWholeFile(*w.ctx, *file, 1 << 24)) == data);
  });
  EXPECT_TRUE(ReadHost(bed.dir + "/big") == data);
}

TEST_P(P9, DeadGoferMeansEio) {
  Bed bed(Options());
  WriteHost(bed.dir + "/f", "x");
  bed.Run([&](World& w) {
    auto file = MUST(OpenFile(w, "/f", O_RDONLY));
    bed.KillGofer();
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/other", 0)), Errno::kEIO);
    EXPECT_EQ(ErrorOf(vfs::Mkdir(w.Walk(), "/d", 0755)), Errno::kEIO);
    EXPECT_FALSE(IsAlive(*w.client));
  });
}

INSTANTIATE_TEST_SUITE_P(
    Modes, P9,
    ::testing::Values(Mode{"fscache", true, CachePolicy::kFscache},
                      Mode{"revalidating", true, CachePolicy::kRemoteRevalidating},
                      Mode{"plain", false, CachePolicy::kFscache},
                      Mode{"plain_revalidating", false, CachePolicy::kRemoteRevalidating}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(P9Revalidating, HostChangesShow) {
  Bed bed({.cache = CachePolicy::kRemoteRevalidating});
  WriteHost(bed.dir + "/f", "old");
  bed.Run([&](World& w) {
    EXPECT_EQ(MUST(ReadAll(w, "/f")), "old");
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/g", 0)), Errno::kENOENT);
    WriteHost(bed.dir + "/new", "newer");
    ASSERT_EQ(rename((bed.dir + "/new").c_str(), (bed.dir + "/f").c_str()), 0);
    WriteHost(bed.dir + "/g", "");
    EXPECT_EQ(MUST(ReadAll(w, "/f")), "newer");
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/g", 0)).size, 0u);
    unlink((bed.dir + "/g").c_str());
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/g", 0)), Errno::kENOENT);
  });
}

TEST(P9ReadOnly, NothingChanges) {
  Bed bed({.read_only = true});
  WriteHost(bed.dir + "/f", "old");
  bed.Run([&](World& w) {
    EXPECT_EQ(MUST(ReadAll(w, "/f")), "old");
    EXPECT_EQ(ErrorOf(OpenFile(w, "/f", O_RDWR)), Errno::kEROFS);
    EXPECT_EQ(ErrorOf(vfs::Unlink(w.Walk(), "/f")), Errno::kEROFS);
    EXPECT_EQ(ErrorOf(vfs::Mkdir(w.Walk(), "/d", 0755)), Errno::kEROFS);
  });
}

TEST(P9Hidden, HiddenFilesDoNotShow) {
  Bed outside({});  // its directory is served below, with parts hidden
  mkdir((outside.dir + "/etc").c_str(), 0755);
  mkdir((outside.dir + "/root").c_str(), 0700);
  WriteHost(outside.dir + "/etc/shadow", "secret");
  WriteHost(outside.dir + "/etc/key", "secret");
  WriteHost(outside.dir + "/root/file", "secret");
  ASSERT_EQ(link((outside.dir + "/etc/key").c_str(), (outside.dir + "/other-link").c_str()), 0);
  using Show = gofer::HiddenPath::Show;
  Bed bed({.hidden = {{outside.dir + "/etc/shadow", Show::kFile, "root:*:1::::::\n"},
                      {outside.dir + "/etc/key", Show::kAbsent, ""},
                      {outside.dir + "/root", Show::kEmptyDirectory, ""}},
           .directory = outside.dir});
  bed.Run([&](World& w) {
    EXPECT_EQ(MUST(ReadAll(w, "/etc/shadow")), "root:*:1::::::\n");
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/etc/shadow", 0)).size, 15u);
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/etc/key", 0)), Errno::kENOENT);
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/other-link", 0)), Errno::kENOENT);
    EXPECT_EQ(Names(w, "/etc"), (std::vector<std::string>{".", "..", "shadow"}));
    EXPECT_EQ(Names(w, "/root"), (std::vector<std::string>{".", ".."}));
    EXPECT_EQ(Names(w, "/"), (std::vector<std::string>{".", "..", "etc", "root"}));
    EXPECT_EQ(ErrorOf(vfs::Stat(w.Walk(), "/root/file", 0)), Errno::kENOENT);
    EXPECT_FALSE(OpenFile(w, "/etc/shadow", O_RDWR).ok());
    EXPECT_FALSE(vfs::Rename(w.Walk(), "/etc/shadow", w.Walk(), "/etc/x", 0).ok());
    // Moving the directory does not uncover what is in it.
    MUST(vfs::Rename(w.Walk(), "/etc", w.Walk(), "/etc2", 0));
    EXPECT_EQ(MUST(ReadAll(w, "/etc2/shadow")), "root:*:1::::::\n");
  });
}

// More files than the gofer may have fds: cached ones are given up, and every call still works.
TEST(P9Limits, GoferRunsOutOfFds) {
  if (getuid() != 0) GTEST_SKIP() << "needs to become another user";
  Bed bed({.uid = 65534, .fd_limit = 900});
  for (int i = 0; i < 2000; ++i) WriteHost(bed.dir + "/f" + std::to_string(i), "x");
  ASSERT_EQ(chmod(bed.dir.c_str(), 0777), 0);
  bed.Run([&](World& w) {
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(MUST(vfs::Stat(w.Walk(), "/f" + std::to_string(i), 0)).size, 1u);
    }
    EXPECT_EQ(MUST(ReadAll(w, "/f7")), "x");
    EXPECT_EQ(Names(w, "/").size(), 2002u);
  });
}

// Overlay makes them as root, whom an ordinary user's gofer may not know.
TEST(P9Mapped, WhiteoutsNeedNoOwner) {
  if (getuid() != 0) GTEST_SKIP() << "needs to become another user";
  constexpr uint32_t kNobody = 65534;
  Bed bed({.attributes = gofer::AttributePolicy::kMapped,
           .uid = kNobody,
           .uid_map = {{.inside = kNobody, .outside = kNobody, .count = 1}},
           .gid_map = {{.inside = kNobody, .outside = kNobody, .count = 1}}});
  bed.Run([&](World& w) {
    MUST(vfs::Mknod(w.Walk(), "/white", S_IFCHR, 0));
    vfs::Attributes attr = MUST(vfs::Stat(w.Walk(), "/white", 0));
    EXPECT_EQ(attr.mode, uint32_t{S_IFCHR});
    EXPECT_EQ(attr.rdev, 0u);
    EXPECT_EQ(ErrorOf(vfs::Mknod(w.Walk(), "/null", S_IFCHR | 0600, vfs::MakeDev(1, 3))), Errno{});
  });
}

// An ordinary user's gofer keeps what it may not set on the host in an attribute of the file.
TEST(P9Mapped, OwnersAndModesOfAnOrdinaryUser) {
  if (getuid() != 0) GTEST_SKIP() << "needs to become another user";
  constexpr uint32_t kNobody = 65534;
  Bed bed({.attributes = gofer::AttributePolicy::kMapped,
           .uid = kNobody,
           .uid_map = {{.inside = 0, .outside = kNobody, .count = 1}},
           .gid_map = {{.inside = 0, .outside = kNobody, .count = 1}}});
  bed.Run([&](World& w) {
    using Set = vfs::SetAttributes;
    auto file = MUST(OpenFile(w, "/f", O_RDWR | O_CREAT, 0444));
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/f", 0)).uid, 0u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/f", 0)).mode, S_IFREG | 0444u);
    MUST(vfs::SetAttr(w.Walk(), "/f", 0, Set{.set = Set::kUid | Set::kGid, .uid = 7, .gid = 8}));
    MUST(vfs::SetAttr(w.Walk(), "/f", 0, Set{.set = Set::kMode, .mode = 04000}));
    vfs::Attributes attr = MUST(vfs::Stat(w.Walk(), "/f", 0));
    EXPECT_EQ(attr.uid, 7u);
    EXPECT_EQ(attr.gid, 8u);
    EXPECT_EQ(attr.mode, S_IFREG | 04000u);
    struct stat st;
    ASSERT_EQ(stat((bed.dir + "/f").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, kNobody);
    EXPECT_EQ(st.st_mode & 06000, 0u);
    MUST(vfs::SetXattr(*w.ctx, file->location(), "user.msentry.attr", "x", 0).ok()
             ? Result<>(Errno::kEINVAL)
             : Result<>(Ok()));
    EXPECT_EQ(MUST(vfs::ListXattr(*w.ctx, file->location())), std::vector<std::string>{});

    MUST(vfs::Mknod(w.Walk(), "/dev", S_IFCHR | 0600, vfs::MakeDev(1, 3)));
    attr = MUST(vfs::Stat(w.Walk(), "/dev", 0));
    EXPECT_EQ(attr.mode, S_IFCHR | 0600u);
    EXPECT_EQ(attr.rdev, vfs::MakeDev(1, 3));

    // The host's own kinds for our owner; for others something that stands for them.
    MUST(vfs::Symlink(w.Walk(), "f", "/own"));
    w.creds->fsuid = 33;
    MUST(vfs::Symlink(w.Walk(), "f", "/link"));
    MUST(vfs::Mknod(w.Walk(), "/fifo", S_IFIFO | 0640, 0));
    w.creds->fsuid = 0;
    EXPECT_EQ(MUST(vfs::ReadLink(w.Walk(), "/own", 0)), "f");
    EXPECT_EQ(MUST(vfs::ReadLink(w.Walk(), "/link", 0)), "f");
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/link", 0)).uid, 33u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/own", 0)).uid, 0u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/fifo", 0)).mode, S_IFIFO | 0640u);
    ASSERT_EQ(lstat((bed.dir + "/own").c_str(), &st), 0);
    EXPECT_TRUE(S_ISLNK(st.st_mode));
    ASSERT_EQ(lstat((bed.dir + "/link").c_str(), &st), 0);
    EXPECT_TRUE(S_ISREG(st.st_mode));
    std::map<std::string, int> types;
    auto top = MUST(OpenFile(w, "/", O_RDONLY | O_DIRECTORY));
    MUST(vfs::ReadDirectory(*w.ctx, *top, [&](const vfs::Dirent& entry) {
      types[std::string(entry.name)] = entry.type;
      return true;
    }));
    EXPECT_EQ(types["dev"], DT_CHR);
    EXPECT_EQ(types["link"], DT_LNK);
    EXPECT_EQ(types["own"], DT_LNK);
    EXPECT_EQ(types["fifo"], DT_FIFO);
    EXPECT_EQ(types["f"], DT_REG);

    // A file that the host's mode bars its owner from.
    MUST(OpenFile(w, "/ro", O_WRONLY | O_CREAT, 0400));
    SetFdCacheLimit(0);
    SetFdCacheLimit(100);
    auto again = MUST(OpenFile(w, "/ro", O_RDWR));
    EXPECT_EQ(MUST(WriteAt(w, *again, "abc", 0)), 3u);
    EXPECT_EQ(MUST(vfs::Stat(w.Walk(), "/ro", 0)).mode, S_IFREG | 0400u);
  });
}

}  // namespace
}  // namespace msentry::p9
