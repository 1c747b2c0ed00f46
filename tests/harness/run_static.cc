// run_static [--platform=ptrace|systrap] [--debug] PROGRAM ARGS...: PROGRAM (a static ELF file of
// the host) as init of a sandbox whose root is an empty tmpfs, with the host's fds 0, 1, 2.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "fsimpl/hostfd/host_fd_file.h"
#include "fsimpl/sysfs/sysfs.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "platform/platform.h"
#include "procfs/proc_fs.h"
#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/host_proc.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/syscalls/dispatch.h"
#include "sentry/syscalls/table.h"
#include "vfs/file_io.h"
#include "vfs/operations.h"
#include "vfs/path_walk.h"
#include "vfs/vfs.h"

namespace msentry {
namespace {

[[noreturn]] void Die(const char* what, Errno e) {
  fprintf(stderr, "run_static: %s: %s\n", what, ErrnoName(e));
  exit(125);
}

std::string ReadHostFile(const char* path) {
  std::string out;
  ScopedFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) Die(path, FromHost(errno));
  char buffer[65536];
  ssize_t n;
  while ((n = read(fd.get(), buffer, sizeof(buffer))) > 0) out.append(buffer, n);
  return out;
}

void WriteGuestFile(const vfs::WalkContext& walk, const std::string& path,
                    const std::string& data) {
  auto file = vfs::Open(walk, path, {.flags = O_CREAT | O_WRONLY, .mode = 0755});
  if (!file.ok()) Die("create in tmpfs", file.error());
  mm::IoSequence io = mm::IoSequence::ForWriting(std::as_bytes(std::span(data)));
  while (!io.empty()) {
    auto n = vfs::WriteFile(walk.op, **file, io);
    if (!n.ok()) Die("write to tmpfs", n.error());
  }
}

void MountOn(vfs::MountNamespace& mounts, const vfs::WalkContext& walk, const char* path,
             RefPtr<vfs::FileSystem> fs) {
  (void)vfs::Mkdir(walk, path, 0555);
  auto at = vfs::PathWalker(walk, 0).Resolve(path);
  if (!at.ok()) Die(path, at.error());
  auto mounted = mounts.Attach(std::move(fs), *at, 0);
  if (!mounted.ok()) Die(path, mounted.error());
}

int Main(int argc, char** argv) {
  platform::Options options{.kind = platform::Kind::kPtrace, .arg_specs = syscalls::ArgSpecs()};
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--platform=systrap") options.kind = platform::Kind::kSystrap;
    if (arg == "--debug") SetLog(2, LogLevel::kDebug);
  }
  if (i >= argc) return 125;
  signal(SIGPIPE, SIG_IGN);
  mm::host_proc::SetDirectory(ScopedFd(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)));
  auto scheduler = sched::Scheduler::Create({});
  if (!scheduler.ok()) Die("scheduler", scheduler.error());
  std::string why;
  auto platform = platform::Platform::Create(**scheduler, options, &why);
  if (!platform.ok()) Die(why.c_str(), platform.error());
  vfs::Vfs vfs;
  std::unique_ptr<kernel::Kernel> kernel =
      kernel::Kernel::Create(**scheduler, **platform, vfs, {.dispatch = syscalls::Dispatch});
  auto fds = MakeRef<kernel::FdTable>();
  for (int fd = 0; fd < 3; ++fd) {
    auto file = hostfd::Wrap(vfs, **scheduler, ScopedFd(dup(fd)));
    if (!file.ok()) Die("stdio", file.error());
    (void)fds->Replace(fd, *file, false, 1024);
  }
  (*scheduler)->Spawn("boot", [&] {
    auto fs = tmpfs::Create({.mode = 0755});
    if (!fs.ok()) Die("tmpfs", fs.error());
    auto mounts = vfs::MountNamespace::Create(*fs, 0);
    const vfs::Location root = mounts->Root();
    auto creds = MakeRef<auth::Credentials>();
    creds->permitted = creds->effective = auth::kAllCaps;
    const vfs::OpContext op(vfs, *creds);
    const vfs::WalkContext walk{op, root, root};
    (void)vfs::Mkdir(walk, "/bin", 0755);
    (void)vfs::Mkdir(walk, "/tmp", 01777);
    (void)vfs::Mkdir(walk, "/dev", 0755);
    WriteGuestFile(walk, "/bin/program", ReadHostFile(argv[i]));
    MountOn(*mounts, walk, "/proc", procfs::Create(*kernel, {.host = procfs::ReadHostFacts()}));
    MountOn(*mounts, walk, "/sys", sysfs::Create({.cpus = kernel->cpus()}));
    for (const char* name : {"sh", "ls", "cat", "echo", "true", "sleep", "busybox", "find", "ps",
                             "head", "stat", "readlink", "grep", "wc", "mount", "df", "top"}) {
      (void)vfs::Symlink(walk, "program", std::string("/bin/") + name);
    }
    kernel->SetRoot(mounts, root);
    kernel::Kernel::InitArgs init;
    init.path = "/bin/program";
    for (int j = i; j < argc; ++j) init.argv.push_back(argv[j]);
    init.envp = {"PATH=/bin", "HOME=/", "TERM=dumb"};
    init.creds = creds;
    init.fds = std::move(fds);
    kernel->StartInit(std::move(init), [](Result<> loaded) {
      if (!loaded.ok()) fprintf(stderr, "run_static: exec: %s\n", ErrnoName(loaded.error()));
    });
  });
  (*scheduler)->Run();
  const int status = kernel->init_status();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace
}  // namespace msentry

int main(int argc, char** argv) {
  const int status = msentry::Main(argc, argv);
  fflush(stdout);
  _exit(status);
}
