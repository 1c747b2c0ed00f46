// AF_UNIX, and AF_INET and AF_INET6 over the loopback.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "../kernel/check.h"

static void stream_pair_carries_bytes(void) {
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  char b[16];
  CHECK_EQ(write(s[0], "hello", 5), 5);
  CHECK_EQ(recv(s[1], b, 3, MSG_PEEK), 3);
  CHECK_EQ(recv(s[1], b, 16, 0), 5);
  CHECK(!memcmp(b, "hello", 5));
  CHECK_EQ(recv(s[1], b, 16, MSG_DONTWAIT), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
  CHECK_EQ(read(s[1], b, 1), 0);
  CHECK_EQ(write(s[1], "back", 4), 4);
  CHECK_EQ(read(s[0], b, 16), 4);
  signal(SIGPIPE, SIG_IGN);
  CHECK_EQ(write(s[0], "x", 1), -1);
  CHECK_EQ(errno, EPIPE);
  close(s[1]);
  struct pollfd f = {.fd = s[0], .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 0), 1);
  CHECK(f.revents & POLLHUP);
  close(s[0]);
  int type = 0, acc = -1;
  socklen_t l = sizeof type;
  CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
  CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &type, &l), 0);
  CHECK_EQ(type, SOCK_SEQPACKET);
  CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &acc, &l), 0);
  CHECK_EQ(acc, 0);
  CHECK_EQ(send(s[0], "abc", 3, 0), 3);
  CHECK_EQ(send(s[0], "defgh", 5, 0), 5);
  CHECK_EQ(recv(s[1], b, 2, MSG_TRUNC), 3);
  CHECK_EQ(recv(s[1], b, 16, 0), 5);
  close(s[0]);
  CHECK_EQ(recv(s[1], b, 16, 0), 0);
  close(s[1]);
}

static void descriptors_and_credentials_travel(void) {
  int s[2], p[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_EQ(pipe(p), 0);
  char c = 'x', control[256];
  struct iovec iov = {&c, 1};
  struct msghdr m = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = control,
                     .msg_controllen = CMSG_SPACE(sizeof(int))};
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &p[1], sizeof(int));
  CHECK_EQ(send(s[0], "w", 1, 0), 1);
  CHECK_EQ(sendmsg(s[0], &m, 0), 1);
  int one = 1;
  CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
  CHECK_EQ(send(s[0], "y", 1, 0), 1);
  close(p[1]);
  // A read goes through the bytes before and with the descriptor, and stops there.
  char both[8];
  iov.iov_base = both;
  iov.iov_len = sizeof both;
  m.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(s[1], &m, MSG_CMSG_CLOEXEC), 2);
  CHECK(!memcmp(both, "wx", 2));
  iov.iov_base = &c;
  iov.iov_len = 1;
  int fd = -1;
  for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
    if (h->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(h), sizeof fd);
  }
  CHECK(fd >= 0);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(write(fd, "z", 1), 1);
  char z;
  CHECK_EQ(read(p[0], &z, 1), 1);
  close(fd);
  CHECK_EQ(read(p[0], &z, 1), 0);
  m.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(s[1], &m, 0), 1);
  CHECK_EQ(c, 'y');
  h = CMSG_FIRSTHDR(&m);
  CHECK(h && h->cmsg_type == SCM_CREDENTIALS);
  if (h) {
    struct ucred u;
    memcpy(&u, CMSG_DATA(h), sizeof u);
    CHECK_EQ(u.pid, getpid());
    CHECK_EQ(u.uid, getuid());
  }
  struct ucred u;
  socklen_t l = sizeof u;
  CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &u, &l), 0);
  CHECK_EQ(u.pid, getpid());
  // A descriptor nobody received is closed with the socket.
  pipe(p);
  m.msg_controllen = CMSG_SPACE(sizeof(int));
  h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &p[1], sizeof(int));
  CHECK_EQ(sendmsg(s[0], &m, 0), 1);
  close(p[1]);
  close(s[0]);
  close(s[1]);
  CHECK_EQ(read(p[0], &z, 1), 0);
  close(p[0]);
}

static void serve(int domain, struct sockaddr* name, socklen_t size, int type) {
  int l = socket(domain, type, 0);
  CHECK(l >= 0);
  CHECK_EQ(bind(l, name, size), 0);
  CHECK_EQ(listen(l, 5), 0);
  struct sockaddr_storage bound;
  socklen_t bound_size = sizeof bound;
  CHECK_EQ(getsockname(l, (struct sockaddr*)&bound, &bound_size), 0);
  pid_t child = fork();
  if (child == 0) {
    int c = socket(domain, type, 0);
    char b[8];
    _exit(connect(c, (struct sockaddr*)&bound, bound_size) == 0 && write(c, "ping", 4) == 4 &&
                  read(c, b, 8) == 4 && !memcmp(b, "pong", 4) && read(c, b, 8) == 0
              ? 0
              : errno);
  }
  struct pollfd f = {.fd = l, .events = POLLIN};
  CHECK_EQ(poll(&f, 1, 10000), 1);
  int a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
  CHECK(a >= 0);
  char b[8];
  CHECK_EQ(recv(a, b, 4, MSG_WAITALL), 4);
  CHECK_EQ(send(a, "pong", 4, MSG_NOSIGNAL), 4);
  close(a);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(l);
  int c = socket(domain, type, 0);
  CHECK_EQ(connect(c, (struct sockaddr*)&bound, bound_size), -1);
  CHECK_EQ(errno, ECONNREFUSED);
  close(c);
}

