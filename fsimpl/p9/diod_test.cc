// Interoperability with diod (Debian's 9P2000.L server and tools), both ways. Skipped where it is
// not installed.
#include <fcntl.h>
#include <poll.h>
#include <sys/un.h>

#include <fstream>
#include <thread>

#include "fsimpl/p9/testing.h"
#include "gofer/server/server.h"
#include "gtest/gtest.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/file_io.h"

namespace msentry::p9 {
namespace {

using testing::Bed;

bool Installed(const char* path) { return access(path, X_OK) == 0; }

std::string MakeTree() {
  char name[] = "/tmp/gofer.XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  std::string dir = name;
  CHECK(chmod(name, 0755) == 0);
  CHECK(mkdir((dir + "/sub").c_str(), 0755) == 0);
  std::ofstream(dir + "/sub/file") << "from the host\n";
  std::ofstream(dir + "/top") << std::string(200'000, 'x');
  return dir;
}

// Our server on a listening socket, for one client; what the command printed.
std::string RunAgainstOurServer(const std::string& dir, std::vector<std::string> command) {
  gofer::HiddenSet hidden;
  gofer::AttachConfig config{.aname = "0", .host_path = dir};
  auto attach = MUST(gofer::Attach::Create(config, MUST(gofer::host::OpenRoot(dir)), &hidden));
  std::string path = dir + ".socket";
  ScopedFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  CHECK(bind(listener.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(listener.get(), 1) == 0);
  command.insert(command.begin() + 1, {"-s", path, "-a", "0", "-t", "20"});

  int output[2];
  CHECK(pipe2(output, O_CLOEXEC) == 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(output[1], 1);
    dup2(output[1], 2);
    std::vector<char*> argv;
    for (std::string& arg : command) argv.push_back(arg.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(output[1]);
  std::string text;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n; (n = read(output[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<size_t>(n));
    }
  });
  struct pollfd wait = {.fd = listener.get(), .events = POLLIN};
  if (poll(&wait, 1, 20'000) == 1) {
    gofer::Server server({attach.get()}, {.threads = 2});
    MUST(server.Add(ScopedFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))));
    server.Run();
  }
  reader.join();
  close(output[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << text.substr(text.size() < 300 ? 0 : text.size() - 300);
  unlink(path.c_str());
  return text;
}

TEST(Diod, ItsToolsReadFromOurServer) {
  if (!Installed("/usr/sbin/diodls")) GTEST_SKIP() << "diod is not installed";
  std::string dir = MakeTree();
  std::string listing = RunAgainstOurServer(dir, {"/usr/sbin/diodls", "/", "/sub"});
  EXPECT_NE(listing.find("top"), listing.npos) << listing;
  EXPECT_NE(listing.find("file"), listing.npos) << listing;
  std::string text = RunAgainstOurServer(dir, {"/usr/sbin/diodcat", "/sub/file"});
  EXPECT_EQ(text, "from the host\n");
  EXPECT_EQ(RunAgainstOurServer(dir, {"/usr/sbin/diodcat", "top"}), std::string(200'000, 'x'));
  CHECK(system(("rm -rf " + dir).c_str()) == 0);
}

TEST(Diod, OurClientUsesItsServer) {
  if (!Installed("/usr/sbin/diod")) GTEST_SKIP() << "diod is not installed";
  if (getuid() != 0) GTEST_SKIP() << "diod wants to be root";
  std::string dir = MakeTree();
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  pid_t server = fork();
  if (server == 0) {
    dup2(pair[1], 20);
    execl("/usr/sbin/diod", "diod", "-f", "-n", "-N", "-c", "/dev/null", "-L", "stderr", "-e",
          dir.c_str(), "-r", "20", "-w", "20", nullptr);
    _exit(127);
  }
  close(pair[1]);
  auto scheduler = MUST(sched::Scheduler::Create({.workers = 2}));
  sched::Scheduler* s = scheduler.get();
  scheduler->Spawn("test", [&, s] {
    {
      vfs::Vfs vfs;
      auto creds = MakeRef<auth::Credentials>();
      creds->permitted = creds->effective = auth::kAllCaps;
      vfs::OpContext ctx(vfs, *creds);
      auto client = MUST(Connect(ScopedFd(pair[0]), s));
      EXPECT_FALSE(client->extended());
      auto fs = MUST(NewFileSystem(client, {.aname = dir}));
      auto mounts = vfs::MountNamespace::Create(fs, 0);
      vfs::Location root = mounts->Root();
      vfs::WalkContext walk{ctx, root, root};
      {
        auto file = MUST(vfs::Open(walk, "/sub/file", {.flags = O_RDONLY}));
        EXPECT_EQ(MUST(vfs::ReadWholeFile(ctx, *file, 100)), "from the host\n");
        // Mapped files are snapshots here.
        auto mapping = MUST(file->HostBacking(false));
        char start[4];
        EXPECT_EQ(pread(mapping.fd, start, 4, 0), 4);
        EXPECT_EQ(std::string_view(start, 4), "from");
      }
      {
        auto file = MUST(vfs::Open(walk, "/sub/new", {.flags = O_RDWR | O_CREAT, .mode = 0640}));
        std::string_view text = "written by us";
        auto from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
        EXPECT_EQ(MUST(vfs::WriteFileAt(ctx, *file, from, 0)), text.size());
        EXPECT_EQ(MUST(vfs::Stat(walk, "/sub/new", 0)).size, text.size());
        EXPECT_EQ(MUST(vfs::Stat(walk, "/sub/new", 0)).mode, S_IFREG | 0640u);
      }
      MUST(vfs::Mkdir(walk, "/dir", 0755));
      MUST(vfs::Symlink(walk, "sub/new", "/link"));
      EXPECT_EQ(MUST(vfs::ReadLink(walk, "/link", 0)), "sub/new");
      MUST(vfs::Rename(walk, "/sub/new", walk, "/dir/moved", 0));
      MUST(vfs::Link(walk, "/dir/moved", 0, walk, "/hard"));
      EXPECT_EQ(MUST(vfs::Stat(walk, "/hard", 0)).nlink, 2u);
      MUST(vfs::Unlink(walk, "/dir/moved"));
      MUST(vfs::Rmdir(walk, "/dir"));
      int entries = 0;
      auto top = MUST(vfs::Open(walk, "/", {.flags = O_RDONLY | O_DIRECTORY}));
      MUST(vfs::ReadDirectory(ctx, *top, [&](const vfs::Dirent&) { return ++entries > 0; }));
      EXPECT_EQ(entries, 6);
    }
    s->Stop();
  });
  scheduler->Run();
  kill(server, SIGTERM);
  waitpid(server, nullptr, 0);
  CHECK(system(("rm -rf " + dir).c_str()) == 0);
}

}  // namespace
}  // namespace msentry::p9
