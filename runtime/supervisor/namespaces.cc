#include "runtime/supervisor/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "sentry/base/scoped_fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace msentry::runtime {
namespace {

bool WriteFile(const std::string& path, const std::string& text) {
  ScopedFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Every id that we can name, mapped to itself: the lines of our own map without the parent's
// column.
std::string IdentityMap(const char* path) {
  std::string map;
  FILE* file = fopen(path, "re");
  if (file == nullptr) return map;
  unsigned long long inside, outside, count;
  while (fscanf(file, "%llu %llu %llu", &inside, &outside, &count) == 3) {
    std::string line = std::to_string(inside);
    map.append(line)
        .append(" ")
        .append(line)
        .append(" ")
        .append(std::to_string(count))
        .append("\n");
  }
  fclose(file);
  return map;
}

std::string SingleMap(uint32_t id) {
  return std::to_string(id) + " " + std::to_string(id) + " 1\n";
}

// A map of more than one's own id must be written by a process that is still outside: a child that
// shares our memory (copying it would be most of the cost) and waits for a byte on `go`.
class MapWriter {
 public:
  MapWriter() : uids_(IdentityMap("/proc/self/uid_map")), gids_(IdentityMap("/proc/self/gid_map")) {
    int pipe_fds[2];
    if (uids_.empty() || gids_.empty() || pipe2(pipe_fds, O_CLOEXEC) != 0) return;
    wait_.Reset(pipe_fds[0]);
    go_.Reset(pipe_fds[1]);
    const std::string base = "/proc/" + std::to_string(getpid());
    uid_path_ = base + "/uid_map";
    gid_path_ = base + "/gid_map";
    constexpr size_t kStack = 16384;
    stack_ = std::make_unique<char[]>(kStack);
    pid_ = clone(&Main, stack_.get() + kStack, CLONE_VM | SIGCHLD, this);
  }
  // Writes the maps if `map`; true when they are written. Once, and before the end.
  bool Finish(bool map) {
    if (pid_ < 0) return false;
    const char byte = map ? 'm' : 'x';
    bool told = write(go_.get(), &byte, 1) == 1;
    if (!told) kill(pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    return told && map && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  // In the child: system calls only, the memory is the parent's (as is the table of descriptors'
  // copy: a parent that is killed closes its end).
  static int Main(void* self) {
    const auto* w = static_cast<const MapWriter*>(self);
    close(w->go_.get());
    char byte = 0;
    if (read(w->wait_.get(), &byte, 1) != 1 || byte != 'm') return 1;
    return Put(w->uid_path_, w->uids_) && Put(w->gid_path_, w->gids_) ? 0 : 1;
  }
  static bool Put(const std::string& path, const std::string& text) {
    int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

  const std::string uids_, gids_;
  std::string uid_path_, gid_path_;
  ScopedFd wait_, go_;
  std::unique_ptr<char[]> stack_;
  pid_t pid_ = -1;
};

bool EnterUserNamespace(const control::Config& config, Namespaces* out, std::string* why) {
  bool root = geteuid() == 0;
  uint32_t uid = config.host_uid(), gid = config.host_gid();
  std::unique_ptr<MapWriter> writer;
  if (root) writer = std::make_unique<MapWriter>();
  if (unshare(CLONE_NEWUSER) != 0) {
    *why = std::string("unshare: ") + strerror(errno);
    if (writer) writer->Finish(false);
    return false;
  }
  out->identity_ids = writer && writer->Finish(true);
  if (out->identity_ids) return true;
  if (WriteFile("/proc/self/setgroups", "deny") &&
      WriteFile("/proc/self/uid_map", SingleMap(uid)) &&
      WriteFile("/proc/self/gid_map", SingleMap(gid))) {
    return true;
  }
  *why = std::string("mapping ids: ") + strerror(errno);
  return false;
}

struct Kind {
  int flag;
  const char* name;
  const char* loss;
};
constexpr Kind kKinds[] = {
    {CLONE_NEWPID, "pid",
     "processes of the sandbox see the ids of the host's, and a killed supervisor may leave some"},
    {CLONE_NEWNET, "network", "a sentry that was taken over could use the host's network"},
    {CLONE_NEWIPC, "ipc", "a sentry that was taken over could reach the host's System V IPC"},
    {CLONE_NEWUTS, "uts", "a sentry that was taken over sees the host's name"},
    {CLONE_NEWCGROUP, "cgroup", "a sentry that was taken over sees the host's cgroup paths"},
    {CLONE_NEWTIME, "time", "the monotonic clock shows the host's uptime"},
};

// CLOCK_MONOTONIC and CLOCK_BOOTTIME start in the first second. The kernel accepts no offset that
// would make the clock negative, hence whole seconds only.
void StartClocksAtZero(Namespaces* out) {
  timespec monotonic, boot;
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  std::string text = "monotonic -" + std::to_string(monotonic.tv_sec) + " 0\nboottime -" +
                     std::to_string(boot.tv_sec) + " 0\n";
  if (!WriteFile("/proc/self/timens_offsets", text)) {
    out->warnings.push_back(std::string("no offset of the clocks: ") + strerror(errno) +
                            ": the monotonic clock shows the host's uptime");
  }
}

}  // namespace

Namespaces EnterNamespaces(const control::Config& config) {
  Namespaces out;
  std::string why = "asked for";
  if (!config.avoid_namespaces()) out.user = EnterUserNamespace(config, &out, &why);
  if (!out.user) {
    out.privileged = geteuid() == 0 && !config.avoid_namespaces();
    out.identity_ids = true;
    if (!out.privileged) {
      out.warnings.push_back(
          "no user namespace (" + why +
          "): sentry and gofer are confined by Landlock and their system call filters only, see "
          "docs/threat-model.md");
      return out;
    }
  }
  int all = 0;
  for (const Kind& kind : kKinds) all |= kind.flag;
  if (unshare(all) == 0) {
    out.pid = true;
    StartClocksAtZero(&out);
    return out;
  }
  for (const Kind& kind : kKinds) {
    if (unshare(kind.flag) != 0) {
      out.warnings.push_back(std::string("no ") + kind.name + " namespace (" + strerror(errno) +
                             "): " + kind.loss);
      continue;
    }
    if (kind.flag == CLONE_NEWPID) out.pid = true;
    if (kind.flag == CLONE_NEWTIME) StartClocksAtZero(&out);
  }
  return out;
}

std::vector<gofer::IdRange> OwnerMap(const Namespaces& namespaces, uint32_t own_id) {
  if (namespaces.identity_ids) return {};
  // The namespace knows one id; the host shows every other one as its overflow id. Most of what a
  // guest looks at outside its home is root's: show it so, as ls and ssh on the host see it.
  constexpr uint32_t kOverflowId = 65534;
  std::vector<gofer::IdRange> map{{.inside = own_id, .outside = own_id, .count = 1}};
  if (own_id != 0) map.push_back({.inside = 0, .outside = kOverflowId, .count = 1});
  return map;
}

}  // namespace msentry::runtime
