// Between threads and processes: pipes, sockets, futexes, eventfd, epoll.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define STREAM_BYTES 65536
static char stream_block[STREAM_BYTES];

static void op_pipe_1thread(long n) {
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  char byte = 0;
  for (; n > 0; n--) {
    must(write(fds[1], &byte, 1) == 1 && read(fds[0], &byte, 1) == 1, "pipe");
  }
  close(fds[0]);
  close(fds[1]);
}

// One end of a conversation: what it reads from and writes to.
struct end {
  int in, out;
};

// A byte to a child process and back, n times.
static void ping_pong(struct end here, struct end there, long n) {
  char byte = 0;
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    for (; n > 0; n--) {
      if (read(there.in, &byte, 1) != 1 || write(there.out, &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  for (; n > 0; n--) {
    must(write(here.out, &byte, 1) == 1 && read(here.in, &byte, 1) == 1, "ping pong");
  }
  waitpid(child, NULL, 0);
}

static void op_pipe_pingpong(long n) {
  int down[2], up[2];
  must(pipe(down) == 0 && pipe(up) == 0, "pipe");
  ping_pong((struct end){up[0], down[1]}, (struct end){down[0], up[1]}, n);
  for (int i = 0; i < 2; i++) {
    close(down[i]);
    close(up[i]);
  }
}

static void socket_ping_pong(const int pair[2], long n) {
  ping_pong((struct end){pair[0], pair[0]}, (struct end){pair[1], pair[1]}, n);
  close(pair[0]);
  close(pair[1]);
}

static void op_unix_pingpong(long n) {
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
  socket_ping_pong(pair, n);
}

// Two connected TCP sockets over the loopback.
static void tcp_pair(int pair[2]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  must(listener >= 0 && bind(listener, (struct sockaddr*)&address, length) == 0 &&
           listen(listener, 1) == 0 &&
           getsockname(listener, (struct sockaddr*)&address, &length) == 0,
       "tcp listen");
  pair[0] = socket(AF_INET, SOCK_STREAM, 0);
  must(connect(pair[0], (struct sockaddr*)&address, length) == 0, "tcp connect");
  pair[1] = accept(listener, NULL, NULL);
  must(pair[1] >= 0, "tcp accept");
  close(listener);
  int on = 1;
  for (int i = 0; i < 2; i++) setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void op_tcp_pingpong(long n) {
  int pair[2];
  tcp_pair(pair);
  socket_ping_pong(pair, n);
}

// n blocks of 64 KiB to a child that throws them away.
static void stream(int out, int in, long n) {
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    close(out);
    while (read(in, stream_block, sizeof stream_block) > 0) {
    }
    _exit(0);
  }
  close(in);
  for (; n > 0; n--) {
    for (size_t sent = 0; sent < sizeof stream_block;) {
      ssize_t k = write(out, stream_block + sent, sizeof stream_block - sent);
      must(k > 0, "stream");
      sent += k;
    }
  }
  close(out);
  waitpid(child, NULL, 0);
}

static void op_pipe_stream_64k(long n) {
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  stream(fds[1], fds[0], n);
}

static void op_tcp_stream_64k(long n) {
  int pair[2];
  tcp_pair(pair);
  stream(pair[0], pair[1], n);
}

// Two flags on cache lines of their own, each raised by one thread and lowered by the other.
static struct { _Alignas(64) atomic_int raised; } flags[2];

static void raise_flag(int i) {
  atomic_store(&flags[i].raised, 1);
  syscall(SYS_futex, &flags[i].raised, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_flag(int i) {
  while (!atomic_load(&flags[i].raised)) {
    syscall(SYS_futex, &flags[i].raised, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  }
  atomic_store(&flags[i].raised, 0);
}

static void* answer(void* count) {
  for (long n = (long)(intptr_t)count; n > 0; n--) {
    await_flag(0);
    raise_flag(1);
  }
  return NULL;
}

static void op_futex_pingpong(long n) {
  pthread_t thread;
  must(pthread_create(&thread, NULL, answer, (void*)(intptr_t)n) == 0, "pthread_create");
  for (; n > 0; n--) {
    raise_flag(0);
    await_flag(1);
  }
  pthread_join(thread, NULL);
}

static void op_eventfd(long n) {
  int fd = eventfd(0, 0);
  must(fd >= 0, "eventfd");
  for (; n > 0; n--) {
    uint64_t value = 1;
    must(write(fd, &value, 8) == 8 && read(fd, &value, 8) == 8, "eventfd");
  }
  close(fd);
}

static void op_epoll_wait0(long n) {
  int fd = eventfd(1, 0), epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  must(fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
  for (; n > 0; n--) must(epoll_wait(epoll, &event, 1, 0) == 1, "epoll_wait");
  close(epoll);
  close(fd);
}

const struct operation ipc_operations[] = {
    {"pipe_1thread", op_pipe_1thread, 0},       {"pipe_pingpong", op_pipe_pingpong, 0},
    {"unix_pingpong", op_unix_pingpong, 0},     {"tcp_pingpong", op_tcp_pingpong, 0},
    {"pipe_stream_64k", op_pipe_stream_64k, 0}, {"tcp_stream_64k", op_tcp_stream_64k, 0},
    {"futex_pingpong", op_futex_pingpong, 0},   {"eventfd", op_eventfd, 0},
    {"epoll_wait0", op_epoll_wait0, 0},         {NULL, NULL, 0},
};
