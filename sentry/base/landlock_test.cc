#include "sentry/base/landlock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

namespace msentry {
namespace {

// The exit status of a child that runs `body`.
int InChild(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Landlock, OnlyWhatIsAllowedCanBeOpened) {
  const int abi = LandlockAbi();
  if (abi == 0) GTEST_SKIP() << "no Landlock on this host";
  EXPECT_EQ(0, InChild([&] {
              ScopedFd proc(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
              LandlockRules rules(abi, LandlockFileRights(abi));
              if (!rules.Allow(proc.get(), LANDLOCK_ACCESS_FS_READ_FILE).ok()) return 1;
              if (!rules.Enforce().ok()) return 2;
              if (!ScopedFd(open("/proc/self/statm", O_RDONLY))) return 3;
              if (ScopedFd(open("/etc/passwd", O_RDONLY)) || errno != EACCES) return 4;
              // Not by way of /proc either.
              if (ScopedFd(open("/proc/self/root/etc/passwd", O_RDONLY)) || errno != EACCES)
                return 5;
              // Anonymous files have no place in the tree: they stay usable by this name.
              ScopedFd memory(memfd_create("x", MFD_CLOEXEC));
              const std::string name = "/proc/self/fd/" + std::to_string(memory.get());
              return ScopedFd(open(name.c_str(), O_RDONLY)) ? 0 : 6;
            }));
}

TEST(Landlock, SignalsStayAmongOurOwn) {
  const int abi = LandlockAbi();
  if (abi < 6) GTEST_SKIP() << "this host's Landlock does not scope signals";
  EXPECT_EQ(0, InChild([&] {
              LandlockRules rules(abi, LandlockFileRights(abi), /*own_signals=*/true);
              if (!rules.Enforce().ok()) return 1;
              if (kill(getppid(), 0) == 0 || errno != EPERM) return 2;
              const pid_t child = fork();
              if (child == 0) {
                pause();
                _exit(0);
              }
              if (kill(child, SIGKILL) != 0) return 3;
              waitpid(child, nullptr, 0);
              return 0;
            }));
}

}  // namespace
}  // namespace msentry
