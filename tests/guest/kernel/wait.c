// Children: fork, wait in all its forms, reparenting, stops, usage.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static pid_t child_that_exits(int code) {
  pid_t pid = fork();
  if (pid == 0) _exit(code);
  return pid;
}

static pid_t child_that_waits(void) {
  pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  return pid;
}

static void statuses(void) {
  int status;
  pid_t pid = child_that_exits(7);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 7);
  CHECK_EQ(waitpid(pid, &status, 0), -1);
  CHECK_EQ(errno, ECHILD);
  pid = child_that_exits(0x1ff);
  CHECK_EQ(wait(&status), pid);
  CHECK_EQ(WEXITSTATUS(status), 0xff);
}

static void nohang_and_nowait(void) {
  int status;
  pid_t pid = child_that_waits();
  CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
  kill(pid, SIGTERM);
  siginfo_t info;
  memset(&info, 0, sizeof(info));
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(info.si_pid, pid);
  CHECK_EQ(info.si_code, CLD_KILLED);
  CHECK_EQ(info.si_status, SIGTERM);
  CHECK_EQ(info.si_signo, SIGCHLD);
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED), 0);
  CHECK_EQ(waitid(P_PID, pid, &info, WEXITED), -1);
  CHECK_EQ(errno, ECHILD);
}

static void stop_and_continue(void) {
  int status;
  pid_t pid = child_that_waits();
  CHECK(kill(pid, SIGSTOP) == 0);
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), SIGSTOP);
  CHECK(kill(pid, SIGCONT) == 0);
  CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
  CHECK(WIFCONTINUED(status));
  CHECK(kill(pid, SIGSTOP) == 0);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
  CHECK_EQ(info.si_code, CLD_STOPPED);
  // A stopped process still dies of SIGKILL.
  CHECK(kill(pid, SIGKILL) == 0);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status));
}

static volatile sig_atomic_t chld_code, chld_pid, chld_count, chld_status;
static void on_chld(int signo, siginfo_t* info, void* context) {
  (void)signo, (void)context;
  chld_count++;
  chld_code = info->si_code;
  chld_pid = info->si_pid;
  chld_status = info->si_status;
}

static void sigchld_tells(void) {
  struct sigaction sa = {0}, old;
  sa.sa_sigaction = on_chld;
  sa.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK(sigaction(SIGCHLD, &sa, &old) == 0);
  chld_count = 0;
  pid_t pid = child_that_exits(3);
  CHECK_EQ(waitpid(pid, NULL, 0), pid);
  CHECK_EQ(chld_count, 1);
  CHECK_EQ(chld_code, CLD_EXITED);
  CHECK_EQ(chld_pid, pid);
  CHECK_EQ(chld_status, 3);
  sigaction(SIGCHLD, &old, NULL);
}

static void ignored_sigchld_reaps(void) {
  signal(SIGCHLD, SIG_IGN);
  child_that_exits(0);
  CHECK_EQ(wait(NULL), -1);
  CHECK_EQ(errno, ECHILD);
  signal(SIGCHLD, SIG_DFL);
}

static void groups_select(void) {
  pid_t a = child_that_waits(), b = child_that_waits();
  CHECK(setpgid(a, a) == 0);
  CHECK(setpgid(b, a) == 0);
  CHECK_EQ(getpgid(b), a);
  CHECK(kill(-a, SIGTERM) == 0);
  int status;
  pid_t first = waitpid(-a, &status, 0), second = waitpid(-a, &status, 0);
  CHECK((first == a && second == b) || (first == b && second == a));
  CHECK_EQ(waitpid(-a, &status, 0), -1);
  CHECK_EQ(errno, ECHILD);
  CHECK_EQ(waitpid(0, &status, 0), -1);
  CHECK_EQ(errno, ECHILD);
}

