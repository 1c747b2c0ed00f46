// Pipes and FIFOs (pipe(7)).
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../kernel/check.h"

static char big[200000];

static void data_goes_through(void) {
  int p[2];
  CHECK_EQ(pipe(p), 0);
  CHECK_EQ(write(p[1], "hello", 5), 5);
  int n = 0;
  CHECK_EQ(ioctl(p[0], FIONREAD, &n), 0);
  CHECK_EQ(n, 5);
  char b[10];
  CHECK_EQ(read(p[0], b, 2), 2);
  CHECK_EQ(read(p[0], b, 10), 3);
  CHECK(!memcmp(b, "llo", 3));
  close(p[1]);
  CHECK_EQ(read(p[0], b, 10), 0);
  close(p[0]);
}

static void nonblocking_pipe_fills_and_empties(void) {
  int p[2];
  CHECK_EQ(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
  CHECK_EQ(fcntl(p[0], F_GETFD), FD_CLOEXEC);
  CHECK_EQ(read(p[0], big, 1), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(fcntl(p[1], F_GETPIPE_SZ), 65536);
  CHECK_EQ(write(p[1], big, sizeof big), 65536);
  CHECK_EQ(write(p[1], big, 1), -1);
  CHECK_EQ(errno, EAGAIN);
  struct pollfd f = {.fd = p[1], .events = POLLOUT};
  CHECK_EQ(poll(&f, 1, 0), 0);
  CHECK_EQ(read(p[0], big, 4096), 4096);
  CHECK_EQ(poll(&f, 1, 0), 1);
  CHECK_EQ(f.revents, POLLOUT);
  CHECK_EQ(write(p[1], big, 4096), 4096);
  CHECK_EQ(fcntl(p[1], F_SETPIPE_SZ, 4096), -1);
  CHECK_EQ(errno, EBUSY);
  CHECK_EQ(read(p[0], big, sizeof big), 65536);
  CHECK_EQ(fcntl(p[1], F_SETPIPE_SZ, 5000), 8192);
  CHECK_EQ(write(p[1], big, sizeof big), 8192);
  close(p[0]);
  close(p[1]);
}

static volatile int pipes;
static void on_pipe(int s) { pipes++; }

static void closed_ends_say_so(void) {
  int p[2];
  CHECK_EQ(pipe(p), 0);
  struct pollfd f = {.fd = p[0], .events = POLLIN};
  close(p[1]);
  CHECK_EQ(poll(&f, 1, -1), 1);
  CHECK_EQ(f.revents, POLLHUP);
  close(p[0]);
  CHECK_EQ(pipe(p), 0);
  close(p[0]);
  signal(SIGPIPE, on_pipe);
  CHECK_EQ(write(p[1], "x", 1), -1);
  CHECK_EQ(errno, EPIPE);
  CHECK_EQ(pipes, 1);
  f.fd = p[1];
  f.events = POLLOUT;
  CHECK_EQ(poll(&f, 1, -1), 1);
  CHECK(f.revents & POLLERR);
  close(p[1]);
}

static void blocking_writer_writes_all(void) {
  int p[2];
  CHECK_EQ(pipe(p), 0);
  pid_t c = fork();
  if (c == 0) {
    close(p[0]);
    for (int i = 0; i < 5; i++) {
      if (write(p[1], big, sizeof big) != sizeof big) _exit(1);
    }
    _exit(0);
  }
  close(p[1]);
  long total = 0, n;
  while ((n = read(p[0], big, 7777)) > 0) total += n;
  CHECK_EQ(total, 5 * (long)sizeof big);
  int status;
  CHECK_EQ(waitpid(c, &status, 0), c);
  CHECK_EQ(status, 0);
  close(p[0]);
}

static void packet_mode_keeps_boundaries(void) {
  int p[2];
  CHECK_EQ(pipe2(p, O_DIRECT), 0);
  CHECK_EQ(write(p[1], "abc", 3), 3);
  CHECK_EQ(write(p[1], "defg", 4), 4);
  char b[10];
  CHECK_EQ(read(p[0], b, 2), 2);
  CHECK_EQ(read(p[0], b, 10), 4);
  CHECK(!memcmp(b, "defg", 4));
  close(p[0]);
  close(p[1]);
}

static void fifo_opens_meet(void) {
  char path[64];
  snprintf(path, sizeof path, "fifo.%d", getpid());
  CHECK_EQ(mkfifo(path, 0600), 0);
  CHECK_EQ(open(path, O_WRONLY | O_NONBLOCK), -1);
  CHECK_EQ(errno, ENXIO);
  pid_t c = fork();
  if (c == 0) {
    int w = open(path, O_WRONLY);
    _exit(w >= 0 && write(w, "through", 7) == 7 ? 0 : 1);
  }
  int r = open(path, O_RDONLY);
  CHECK(r >= 0);
  char b[16];
  CHECK_EQ(read(r, b, 16), 7);
  CHECK_EQ(read(r, b, 16), 0);
  int status;
  CHECK_EQ(waitpid(c, &status, 0), c);
  CHECK_EQ(status, 0);
  close(r);
  int rw = open(path, O_RDWR);
  CHECK(rw >= 0);
  CHECK_EQ(write(rw, "x", 1), 1);
  CHECK_EQ(read(rw, b, 1), 1);
  close(rw);
  r = open(path, O_RDONLY | O_NONBLOCK);
  CHECK(r >= 0);
  CHECK_EQ(read(r, b, 1), 0);
  struct pollfd f = {.fd = r, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 0), 0);
  close(r);
  unlink(path);
}

// A reader that comes after its writers hears when they go, and one that came before when the next
// do.
static void late_fifo_reader_hears_the_end(void) {
  char path[64];
  snprintf(path, sizeof path, "fifo2.%d", getpid());
  CHECK_EQ(mkfifo(path, 0600), 0);
  int rw = open(path, O_RDWR), r = open(path, O_RDONLY | O_NONBLOCK);
  CHECK(rw >= 0 && r >= 0);
  struct pollfd f = {.fd = r, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 0), 0);
  close(rw);
  CHECK_EQ(poll(&f, 1, 0), 1);
  CHECK_EQ(f.revents, POLLHUP);
  int later = open(path, O_RDONLY | O_NONBLOCK);
  f.fd = later;
  CHECK_EQ(poll(&f, 1, 0), 0);
  int w = open(path, O_WRONLY);
  CHECK_EQ(poll(&f, 1, 0), 0);
  close(w);
  CHECK_EQ(poll(&f, 1, 0), 1);
  CHECK_EQ(f.revents, POLLHUP);
  close(r);
  close(later);
  unlink(path);
}

int main(void) {
  RUN(data_goes_through);
  RUN(nonblocking_pipe_fills_and_empties);
  RUN(closed_ends_say_so);
  RUN(blocking_writer_writes_all);
  RUN(packet_mode_keeps_boundaries);
  RUN(fifo_opens_meet);
  RUN(late_fifo_reader_hears_the_end);
  return check_result();
}
