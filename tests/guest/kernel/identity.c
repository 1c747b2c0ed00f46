// Ids, sessions, limits, names, scheduling parameters; no privileges needed.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "check.h"

static int status_of(pid_t pid) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void sessions(void) {
  pid_t pid = fork();
  if (pid == 0) {
    CHECK_EQ(setsid(), getpid());
    CHECK_EQ(getsid(0), getpid());
    CHECK_EQ(getpgrp(), getpid());
    CHECK_EQ(setsid(), -1);
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(setpgid(0, 0), -1);
    CHECK_EQ(errno, EPERM);
    pid_t child = fork();
    if (child == 0) {
      CHECK_EQ(getsid(0), getppid());
      CHECK_EQ(setpgid(0, 0), 0);
      CHECK_EQ(getpgrp(), getpid());
      CHECK_EQ(setpgid(0, 31999), -1);
      CHECK_EQ(errno, EPERM);
      _exit(check_result());
    }
    CHECK_EQ(status_of(child), 0);
    _exit(check_result());
  }
  CHECK_EQ(status_of(pid), 0);
  CHECK_EQ(setpgid(31998, 31998), -1);
  CHECK_EQ(errno, ESRCH);
}

static void limits(void) {
  struct rlimit l, old;
  CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
  l = old;
  l.rlim_cur = 20;
  CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
  int fd, last = -1;
  while ((fd = dup(0)) >= 0) last = fd;
  CHECK_EQ(errno, EMFILE);
  CHECK_EQ(last, 19);
  for (fd = 3; fd <= last; fd++) close(fd);
  CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
  l.rlim_cur = 5, l.rlim_max = 4;
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &l), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(getrlimit(99, &l), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK(prlimit(getpid(), RLIMIT_STACK, NULL, &l) == 0);
  CHECK(l.rlim_cur >= 1 << 20);
}

static void names(void) {
  char name[17] = {0};
  CHECK(prctl(PR_SET_NAME, "a-very-long-thread-name") == 0);
  CHECK(prctl(PR_GET_NAME, name) == 0);
  CHECK(strcmp(name, "a-very-long-thr") == 0);
  struct utsname u;
  CHECK(uname(&u) == 0);
  CHECK(strcmp(u.sysname, "Linux") == 0);
  CHECK(strcmp(u.machine, "x86_64") == 0);
}

static void scheduling(void) {
  CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
  CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
  CHECK_EQ(sched_get_priority_min(SCHED_RR), 1);
  CHECK(sched_yield() == 0);
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
  CHECK(CPU_COUNT(&set) >= 1);
  CHECK_EQ(CPU_COUNT(&set), sysconf(_SC_NPROCESSORS_ONLN) < CPU_COUNT(&set)
                                ? sysconf(_SC_NPROCESSORS_ONLN)
                                : CPU_COUNT(&set));
  CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
  CPU_ZERO(&set);
  CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), -1);
  CHECK_EQ(errno, EINVAL);
  errno = 0;
  int before = getpriority(PRIO_PROCESS, 0);
  int lower = before < 19 ? before + 1 : 19;
  CHECK(setpriority(PRIO_PROCESS, 0, lower) == 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), lower);
  CHECK(sched_getcpu() >= 0);
}

static void misc(void) {
  unsigned char a[64] = {0}, b[64] = {0};
  CHECK_EQ(getrandom(a, sizeof(a), 0), 64);
  CHECK_EQ(getrandom(b, sizeof(b), 0), 64);
  CHECK(memcmp(a, b, 64) != 0);
  struct sysinfo info;
  CHECK(sysinfo(&info) == 0);
  CHECK(info.totalram > 0);
  CHECK(info.procs > 0);
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
  CHECK_EQ(prctl(PR_SET_DUMPABLE, 5), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(prctl(12345), -1);
  CHECK_EQ(errno, EINVAL);
}

static void no_new_privs_stays(void) {
  pid_t pid = fork();
  if (pid == 0) {
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), -1);
    pid_t child = fork();
    if (child == 0) _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    CHECK_EQ(status_of(child), 1);
    _exit(check_result());
  }
  CHECK_EQ(status_of(pid), 0);
}

static void root_gives_up_ids(void) {
  if (geteuid() != 0) return;
  pid_t pid = fork();
  if (pid == 0) {
    uid_t r, e, s;
    CHECK(setgid(1001) == 0);
    CHECK(seteuid(1000) == 0);
    CHECK_EQ(geteuid(), 1000);
    CHECK_EQ(getuid(), 0);
    CHECK(seteuid(0) == 0);
    CHECK(setuid(1000) == 0);
    CHECK(getresuid(&r, &e, &s) == 0);
    CHECK(r == 1000 && e == 1000 && s == 1000);
    CHECK_EQ(setuid(0), -1);
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(kill(getppid(), 0), -1);
    CHECK_EQ(errno, EPERM);
    _exit(check_result());
  }
  CHECK_EQ(status_of(pid), 0);
}

int main(void) {
  RUN(sessions);
  RUN(limits);
  RUN(names);
  RUN(scheduling);
  RUN(misc);
  RUN(no_new_privs_stays);
  RUN(root_gives_up_ids);
  return check_result();
}
