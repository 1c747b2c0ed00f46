// A group of our own in a controller's hierarchy, for guest programs about cgroups.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../kernel/check.h"

static inline const char* group_path(const char* controller, const char* file) {
  static char paths[64][256];
  static int next;
  char* path = paths[next++ % 64];
  snprintf(path, sizeof paths[0], "/sys/fs/cgroup/%s/msentry-test-%d/%s", controller, getpid(),
           file);
  return path;
}

// 0, or -errno of the open or write.
static inline int put_at(const char* path, const char* text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return -errno;
  ssize_t n = write(fd, text, strlen(text));
  int result = n == (ssize_t)strlen(text) ? 0 : -errno;
  close(fd);
  return result;
}

static inline const char* get_at(const char* path) {
  static char text[65536];
  int fd = open(path, O_RDONLY);
  if (fd < 0) return "";
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = 0;
  return text;
}

static inline long long number_at(const char* path) { return strtoll(get_at(path), NULL, 10); }

// Runs `body` in a child; its exit status (or -signal).
#define IN_CHILD(body)                                                             \
  ({                                                                               \
    int child_status;                                                              \
    pid_t child_pid = fork();                                                      \
    if (child_pid == 0) {                                                          \
      check_failures = 0;                                                          \
      body;                                                                        \
      _exit(check_failures ? 1 : 0);                                               \
    }                                                                              \
    waitpid(child_pid, &child_status, 0);                                          \
    WIFEXITED(child_status) ? WEXITSTATUS(child_status) : -WTERMSIG(child_status); \
  })

// Without the right to make groups (an ordinary user on the host) there is nothing to test: exits.
static inline void need_groups(void) {
  const char* path = group_path("pids", "");
  if (mkdir(path, 0755) != 0) {
    fprintf(stderr, "skipped: mkdir %s: %s\n", path, strerror(errno));
    exit(0);
  }
  rmdir(path);
}
