// eventfd(2), timerfd_create(2), signalfd(2), epoll(7), select(2), ppoll(2), inotify(7).
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "../kernel/check.h"

static void eventfd_counts(void) {
  int e = eventfd(3, EFD_NONBLOCK);
  uint64_t v = 4;
  CHECK_EQ(write(e, &v, 8), 8);
  CHECK_EQ(read(e, &v, 8), 8);
  CHECK_EQ(v, 7);
  CHECK_EQ(read(e, &v, 8), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(read(e, &v, 4), -1);
  CHECK_EQ(errno, EINVAL);
  v = UINT64_MAX - 1;
  CHECK_EQ(write(e, &v, 8), 8);
  v = 1;
  CHECK_EQ(write(e, &v, 8), -1);
  CHECK_EQ(errno, EAGAIN);
  struct pollfd f = {.fd = e, .events = POLLIN | POLLOUT};
  CHECK_EQ(poll(&f, 1, 0), 1);
  CHECK_EQ(f.revents, POLLIN);
  close(e);
  e = eventfd(2, EFD_SEMAPHORE);
  CHECK_EQ(read(e, &v, 8), 8);
  CHECK_EQ(v, 1);
  close(e);
}

static void timerfd_fires(void) {
  int t = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec s = {.it_value = {0, 1000000}, .it_interval = {0, 1000000}}, old;
  CHECK_EQ(timerfd_settime(t, 0, &s, NULL), 0);
  uint64_t v = 0;
  CHECK_EQ(read(t, &v, 8), 8);
  CHECK(v >= 1);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  s.it_interval.tv_nsec = 0;
  s.it_value = now;
  s.it_value.tv_sec += 1000;
  CHECK_EQ(timerfd_settime(t, TFD_TIMER_ABSTIME, &s, &old), 0);
  CHECK_EQ(old.it_interval.tv_nsec, 1000000);
  CHECK_EQ(timerfd_gettime(t, &old), 0);
  CHECK(old.it_value.tv_sec >= 998 && old.it_value.tv_sec <= 1000);
  s.it_value = now;
  CHECK_EQ(timerfd_settime(t, TFD_TIMER_ABSTIME, &s, &old), 0);
  struct pollfd f = {.fd = t, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, -1), 1);
  close(t);
}

static void signalfd_reads_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int s = signalfd(-1, &set, SFD_NONBLOCK);
  struct signalfd_siginfo i;
  CHECK_EQ(read(s, &i, sizeof i), -1);
  CHECK_EQ(errno, EAGAIN);
  kill(getpid(), SIGUSR1);
  struct pollfd f = {.fd = s, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, -1), 1);
  CHECK_EQ(read(s, &i, sizeof i), sizeof i);
  CHECK_EQ(i.ssi_signo, SIGUSR1);
  CHECK_EQ(i.ssi_pid, getpid());
  close(s);
}

static void epoll_level_edge_oneshot(void) {
  int e = epoll_create1(0), p[2];
  pipe(p);
  struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 42}, out[4];
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), 0);
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), -1);
  CHECK_EQ(errno, EEXIST);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 0);
  write(p[1], "ab", 2);
  CHECK_EQ(epoll_wait(e, out, 4, -1), 1);
  CHECK_EQ(out[0].data.u64, 42);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 1);  // level triggered: again
  ev.events = EPOLLIN | EPOLLET;
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 1);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 0);  // edge: once
  write(p[1], "c", 1);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 1);
  ev.events = EPOLLIN | EPOLLONESHOT;
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 1);
  write(p[1], "d", 1);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 0);
  ev.events = EPOLLIN;
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 1);
  int outer = epoll_create1(0);
  CHECK_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev), 0);
  CHECK_EQ(epoll_wait(outer, out, 4, 0), 1);
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, outer, &ev), -1);
  CHECK_EQ(errno, ELOOP);
  // Closing the last descriptor takes it out of the set.
  close(p[0]);
  CHECK_EQ(epoll_wait(e, out, 4, 0), 0);
  int f = open("/proc/self/exe", O_RDONLY);
  CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, f, &ev), -1);
  CHECK_EQ(errno, EPERM);
  close(f);
  close(p[1]);
  close(e);
  close(outer);
}

