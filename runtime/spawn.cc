#include "runtime/spawn.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "runtime/handoff.h"
#include "sentry/base/scoped_fd.h"

extern char** environ;

#ifndef MSENTRY_INSTALLED_BINARY
#define MSENTRY_INSTALLED_BINARY "/usr/local/bin/msentry"
#endif

namespace msentry::runtime {
namespace {

// Above every number that a file action writes to, so that no action overwrites the source of a
// later one.
constexpr int kParkingFds = 64;

struct FileActions {
  FileActions() { posix_spawn_file_actions_init(&value); }
  ~FileActions() { posix_spawn_file_actions_destroy(&value); }
  posix_spawn_file_actions_t value;
};

struct Attributes {
  Attributes() { posix_spawnattr_init(&value); }
  ~Attributes() { posix_spawnattr_destroy(&value); }
  posix_spawnattr_t value;
};

// What the dynamic linker and the sanitizers want to know. Nothing else: what we execute becomes
// the sentry, and the caller's environment may hold secrets.
std::vector<char*> EnvironmentForUs() {
  constexpr std::string_view kPrefixes[] = {"LD_", "ASAN_", "LSAN_", "TSAN_", "UBSAN_"};
  std::vector<char*> kept;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; variable++) {
    for (std::string_view prefix : kPrefixes) {
      if (std::string_view(*variable).substr(0, prefix.size()) == prefix) kept.push_back(*variable);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

bool IsExecutable(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

// bin/msentry of the prefix that this library was installed in, wherever that was moved:
// PREFIX/lib/libmsentry.so or PREFIX/lib/ARCH/libmsentry.so.
std::string BesideLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&FindBinary), &info) == 0 || info.dli_fname == nullptr)
    return "";
  std::string directory = info.dli_fname;
  for (int up = 0; up < 3; up++) {
    size_t slash = directory.rfind('/');
    if (slash == std::string::npos || slash == 0) return "";
    directory.resize(slash);
    if (IsExecutable(directory + "/bin/msentry")) return directory + "/bin/msentry";
  }
  return "";
}

}  // namespace

std::string FindBinary(const std::string& configured, std::string* error) {
  std::string path = configured;
  if (path.empty()) {
    const char* variable = getenv("MSENTRY_BINARY");
    path = variable != nullptr ? variable : "";
    if (path.empty()) path = BesideLibrary();
    if (path.empty()) path = MSENTRY_INSTALLED_BINARY;
  }
  if (IsExecutable(path)) return path;
  *error = "the msentry program is not at " + path + ": install it or set MSENTRY_BINARY";
  return "";
}

pid_t SpawnSupervisor(const std::string& binary,
                      const std::vector<std::pair<int, int>>& descriptors, std::string* error) {
  FileActions actions;
  Attributes attributes;
  posix_spawn_file_actions_addopen(&actions.value, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_addopen(&actions.value, 1, "/dev/null", O_RDWR, 0);
  std::vector<ScopedFd> parked;
  bool present[kHandoffEnd] = {};
  for (auto [from, to] : descriptors) {
    ScopedFd high(fcntl(from, F_DUPFD_CLOEXEC, kParkingFds));
    if (!high) {
      *error = std::string("cannot hand a descriptor over: ") + strerror(errno);
      return -1;
    }
    posix_spawn_file_actions_adddup2(&actions.value, high.get(), to);
    present[to] = true;
    parked.push_back(std::move(high));
  }
  for (int fd = 3; fd < kHandoffEnd; fd++) {
    if (present[fd]) continue;
    // Something else of ours may stand at this number, or nothing: make sure it is closed.
    posix_spawn_file_actions_addopen(&actions.value, fd, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addclose(&actions.value, fd);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions.value, kHandoffEnd);

  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes.value, &none);
  posix_spawnattr_setsigdefault(&attributes.value, &all);
  posix_spawnattr_setflags(&attributes.value,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  char name[] = "msentry", command[] = "supervise";
  char* const argv[] = {name, command, nullptr};
  pid_t pid = -1;
  std::vector<char*> environment = EnvironmentForUs();
  int failure = posix_spawn(&pid, binary.c_str(), &actions.value, &attributes.value, argv,
                            environment.data());
  if (failure == 0) return pid;
  *error = "cannot start " + binary + ": " + strerror(failure);
  return -1;
}

}  // namespace msentry::runtime
