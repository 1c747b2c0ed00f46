// Pseudo-terminals (pty(7), termios(3)).
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "../kernel/check.h"

static int master, slave;

static void open_pair(void) { CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0); }
static void close_pair(void) {
  close(master);
  close(slave);
}
static long read_all(int fd, char* b, size_t n) {
  struct pollfd f = {.fd = fd, .events = POLLIN};
  size_t got = 0;
  while (got < n && poll(&f, 1, got ? 100 : 5000) == 1 && (f.revents & POLLIN)) {
    ssize_t k = read(fd, b + got, n - got);
    if (k <= 0) break;
    got += k;
  }
  return got;
}

static void canonical_lines(void) {
  open_pair();
  char b[64];
  CHECK(isatty(slave));
  CHECK(isatty(master));
  CHECK_EQ(write(master, "abx\177c\r", 6), 6);
  CHECK_EQ(read(slave, b, sizeof b), 4);
  CHECK(!memcmp(b, "abc\n", 4));
  CHECK_EQ(read_all(master, b, 9), 9);
  CHECK(!memcmp(b, "abx\b \bc\r\n", 9));
  CHECK_EQ(write(slave, "x\ny", 3), 3);
  CHECK_EQ(read_all(master, b, 4), 4);
  CHECK(!memcmp(b, "x\r\ny", 4));
  write(master, "\004", 1);
  CHECK_EQ(read(slave, b, sizeof b), 0);
  int n = -1;
  write(master, "q\n", 2);
  struct pollfd f = {.fd = slave, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 5000), 1);
  CHECK_EQ(ioctl(slave, FIONREAD, &n), 0);
  CHECK_EQ(n, 2);
  close_pair();
}

static void raw_mode_and_timeouts(void) {
  open_pair();
  struct termios t;
  CHECK_EQ(tcgetattr(slave, &t), 0);
  cfmakeraw(&t);
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 1;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
  char b[16];
  CHECK_EQ(read(slave, b, 16), 0);
  write(master, "\003\r", 2);
  CHECK_EQ(read(slave, b, 16), 2);
  CHECK(!memcmp(b, "\003\r", 2));
  t.c_cc[VMIN] = 3;
  t.c_cc[VTIME] = 0;
  CHECK_EQ(tcsetattr(slave, TCSAFLUSH, &t), 0);
  write(master, "ab", 2);
  struct pollfd f = {.fd = slave, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 0), 0);
  write(master, "c", 1);
  CHECK_EQ(read(slave, b, 16), 3);
  struct termios back;
  CHECK_EQ(tcgetattr(master, &back), 0);
  CHECK_EQ(back.c_cc[VMIN], 3);
  close_pair();
}

static void window_size(void) {
  open_pair();
  struct winsize w = {24, 80, 0, 0}, r;
  CHECK_EQ(ioctl(master, TIOCSWINSZ, &w), 0);
  CHECK_EQ(ioctl(slave, TIOCGWINSZ, &r), 0);
  CHECK_EQ(r.ws_row, 24);
  CHECK_EQ(r.ws_col, 80);
  close_pair();
}

static void control_c_reaches_the_foreground_job(void) {
  pid_t child = forkpty(&master, NULL, NULL, NULL);
  if (child == 0) {
    write(1, "ready\n", 6);
    for (;;) pause();
  }
  char b[64];
  CHECK_EQ(read_all(master, b, 7), 7);
  int fd = open(ptsname(master), O_RDWR | O_NOCTTY);
  CHECK(fd >= 0);
  pid_t group = -1;
  CHECK_EQ(ioctl(master, TIOCGPGRP, &group), 0);
  CHECK_EQ(group, child);
  close(fd);
  CHECK_EQ(write(master, "\003", 1), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  close(master);
}

static void closing_the_master_hangs_up(void) {
  int out[2];
  pipe(out);
  pid_t child = forkpty(&master, NULL, NULL, NULL);
  if (child == 0) {
    write(1, "ready\n", 6);
    for (;;) pause();
  }
  char b[64];
  CHECK_EQ(read_all(master, b, 7), 7);
  close(master);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

static void last_slave_ends_the_master(void) {
  pid_t child = forkpty(&master, NULL, NULL, NULL);
  if (child == 0) {
    int t = open("/dev/tty", O_RDWR);
    write(t, "hi", 2);
    _exit(0);
  }
  char b[64];
  CHECK_EQ(read_all(master, b, 2), 2);
  int status;
  waitpid(child, &status, 0);
  CHECK_EQ(read(master, b, 1), -1);
  CHECK_EQ(errno, EIO);
  close(master);
}

int main(void) {
  RUN(canonical_lines);
  RUN(raw_mode_and_timeouts);
  RUN(window_size);
  RUN(control_c_reaches_the_foreground_job);
  RUN(closing_the_master_hangs_up);
  RUN(last_slave_ends_the_master);
  return check_result();
}
