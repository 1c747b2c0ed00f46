// Every file of /proc and /sys, handled in every way one can, by root and by nobody: no crash, no
// hang, and only errors that Linux gives. In a sandbox garbage is written too; on a host only what
// is the test's own is looked at, and nothing written.
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "synth.h"

static char again[1 << 20];
static const char* volatile nowhere;
static int files, directories, links, writing;

// Complains of an errno that is not in the list, which ends with 0.
static void allow(const char* what, const char* path, const int* errors) {
  int error = errno;
  for (; *errors; errors++) {
    if (*errors == error) return;
  }
  fprintf(stderr, "%s %s: errno %d %s\n", what, path, error, strerror(error));
  check_failures++;
}
#define ALLOW(what, path, ...)     \
  do {                             \
    int list[] = {__VA_ARGS__, 0}; \
    allow(what, path, list);       \
  } while (0)

static int starts(const char* s, const char* with) { return strncmp(s, with, strlen(with)) == 0; }
static int ends(const char* s, const char* with) {
  size_t n = strlen(s), m = strlen(with);
  return n >= m && strcmp(s + n - m, with) == 0;
}

// Reading takes messages away, never ends, or is the whole of somebody's memory.
static int endless(const char* path) {
  return ends(path, "/kmsg") || ends(path, "/mem") || ends(path, "/pagemap") ||
         ends(path, "/kcore") || strstr(path, "/kpage") || strstr(path, "/fd/");
}
// Writing ends the machine, or us.
static int deadly(const char* path) { return ends(path, "sysrq-trigger") || ends(path, "/mem"); }

static long read_all(int fd, char* to, size_t step) {
  size_t have = 0;
  ssize_t n = 0;
  while (have + step <= sizeof(text) && (n = read(fd, to + have, step)) > 0) have += (size_t)n;
  return n < 0 ? -1 : (long)have;
}

static void read_in_every_way(const char* path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) {
    ALLOW("open", path, EACCES, EPERM, ENOENT, ESRCH, ENXIO, ENODEV, EINVAL, EIO, ELOOP,
          EOPNOTSUPP);
    return;
  }
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
  CHECK(poll(&p, 1, 0) >= 0);
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) ALLOW("epoll", path, EPERM);
  close(epoll);
  int number;
  if (ioctl(fd, FIONREAD, &number) != 0) ALLOW("ioctl", path, ENOTTY, EINVAL);
  void* map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) {
    ALLOW("mmap", path, ENODEV, EIO, EACCES, EPERM, EINVAL);
  } else {
    munmap(map, 4096);
  }
  char bytes[7];
  static const off_t offsets[] = {0, 1, 7, 4095, 4096, 1 << 20, (off_t)1 << 40, INT64_MAX};
  for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
    if (endless(path) && !ends(path, "/mem") && !ends(path, "/pagemap")) break;
    if (pread(fd, bytes, sizeof(bytes), offsets[i]) < 0) {
      ALLOW("pread", path, EINVAL, EIO, EACCES, EPERM, EAGAIN, ESRCH, ESPIPE, EOVERFLOW, ENODATA,
            EOPNOTSUPP, ENOENT);
    }
  }
  if (pread(fd, bytes, 1, -1) >= 0) {
    fprintf(stderr, "%s: pread at -1 works\n", path);
    check_failures++;
  }
  if (lseek(fd, 3, SEEK_SET) < 0) ALLOW("lseek", path, ESPIPE, EINVAL, ENOENT, ESRCH, EACCES, EIO);
  if (lseek(fd, -5, SEEK_CUR) >= 0 && !ends(path, "/mem") && !ends(path, "pagemap") &&
      !ends(path, "/clear_refs")) {
    fprintf(stderr, "%s: lseek before the beginning works\n", path);
    check_failures++;
  }
  if (lseek(fd, 0, SEEK_END) < 0) ALLOW("SEEK_END", path, EINVAL, ESPIPE);
  lseek(fd, 0, SEEK_SET);
  if (!endless(path)) {
    long n = read_all(fd, text, 65536);
    if (n < 0) {
      ALLOW("read", path, EINVAL, EIO, EACCES, EPERM, EAGAIN, ESRCH, EISDIR, EOPNOTSUPP, ENODATA,
            ENOENT);
    }
    // Byte by byte and in odd steps it is the same, unless it changes while one looks. (Linux lets
    // numbers of /proc/sys be read from the beginning only.)
    if (n > 0 && n < 20000 && (in_sandbox() || !starts(path, "/proc/sys/"))) {
      int same = 0;
      for (int tries = 0; tries < 3 && !same; tries++) {
        lseek(fd, 0, SEEK_SET);
        n = read_all(fd, text, 65536);
        lseek(fd, 0, SEEK_SET);
        same = read_all(fd, again, tries == 1 ? 7 : 1) == n && memcmp(text, again, (size_t)n) == 0;
        lseek(fd, 0, SEEK_SET);
        long m = read_all(fd, again, 65536);
        if (m != n || memcmp(text, again, (size_t)n) != 0) same = 1;  // it changes
      }
      if (!same) {
        fprintf(stderr, "%s: small reads differ from a large one\n", path);
        check_failures++;
      }
    }
  }
  close(fd);
}

