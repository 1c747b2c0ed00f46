// kcmp(2).
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static long kcmp(pid_t a, pid_t b, int type, long x, long y) {
  return syscall(SYS_kcmp, a, b, type, x, y);
}
static int rest(void* unused) {
  (void)unused;
  for (;;) pause();
  return 0;
}

static void what_is_shared_is_equal(void) {
  static char stack[65536] __attribute__((aligned(16)));
  pid_t self = getpid();
  int copy = dup(1), other = open("/dev/null", O_RDONLY);
  CHECK_EQ(kcmp(self, self, KCMP_FILE, 1, copy), 0);
  CHECK(kcmp(self, self, KCMP_FILE, 1, other) > 0);
  // An order: one is less, seen the other way round it is greater.
  CHECK_EQ(kcmp(self, self, KCMP_FILE, 1, other) + kcmp(self, self, KCMP_FILE, other, 1), 3);
  CHECK(kcmp(self, self, KCMP_FILE, 1, 999) == -1 && errno == EBADF);
  CHECK(kcmp(self, self, 99, 0, 0) == -1 && errno == EINVAL);
  CHECK(kcmp(self, 999999, KCMP_VM, 0, 0) == -1 && errno == ESRCH);
  pid_t pid = clone(rest, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
  CHECK(pid > 0);
  CHECK_EQ(kcmp(self, pid, KCMP_VM, 0, 0), 0);
  CHECK_EQ(kcmp(self, pid, KCMP_FILES, 0, 0), 0);
  CHECK(kcmp(self, pid, KCMP_FS, 0, 0) > 0);
  CHECK(kcmp(self, pid, KCMP_SIGHAND, 0, 0) > 0);
  CHECK_EQ(kcmp(self, pid, KCMP_FILE, 1, copy), 0);
  kill(pid, SIGKILL);
  CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

int main(void) {
  RUN(what_is_shared_is_equal);
  return check_result();
}