static void orphans_go_to_subreaper(void) {
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  int fds[2];
  CHECK(pipe(fds) == 0);
  pid_t child = fork();
  if (child == 0) {
    pid_t grandchild = fork();
    if (grandchild == 0) {
      // Its parent is gone when the pipe's other writer is.
      char c;
      close(fds[1]);
      while (read(fds[0], &c, 1) > 0) {
      }
      _exit(11);
    }
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  close(fds[1]);
  close(fds[0]);
  pid_t got = wait(&status);
  CHECK(got > 0 && got != child);
  CHECK_EQ(WEXITSTATUS(status), 11);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}

static void parent_death_signal(void) {
  int fds[2];
  CHECK(pipe(fds) == 0);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  pid_t middle = fork();
  if (middle == 0) {
    pid_t leaf = fork();
    if (leaf == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      CHECK(write(fds[1], "r", 1) == 1);
      for (;;) pause();
    }
    char c;
    CHECK(read(fds[0], &c, 1) == 1);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(middle, &status, 0), middle);
  CHECK(wait(&status) > 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  close(fds[0]);
  close(fds[1]);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}

static void usage_of_children(void) {
  pid_t pid = fork();
  if (pid == 0) {
    struct rusage r;
    do {
      getrusage(RUSAGE_SELF, &r);
    } while (r.ru_utime.tv_sec * 1000000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec < 20000);
    _exit(0);
  }
  struct rusage r;
  int status;
  CHECK_EQ(wait4(pid, &status, 0, &r), pid);
  CHECK(r.ru_utime.tv_sec + r.ru_stime.tv_sec > 0 ||
        r.ru_utime.tv_usec + r.ru_stime.tv_usec >= 15000);
  CHECK(r.ru_maxrss > 0);
}

static int run_clone(void* arg) {
  *(int*)arg = 5;
  return 9;
}
static char stack[65536] __attribute__((aligned(16)));
static void clone_children(void) {
  int value = 0, status;
  // Without an exit signal: only __WALL and __WCLONE see it.
  pid_t pid = clone(run_clone, stack + sizeof(stack), CLONE_VM, &value);
  CHECK(pid > 0);
  CHECK_EQ(waitpid(pid, &status, __WALL), pid);
  CHECK_EQ(WEXITSTATUS(status), 9);
  CHECK_EQ(value, 5);
  pid = clone(run_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &value);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
}

static void vfork_shares_memory(void) {
  static volatile int seen;
  pid_t pid = vfork();
  if (pid == 0) {
    seen = 1;
    _exit(4);
  }
  CHECK_EQ(seen, 1);
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(WEXITSTATUS(status), 4);
}

static void pidfds(void) {
  pid_t pid = child_that_waits();
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  CHECK(fd >= 0);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  struct pollfd p = {fd, POLLIN, 0};
  CHECK_EQ(poll(&p, 1, 0), 0);
  CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
  CHECK_EQ(poll(&p, 1, -1), 1);
  siginfo_t info;
  CHECK_EQ(waitid(P_PIDFD, fd, &info, WEXITED), 0);
  CHECK_EQ(info.si_pid, pid);
  CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), -1);
  CHECK_EQ(errno, ESRCH);
  close(fd);
}

static void fork_many(void) {
  enum { kMany = 50 };
  for (int i = 0; i < kMany; i++) {
    if (fork() == 0) _exit(i);
  }
  int seen[kMany] = {0}, status;
  for (int i = 0; i < kMany; i++) {
    CHECK(wait(&status) > 0);
    seen[WEXITSTATUS(status)]++;
  }
  for (int i = 0; i < kMany; i++) CHECK_EQ(seen[i], 1);
}

static void copy_on_write(void) {
  static int value = 1;
  pid_t pid = fork();
  if (pid == 0) {
    value = 2;
    _exit(value);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(WEXITSTATUS(status), 2);
  CHECK_EQ(value, 1);
}

static void bad_flags(void) {
  CHECK_EQ(syscall(SYS_wait4, -1, NULL, 0x100, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(waitid(P_ALL, 0, NULL, WNOHANG), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), -1);
  CHECK_EQ(errno, EINVAL);
}

// Memory is being made present by one long call when SIGKILL comes: the call ends, not only the
// process after it.
static void kill_ends_populating(void) {
  int fds[2];
  CHECK(pipe(fds) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    const size_t length = (size_t)64 << 30;
    char* p = mmap(NULL, length, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || write(fds[1], "x", 1) != 1) _exit(1);
    madvise(p, length, 23 /* MADV_POPULATE_WRITE */);
    _exit(2);
  }
  char c;
  CHECK_EQ(read(fds[0], &c, 1), 1);
  usleep(20000);
  CHECK_EQ(kill(pid, SIGKILL), 0);
  alarm(20);  // ends this program
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  alarm(0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  close(fds[0]);
  close(fds[1]);
}

int main(void) {
  RUN(kill_ends_populating);
  RUN(statuses);
  RUN(nohang_and_nowait);
  RUN(stop_and_continue);
  RUN(sigchld_tells);
  RUN(ignored_sigchld_reaps);
  RUN(groups_select);
  RUN(orphans_go_to_subreaper);
  RUN(parent_death_signal);
  RUN(usage_of_children);
  RUN(clone_children);
  RUN(vfork_shares_memory);
  RUN(pidfds);
  RUN(fork_many);
  RUN(copy_on_write);
  RUN(bad_flags);
  return check_result();
}
