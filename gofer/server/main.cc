// gofer::Main: from a configuration to a confined, serving process.
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "gofer/server/confine.h"
#include "gofer/server/server.h"
#include "sentry/base/log.h"

namespace msentry::gofer {
namespace {

int64_t SpinNs() {
  cpu_set_t cpus;
  // With fewer CPUs than guest, sentry and gofer need, spinning takes the time of whom one waits
  // for.
  if (sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 4) return 0;
  return 10'000;
}

int Fail(const char* what, const std::string& subject, Errno error) {
  fprintf(stderr, "msentry gofer: %s%s: %s\n", what, EscapeForLog(subject).c_str(),
          ErrnoName(error));
  return 1;
}

// What could not be done: an error when the configuration insists, else a warning.
bool Tolerable(const Config& config, const char* step, const Result<>& result) {
  if (result.ok()) return true;
  if (config.require_confinement) {
    (void)Fail("cannot confine itself: ", step, result.error());
    return false;
  }
  LogWarning("gofer: weaker confinement: %s: %s", step, ErrnoName(result.error()));
  return true;
}

bool Confine(const Config& config, std::vector<ConfinedRoot>& roots) {
  bool any_writable = false;
  for (const ConfinedRoot& root : roots) any_writable |= !root.read_only;
  if (!Tolerable(config, "fd directory", EnterFdDirectory())) return false;
  Result<> isolated = IsolateMounts(roots);
  // An ordinary user has no mounts of its own; Landlock alone holds it then. It stays in the first
  // user namespace, where it can see who owns the files it serves.
  if (!isolated.ok() && isolated.error() != Errno::kEPERM) {
    if (!Tolerable(config, "private mounts", isolated)) return false;
  }
  Result<> landlock = RestrictToRoots(roots);
  if (!landlock.ok() && !isolated.ok()) {
    if (!Tolerable(config, "Landlock", landlock)) return false;
  }
  return Tolerable(config, "privileges", DropPrivileges(any_writable)) &&
         Tolerable(config, "seccomp", InstallSeccompFilter());
}

}  // namespace

void RaiseFdLimit() {
  constexpr rlim_t kWanted = 1 << 20;  // fs.nr_open's default: the kernel allows no more
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  struct rlimit raised = {.rlim_cur = kWanted, .rlim_max = std::max(limit.rlim_max, kWanted)};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return;
  limit.rlim_cur = std::min(limit.rlim_max, kWanted);
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int Main(const Config& config) {
  RaiseFdLimit();
  umask(0);
  if (!config.unconfined) {
    Result<> mounts = EnterMountNamespace();
    if (!mounts.ok() && mounts.error() != Errno::kEPERM &&
        !Tolerable(config, "mount namespace", mounts)) {
      return 1;
    }
  }
  // Files that the seccomp filter would keep us from reading later are read now.
  Result<HiddenSet> hidden = HiddenSet::Create(config.hidden);
  if (!hidden.ok()) return Fail("hidden files", "", hidden.error());
  std::vector<ConfinedRoot> roots;
  for (const AttachConfig& attach : config.attaches) {
    Result<ScopedFd> fd = host::OpenRoot(attach.host_path);
    if (!fd.ok()) return Fail("cannot open ", attach.host_path, fd.error());
    roots.push_back({std::move(*fd), attach.read_only});
  }
  const int64_t spin_ns = SpinNs();
  if (!config.unconfined && !Confine(config, roots)) return 1;

  std::vector<std::unique_ptr<Attach>> attaches;
  std::vector<Attach*> pointers;
  for (size_t i = 0; i < roots.size(); ++i) {
    Result<std::unique_ptr<Attach>> attach =
        Attach::Create(config.attaches[i], std::move(roots[i].fd), &*hidden);
    if (!attach.ok()) return Fail("cannot serve ", config.attaches[i].host_path, attach.error());
    attaches.push_back(std::move(*attach));
    pointers.push_back(attaches.back().get());
  }
  Server server(pointers, {.threads = std::clamp(config.threads, 1, 16), .spin_ns = spin_ns});
  for (int fd : config.connection_fds) {
    Result<> added = server.Add(ScopedFd(fd));
    if (!added.ok()) return Fail("connection", "", added.error());
  }
  server.Run();
  // Nothing is closed one by one: each private mount would wait for the host's RCU.
  _exit(0);
}

}  // namespace msentry::gofer
