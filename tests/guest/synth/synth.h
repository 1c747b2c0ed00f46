// Shared by the tests of /proc and /sys.
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "../kernel/check.h"

static char text[1 << 20];

// The whole file in `text`, read in steps of `step`; its length, or -1 with errno.
static inline long slurp_in_steps(const char* path, size_t step) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  text[0] = 0;
  if (fd < 0) return -1;
  size_t have = 0;
  ssize_t n = 0;
  while (have + step < sizeof(text) && (n = read(fd, text + have, step)) > 0) have += (size_t)n;
  int error = errno;
  text[have] = 0;
  close(fd);
  errno = error;
  return n < 0 ? -1 : (long)have;
}
static inline long slurp(const char* path) { return slurp_in_steps(path, 65536); }

// The number after `key` in `text`; -1: no such key.
static inline long long number_after(const char* key) {
  const char* at = strstr(text, key);
  return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

static inline int count_of(const char* what) {
  int n = 0;
  for (const char* p = text; (p = strstr(p, what)) != NULL; p++) n++;
  return n;
}

// 0 when written, else errno.
static inline int put(const char* path, const char* value) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return errno;
  ssize_t n = write(fd, value, strlen(value));
  int error = n < 0 ? errno : 0;
  close(fd);
  return error;
}

// In a sandbox of ours, which a test may turn upside down; else on somebody's machine.
static inline int in_sandbox(void) {
  struct utsname name;
  return uname(&name) == 0 && strcmp(name.release, "4.4.0") == 0;
}

// A child counts its own failures only.
static inline pid_t fork_clean(void) {
  fflush(stderr);
  pid_t child = fork();
  if (child == 0) check_failures = 0;
  return child;
}

static inline int64_t now_ms(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
