// For tests and benchmarks: a gofer process over a temporary directory, and the p9 file system in
// front of it as the root of a mount namespace. Body functions run on a fiber, as system calls do.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "fsimpl/p9/client.h"
#include "fsimpl/p9/p9.h"
#include "gofer/gofer.h"
#include "sentry/auth/credentials.h"
#include "vfs/mount_namespace.h"
#include "vfs/operations.h"
#include "vfs/vfs.h"

namespace msentry::p9::testing {

struct BedOptions {
  bool extended = true;
  CachePolicy cache = CachePolicy::kFscache;
  bool read_only = false;
  gofer::AttributePolicy attributes = gofer::AttributePolicy::kHost;
  uint32_t uid = 0;  // whom the gofer runs as (needs root when not ours)
  std::vector<gofer::HiddenPath> hidden;
  bool unconfined = false;
  uint64_t fd_limit = 0;  // of the gofer, when not 0; root's gofer would raise it again
  std::string directory;  // served instead of a new temporary one
  std::vector<std::string> subdirectories;  // made, and served as attach points of their own too
  std::vector<gofer::IdRange> uid_map, gid_map;
};

class Bed {
 public:
  explicit Bed(BedOptions options) : options_(std::move(options)) {
    dir = options_.directory;
    if (dir.empty()) {
      char name[] = "/tmp/gofer.XXXXXX";
      CHECK(mkdtemp(name) != nullptr);
      dir = name;
      owns_dir_ = true;
      CHECK(chmod(name, 0755) == 0);
      if (options_.uid != 0) CHECK(chown(name, options_.uid, options_.uid) == 0);
    }
    for (const std::string& name : options_.subdirectories) {
      CHECK(mkdir((dir + "/" + name).c_str(), 0755) == 0);
    }
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    socket_ = ScopedFd(pair[0]);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      close(socket_.Release());
      if (options_.fd_limit != 0) {
        struct rlimit limit = {.rlim_cur = options_.fd_limit, .rlim_max = options_.fd_limit};
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
      }
      if (options_.uid != 0) CHECK(setgid(options_.uid) == 0 && setuid(options_.uid) == 0);
      std::vector<gofer::AttachConfig> attaches;
      auto serve = [&](const std::string& aname, const std::string& path) {
        attaches.push_back({.aname = aname,
                            .host_path = path,
                            .read_only = options_.read_only,
                            .attributes = options_.attributes,
                            .uid_map = options_.uid_map,
                            .gid_map = options_.gid_map});
      };
      serve("0", dir);
      for (const std::string& name : options_.subdirectories) serve(name, dir + "/" + name);
      _exit(gofer::Main({.attaches = attaches,
                         .hidden = options_.hidden,
                         .connection_fds = {pair[1]},
                         .unconfined = options_.unconfined}));
    }
    close(pair[1]);
  }

  ~Bed() {
    socket_.Reset();
    KillGofer();
    if (owns_dir_) CHECK(system(("rm -rf " + dir).c_str()) == 0);
  }

  void KillGofer() {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    pid = -1;
  }

  // What a body works with.
  struct World {
    vfs::Vfs vfs;
    RefPtr<auth::Credentials> creds;
    std::unique_ptr<vfs::OpContext> ctx;
    std::shared_ptr<Client> client;
    RefPtr<vfs::FileSystem> fs;
    RefPtr<vfs::MountNamespace> mounts;
    vfs::Location root;

    vfs::WalkContext Walk() { return {*ctx, root, root}; }
  };

  // Connects, mounts and runs `body` on a fiber; returns when it is done and all is released.
  void Run(absl::AnyInvocable<void(World&)> body) {
    auto scheduler = MUST(sched::Scheduler::Create({.workers = 2}));
    sched::Scheduler* s = scheduler.get();
    scheduler->Spawn("test", [&, s] {
      {
        World world;
        world.creds = MakeRef<auth::Credentials>();
        world.creds->permitted = world.creds->effective = auth::kAllCaps;
        world.ctx = std::make_unique<vfs::OpContext>(world.vfs, *world.creds);
        world.client = MUST(Connect(std::move(socket_), s, {.extended = options_.extended}));
        world.fs = MUST(NewFileSystem(
            world.client,
            {.aname = "0", .read_only = options_.read_only, .cache = options_.cache}));
        world.mounts = vfs::MountNamespace::Create(world.fs, 0);
        world.root = world.mounts->Root();
        body(world);
      }
      s->Stop();
    });
    scheduler->Run();
  }

  std::string dir;
  pid_t pid = -1;

 private:
  BedOptions options_;
  ScopedFd socket_;
  bool owns_dir_ = false;
};

}  // namespace msentry::p9::testing