static void* writer(void* arg) {
  uint64_t one = 1;
  write(*(int*)arg, &one, 8);
  return NULL;
}

static void waiting_is_woken(void) {
  int ev = eventfd(0, 0), e = epoll_create1(0);
  struct epoll_event w = {.events = EPOLLIN}, out;
  epoll_ctl(e, EPOLL_CTL_ADD, ev, &w);
  pthread_t t;
  pthread_create(&t, NULL, writer, &ev);
  CHECK_EQ(epoll_wait(e, &out, 1, -1), 1);
  pthread_join(t, NULL);
  uint64_t v;
  read(ev, &v, 8);
  pthread_create(&t, NULL, writer, &ev);
  struct pollfd f = {.fd = ev, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, -1), 1);
  pthread_join(t, NULL);
  read(ev, &v, 8);
  pthread_create(&t, NULL, writer, &ev);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(ev, &set);
  CHECK_EQ(select(ev + 1, &set, NULL, NULL, NULL), 1);
  CHECK(FD_ISSET(ev, &set));
  pthread_join(t, NULL);
  close(ev);
  close(e);
}

static volatile int got;
static void on_signal(int s) { got = s; }

static void ppoll_takes_a_mask(void) {
  sigset_t block, empty;
  sigemptyset(&empty);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  sigprocmask(SIG_BLOCK, &block, NULL);
  signal(SIGUSR2, on_signal);
  kill(getpid(), SIGUSR2);
  CHECK_EQ(got, 0);
  CHECK_EQ(ppoll(NULL, 0, NULL, &empty), -1);
  CHECK_EQ(errno, EINTR);
  CHECK_EQ(got, SIGUSR2);
  sigset_t now;
  sigprocmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR2));
  struct timeval tv = {0, 1000};
  CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
  CHECK_EQ(tv.tv_usec, 0);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(63, &set);
  tv.tv_usec = 0;
  close(63);
  errno = 0;
  int e = dup2(0, 62);
  if (e == 62) {
    CHECK_EQ(select(64, &set, NULL, NULL, &tv), -1);
    CHECK_EQ(errno, EBADF);
    close(62);
  }
  struct pollfd bad = {.fd = 777, .events = POLLIN};
  CHECK_EQ(poll(&bad, 1, -1), 1);
  CHECK_EQ(bad.revents, POLLNVAL);
}

static void inotify_tells(void) {
  char dir[64], file[80], buf[4096];
  snprintf(dir, sizeof dir, "inotify.%d", getpid());
  snprintf(file, sizeof file, "%s/f", dir);
  CHECK_EQ(mkdir(dir, 0700), 0);
  int n = inotify_init1(IN_NONBLOCK);
  int wd = inotify_add_watch(n, dir, IN_CREATE | IN_DELETE | IN_CLOSE_WRITE);
  CHECK(wd > 0);
  CHECK_EQ(read(n, buf, sizeof buf), -1);
  close(open(file, O_CREAT | O_WRONLY, 0600));
  unlink(file);
  ssize_t got_bytes = read(n, buf, sizeof buf);
  CHECK(got_bytes > 0);
  uint32_t seen = 0;
  for (char* p = buf; p < buf + got_bytes;) {
    struct inotify_event* i = (struct inotify_event*)p;
    CHECK_EQ(i->wd, wd);
    CHECK(!strcmp(i->name, "f"));
    seen |= i->mask;
    p += sizeof *i + i->len;
  }
  CHECK_EQ(seen, IN_CREATE | IN_DELETE | IN_CLOSE_WRITE);
  CHECK_EQ(inotify_rm_watch(n, wd), 0);
  rmdir(dir);
  close(n);
}

int main(void) {
  RUN(eventfd_counts);
  RUN(timerfd_fires);
  RUN(signalfd_reads_signals);
  RUN(epoll_level_edge_oneshot);
  RUN(waiting_is_woken);
  RUN(ppoll_takes_a_mask);
  RUN(inotify_tells);
  return check_result();
}
