// Job control over a pseudo-terminal: sessions, foreground and background groups, stops, hang-up.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "check.h"

static int master;
static char slave_name[64];

static int status_of(pid_t pid) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void open_terminal(void) {
  master = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(master >= 0);
  CHECK(grantpt(master) == 0);
  CHECK(unlockpt(master) == 0);
  CHECK(ptsname_r(master, slave_name, sizeof(slave_name)) == 0);
}

// Runs `body` in a session of its own with the terminal as controlling one.
static pid_t in_session(int (*body)(int tty)) {
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(setsid() > 0);
    int tty = open(slave_name, O_RDWR);
    CHECK(tty >= 0);
    close(master);
    int result = body(tty);
    _exit(check_failures ? 1 : result);
  }
  return pid;
}

static int owns_terminal(int tty) {
  CHECK_EQ(tcgetpgrp(tty), getpid());
  CHECK_EQ(tcgetsid(tty), getpid());
  int again = open("/dev/tty", O_RDWR);
  CHECK(again >= 0);
  CHECK_EQ(tcgetpgrp(again), getpid());
  CHECK_EQ(ioctl(tty, TIOCSCTTY, 0), 0);
  return 0;
}
static void leader_gets_the_terminal(void) {
  open_terminal();
  CHECK_EQ(status_of(in_session(owns_terminal)), 0);
  close(master);
}

static int background_read(int tty) {
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    char c;
    // Stops here with SIGTTIN, reads once it is in the foreground.
    if (read(tty, &c, 1) != 1) _exit(3);
    _exit(c == 'x' ? 0 : 4);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), SIGTTIN);
  CHECK(tcsetpgrp(tty, child) == 0);
  CHECK(kill(-child, SIGCONT) == 0);
  return status_of(child);
}
static void background_reader_stops(void) {
  open_terminal();
  pid_t pid = in_session(background_read);
  CHECK_EQ(write(master, "x\n", 2), 2);
  CHECK_EQ(status_of(pid), 0);
  close(master);
}

static int background_set(int tty) {
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    tcsetpgrp(tty, getpid());  // stops with SIGTTOU
    _exit(tcgetpgrp(tty) == getpid() ? 0 : 5);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), SIGTTOU);
  CHECK_EQ(tcgetpgrp(tty), getpid());
  // Blocked, the change is allowed.
  pid_t other = fork();
  if (other == 0) {
    setpgid(0, 0);
    signal(SIGTTOU, SIG_IGN);
    _exit(tcsetpgrp(tty, getpid()) == 0 && tcgetpgrp(tty) == getpid() ? 0 : 6);
  }
  CHECK_EQ(status_of(other), 0);
  signal(SIGTTOU, SIG_IGN);
  CHECK(tcsetpgrp(tty, child) == 0);
  kill(-child, SIGCONT);
  return status_of(child);
}
static void background_setter_stops(void) {
  open_terminal();
  CHECK_EQ(status_of(in_session(background_set)), 0);
  close(master);
}

static int foreground_job(int tty) {
  signal(SIGINT, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    tcsetpgrp(tty, getpid());
    signal(SIGINT, SIG_DFL);
    CHECK_EQ(write(tty, "r", 1), 1);
    for (;;) pause();
  }
  int status;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
  CHECK(kill(-child, SIGCONT) == 0);
  CHECK_EQ(write(tty, "c", 1), 1);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  return 0;
}
static char next_of(const char* wanted) {
  char c = 0;
  do {
    if (read(master, &c, 1) != 1) return 0;
  } while (strchr(wanted, c) == NULL);
  return c;
}
static void keys_reach_the_foreground(void) {
  open_terminal();
  pid_t pid = in_session(foreground_job);
  CHECK_EQ(next_of("r"), 'r');
  CHECK_EQ(write(master, "\032", 1), 1);  // ^Z
  CHECK_EQ(next_of("c"), 'c');
  CHECK_EQ(write(master, "\003", 1), 1);  // ^C
  CHECK_EQ(status_of(pid), 0);
  close(master);
}

static volatile sig_atomic_t hung_up;
static void on_hup(int signo) {
  (void)signo;
  hung_up = 1;
}
static int wait_for_hangup(int tty) {
  sigset_t block, old;
  sigemptyset(&block);
  sigaddset(&block, SIGHUP);
  sigprocmask(SIG_BLOCK, &block, &old);
  signal(SIGHUP, on_hup);
  CHECK_EQ(write(tty, "r", 1), 1);
  while (!hung_up) sigsuspend(&old);
  char c;
  CHECK_EQ(read(tty, &c, 1), 0);
  return 17;
}
static void closing_the_master_hangs_up(void) {
  open_terminal();
  pid_t pid = in_session(wait_for_hangup);
  CHECK_EQ(next_of("r"), 'r');
  close(master);
  CHECK_EQ(status_of(pid), 17);
}

static int leave_a_stopped_job(int tty) {
  (void)tty;
  int fds[2];
  CHECK(pipe(fds) == 0);
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    raise(SIGSTOP);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status));
  // The exit of this leader orphans the child's group: it gets SIGHUP and SIGCONT, and dies.
  return 0;
}
static void orphaned_stopped_job_gets_hup(void) {
  // The pipe's end of file says that the orphan is gone.
  int fds[2];
  CHECK(pipe(fds) == 0);
  open_terminal();
  pid_t pid = in_session(leave_a_stopped_job);
  close(fds[1]);
  CHECK_EQ(status_of(pid), 0);
  char c;
  CHECK_EQ(read(fds[0], &c, 1), 0);
  close(fds[0]);
  close(master);
}

int main(void) {
  RUN(leader_gets_the_terminal);
  RUN(background_reader_stops);
  RUN(background_setter_stops);
  RUN(keys_reach_the_foreground);
  RUN(closing_the_master_hangs_up);
  RUN(orphaned_stopped_job_gets_hup);
  return check_result();
}