static void servers_are_found(void) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "sock.%d", getpid());
  serve(AF_UNIX, (struct sockaddr*)&un, sizeof un, SOCK_STREAM);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_EQ(bind(s, (struct sockaddr*)&un, sizeof un), -1);
  CHECK_EQ(errno, EADDRINUSE);
  close(s);
  unlink(un.sun_path);
  serve(AF_UNIX, (struct sockaddr*)&un, sizeof un, SOCK_SEQPACKET);
  unlink(un.sun_path);
  memset(un.sun_path, 0, sizeof un.sun_path);
  int n = snprintf(un.sun_path + 1, 60, "abstract.%d", getpid());
  serve(AF_UNIX, (struct sockaddr*)&un, offsetof(struct sockaddr_un, sun_path) + 1 + n,
        SOCK_STREAM);
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  serve(AF_INET, (struct sockaddr*)&in, sizeof in, SOCK_STREAM);
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int probe = socket(AF_INET6, SOCK_STREAM, 0);
  if (probe >= 0 && bind(probe, (struct sockaddr*)&in6, sizeof in6) == 0) {
    serve(AF_INET6, (struct sockaddr*)&in6, sizeof in6, SOCK_STREAM);
  }
  close(probe);
}

static void datagrams_keep_boundaries(void) {
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
  socklen_t l = sizeof in;
  CHECK_EQ(bind(a, (struct sockaddr*)&in, l), 0);
  CHECK_EQ(getsockname(a, (struct sockaddr*)&in, &l), 0);
  CHECK(in.sin_port != 0);
  CHECK_EQ(sendto(b, "one", 3, 0, (struct sockaddr*)&in, l), 3);
  CHECK_EQ(connect(b, (struct sockaddr*)&in, l), 0);
  CHECK_EQ(send(b, "three", 5, 0), 5);
  char buf[16];
  l = sizeof from;
  CHECK_EQ(recvfrom(a, buf, 16, 0, (struct sockaddr*)&from, &l), 3);
  CHECK_EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  CHECK_EQ(sendto(a, "reply", 5, 0, (struct sockaddr*)&from, l), 5);
  CHECK_EQ(recv(a, buf, 2, MSG_TRUNC), 5);
  CHECK_EQ(recv(b, buf, 16, 0), 5);
  CHECK_EQ(recv(b, buf, 16, MSG_DONTWAIT), -1);
  close(a);
  close(b);
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "dgram.%d", getpid());
  a = socket(AF_UNIX, SOCK_DGRAM, 0);
  b = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_EQ(bind(a, (struct sockaddr*)&un, sizeof un), 0);
  CHECK_EQ(sendto(b, "", 0, 0, (struct sockaddr*)&un, sizeof un), 0);
  CHECK_EQ(sendto(b, "xyz", 3, 0, (struct sockaddr*)&un, sizeof un), 3);
  CHECK_EQ(recv(a, buf, 16, 0), 0);
  CHECK_EQ(recv(a, buf, 16, 0), 3);
  close(a);
  CHECK_EQ(sendto(b, "xyz", 3, 0, (struct sockaddr*)&un, sizeof un), -1);
  CHECK_EQ(errno, ECONNREFUSED);
  unlink(un.sun_path);
  close(b);
}

static void options_read_back(void) {
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), v = 1;
  CHECK_EQ(fcntl(s, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  socklen_t l = sizeof v;
  CHECK_EQ(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, sizeof v), 0);
  v = 0;
  CHECK_EQ(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, &l), 0);
  CHECK_EQ(v, 1);
  CHECK_EQ(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, sizeof v), 0);
  v = 0;
  CHECK_EQ(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, &l), 0);
  CHECK_EQ(v, 1);
  struct timeval tv = {0, 10000};
  int p[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  CHECK_EQ(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
  char c;
  CHECK_EQ(read(p[0], &c, 1), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(getsockopt(s, SOL_SOCKET, 9999, &v, &l), -1);
  CHECK_EQ(errno, ENOPROTOOPT);
  CHECK_EQ(connect(0, NULL, 0), -1);
  CHECK(errno == ENOTSOCK || errno == EINVAL || errno == EBADF || errno == EFAULT);
  close(p[0]);
  close(p[1]);
  close(s);
}

static char block[1 << 20];
static void* reader(void* arg) {
  long total = 0, n;
  while ((n = read(*(int*)arg, block, 65536)) > 0) total += n;
  return (void*)total;
}

static void long_streams_arrive(void) {
  static char data[1 << 20];
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  pthread_t t;
  pthread_create(&t, NULL, reader, &s[1]);
  for (int i = 0; i < 8; i++) CHECK_EQ(write(s[0], data, sizeof data), sizeof data);
  close(s[0]);
  void* total;
  pthread_join(t, &total);
  CHECK_EQ((long)total, 8 << 20);
  close(s[1]);
}

static void interfaces_are_listed(void) {
  struct ifaddrs* list = NULL;
  CHECK_EQ(getifaddrs(&list), 0);
  int loopback = 0;
  for (struct ifaddrs* i = list; i; i = i->ifa_next) {
    if (!strcmp(i->ifa_name, "lo") && i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
      loopback = ((struct sockaddr_in*)i->ifa_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    }
  }
  CHECK(loopback);
  freeifaddrs(list);
  CHECK_EQ(if_nametoindex("lo"), 1);
}

int main(void) {
  RUN(stream_pair_carries_bytes);
  RUN(descriptors_and_credentials_travel);
  RUN(servers_are_found);
  RUN(datagrams_keep_boundaries);
  RUN(options_read_back);
  RUN(long_streams_arrive);
  RUN(interfaces_are_listed);
  return check_result();
}