static void write_garbage(const char* path) {
  static char large[8192];
  memset(large, 'x', sizeof(large));
  static const char* const garbage[] = {"garbage",
                                        "-1",
                                        "99999999999999999999",
                                        "-9223372036854775809",
                                        "0x",
                                        "1 2 3 4 5 6 7 8 9",
                                        "\n",
                                        "%s%n",
                                        "\377\376",
                                        "/"};
  if (deadly(path)) return;
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_TRUNC);
  if (fd < 0) {
    ALLOW("open to write", path, EACCES, EPERM, ENOENT, ESRCH, EROFS, ENXIO, EIO, EINVAL, ELOOP,
          EISDIR, ENODEV, EOPNOTSUPP, ETXTBSY);
    return;
  }
  for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
    if (write(fd, garbage[i], strlen(garbage[i])) < 0) {
      ALLOW("write", path, EINVAL, EIO, EPERM, EACCES, ERANGE, ESRCH, EAGAIN, EBUSY, ENOENT, ENODEV,
            ENOSPC, EOPNOTSUPP, EBADF, E2BIG);
    }
  }
  if (write(fd, large, sizeof(large)) < 0) {
    ALLOW("large write", path, EINVAL, EIO, EPERM, EACCES, ERANGE, ESRCH, E2BIG, ENOMEM, ENOENT,
          ENODEV, ENOSPC, ENAMETOOLONG, EOPNOTSUPP, EAGAIN);
  }
  if (write(fd, nowhere, 10) >= 0) {
    fprintf(stderr, "%s: a write from nowhere works\n", path);
    check_failures++;
  }
  if (write(fd, "", 0) < 0) ALLOW("empty write", path, EINVAL, EIO, EPERM, EACCES, ESRCH, ENOENT);
  (void)!pwrite(fd, "1", 1, 12345);
  close(fd);
}

static void visit(const char* path, int depth);

static void walk(const char* path, int depth) {
  DIR* directory = opendir(path);
  if (!directory) {
    ALLOW("opendir", path, EACCES, EPERM, ENOENT, ESRCH);
    return;
  }
  directories++;
  if (mkdirat(dirfd(directory), "synth-new", 0755) == 0 && !strstr(path, "/cgroup")) {
    fprintf(stderr, "%s: mkdir works\n", path);
    check_failures++;
    unlinkat(dirfd(directory), "synth-new", AT_REMOVEDIR);
  } else {
    unlinkat(dirfd(directory), "synth-new", AT_REMOVEDIR);
  }
  struct dirent* e;
  errno = 0;
  while ((e = readdir(directory)) != NULL) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    char child[1024];
    if ((size_t)snprintf(child, sizeof(child), "%s/%s", path, e->d_name) >= sizeof(child)) continue;
    visit(child, depth);
    errno = 0;
  }
  if (errno != 0) ALLOW("readdir", path, ENOENT, ESRCH, EACCES);
  closedir(directory);
}

static void visit(const char* path, int depth) {
  struct stat st;
  if (lstat(path, &st) != 0) {
    ALLOW("lstat", path, ENOENT, ESRCH, EACCES);
    return;
  }
  if (S_ISLNK(st.st_mode)) {
    char target[4096];
    links++;
    if (readlink(path, target, sizeof(target)) < 0) {
      ALLOW("readlink", path, EACCES, EPERM, ENOENT, ESRCH, EINVAL);
    }
    return;
  }
  if (S_ISDIR(st.st_mode)) {
    if (depth < 12) walk(path, depth + 1);
    return;
  }
  if (!S_ISREG(st.st_mode)) return;
  files++;
  alarm(20);  // no file may take that long
  read_in_every_way(path);
  if (writing) write_garbage(path);
  alarm(0);
}

static void walk_the_machine(void) {
  if (in_sandbox()) {
    walk("/proc", 0);
    walk("/sys", 0);
  } else {
    walk("/proc/self/", 0);
    walk("/proc/sys", 0);
    walk("/proc/tty", 0);
    walk("/sys/devices/system/cpu", 0);
    walk("/sys/class/net/lo/", 0);
  }
}

// Runs `f` in a child, and looks how that ended.
static void in_child(void (*f)(void)) {
  fflush(stderr);
  pid_t child = fork_clean();
  if (child == 0) {
    f();
    _exit(check_result());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

static void as_who_we_are(void) {
  writing = in_sandbox();
  walk_the_machine();
  CHECK(files > 100 && directories > 10);
}

static void as_nobody(void) {
  if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(1);
  writing = in_sandbox();
  walk_the_machine();
  CHECK(files > 100);
}

static void long_paths(void) {
  static char path[5000];
  memset(path, 'a', sizeof(path) - 1);
  memcpy(path, "/proc/", 6);
  CHECK(open(path, O_RDONLY) == -1 && errno == ENAMETOOLONG);
  path[6 + 255] = 0;
  CHECK(open(path, O_RDONLY) == -1 && errno == ENOENT);
  path[6 + 255] = 'a';
  path[6 + 256] = 0;
  CHECK(open(path, O_RDONLY) == -1 && (errno == ENAMETOOLONG || errno == ENOENT));
  CHECK(open("/proc/99999999999999999999/stat", O_RDONLY) == -1 && errno == ENOENT);
  CHECK(open("/proc/-1/stat", O_RDONLY) == -1 && errno == ENOENT);
  CHECK(open("/proc/0/stat", O_RDONLY) == -1 && errno == ENOENT);
  CHECK(open("/proc/self/fd/-1", O_RDONLY) == -1 && errno == ENOENT);
  CHECK(open("/proc/self/fd/4294967295", O_RDONLY) == -1 && errno == ENOENT);
  CHECK(unlink("/proc/version") == -1 && (errno == EPERM || errno == EACCES));
  CHECK(rename("/proc/version", "/proc/elsewhere") == -1);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  RUN(long_paths);
  in_child(as_who_we_are);
  in_child(as_nobody);
  return check_result();
}
