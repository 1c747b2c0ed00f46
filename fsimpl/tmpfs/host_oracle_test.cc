// Random operations on tmpfs, through the whole of vfs, and on a directory of the host: the kernel
// we imitate is the oracle.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsimpl/tests/random_model.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/base/scoped_fd.h"

namespace msentry {
namespace {

// Shell's operations on the host, below a directory.
class HostShell {
 public:
  HostShell() {
    char name[] = "/tmp/msentry-oracle.XXXXXX";
    root_ = mkdtemp(name);
    chmod(name, 0755);
  }
  ~HostShell() { (void)!system(("rm -rf " + root_).c_str()); }

  Result<> Mkdir(const std::string& p, uint32_t mode = 0755) { return Done(mkdir(At(p), mode)); }
  Result<> Rmdir(const std::string& p) { return Done(rmdir(At(p))); }
  Result<> Unlink(const std::string& p) { return Done(unlink(At(p))); }
  Result<> Symlink(const std::string& target, const std::string& p) {
    return Done(symlink(target.c_str(), At(p)));
  }
  Result<> Link(const std::string& p, const std::string& q) {
    const std::string to = root_ + q;
    return Done(linkat(AT_FDCWD, At(p), AT_FDCWD, to.c_str(), 0));
  }
  Result<> Rename(const std::string& p, const std::string& q, unsigned flags = 0) {
    const std::string to = root_ + q;
    return Done(renameat2(AT_FDCWD, At(p), AT_FDCWD, to.c_str(), flags));
  }
  Result<> Chmod(const std::string& p, uint32_t mode) { return Done(chmod(At(p), mode)); }
  Result<std::unique_ptr<ScopedFd>> Open(const std::string& p, int flags) {
    auto fd = std::make_unique<ScopedFd>(open(At(p), flags | O_CLOEXEC, 0644));
    if (!*fd) return FromHost(errno);
    return fd;
  }
  Result<size_t> WriteTo(ScopedFd& fd, std::string_view text) {
    ssize_t n = write(fd.get(), text.data(), text.size());
    if (n < 0) return FromHost(errno);
    return static_cast<size_t>(n);
  }
  Result<> Put(const std::string& p, std::string_view text) {
    auto fd = TRY(Open(p, O_WRONLY | O_CREAT | O_TRUNC));
    TRY(WriteTo(*fd, text));
    return Ok();
  }
  Result<std::string> Get(const std::string& p) {
    auto fd = TRY(Open(p, O_RDONLY));
    std::string out(1 << 16, ' ');
    ssize_t n = read(fd->get(), out.data(), out.size());
    if (n < 0) return FromHost(errno);
    out.resize(n);
    return out;
  }
  Result<std::vector<std::string>> List(const std::string& p) {
    TRY(Open(p, O_RDONLY | O_DIRECTORY));
    DIR* dir = opendir(At(p));
    std::vector<std::string> names;
    while (dirent* d = readdir(dir)) {
      if (std::string_view(d->d_name) != "." && std::string_view(d->d_name) != "..") {
        names.emplace_back(d->d_name);
      }
    }
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }
  Result<vfs::Attributes> Stat(const std::string& p) {
    struct stat st;
    TRY(Done(lstat(At(p), &st)));
    vfs::Attributes a;
    a.mode = st.st_mode;
    a.nlink = st.st_nlink;
    a.size = st.st_size;
    return a;
  }
  Result<std::string> ReadLink(const std::string& p) {
    char target[4096];
    ssize_t n = readlink(At(p), target, sizeof target);
    if (n < 0) return FromHost(errno);
    return std::string(target, n);
  }

 private:
  const char* At(const std::string& p) {
    path_ = root_ + p;
    return path_.c_str();
  }
  static Result<> Done(int result) {
    if (result < 0) return FromHost(errno);
    return Ok();
  }
  std::string root_, path_;
};

TEST(HostOracleTest, TmpfsAgreesWithTheHost) {
  umask(022);
  for (uint32_t seed = 1; seed <= 25 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    vfs::Vfs vfs;
    RefPtr<vfs::MountNamespace> ns =
        vfs::MountNamespace::Create(MUST(tmpfs::Create({.mode = 0755})), 0);
    Shell ours(vfs, ns, RootCreds());
    HostShell host;
    PrepareTree(ours);
    PrepareTree(host);
    RandomModel(seed, ours, host, [&] { ns->Root().dentry->PruneChildren(); }).Run(600);
  }
}

}  // namespace
}  // namespace msentry
