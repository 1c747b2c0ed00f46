// Calls with nearly nothing to do: the price of the way there and back.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static void op_getpid(long n) {
  for (; n > 0; n--) syscall(SYS_getpid);
}

static void op_getppid(long n) {
  for (; n > 0; n--) syscall(SYS_getppid);
}

static void op_clock_vdso(long n) {
  struct timespec now;
  for (; n > 0; n--) clock_gettime(CLOCK_MONOTONIC, &now);
}

static void op_clock_syscall(long n) {
  struct timespec now;
  for (; n > 0; n--) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
}

static void op_sigprocmask(long n) {
  sigset_t none;
  sigemptyset(&none);
  for (; n > 0; n--) sigprocmask(SIG_BLOCK, &none, NULL);
}

static void op_sched_yield(long n) {
  for (; n > 0; n--) sched_yield();
}

static void op_read_devzero_1(long n) {
  int fd = open("/dev/zero", O_RDONLY);
  must(fd >= 0, "/dev/zero");
  char byte;
  for (; n > 0; n--) must(read(fd, &byte, 1) == 1, "read /dev/zero");
  close(fd);
}

const struct operation call_operations[] = {
    {"getpid", op_getpid, 0},
    {"getppid", op_getppid, 0},
    {"clock_vdso", op_clock_vdso, 0},
    {"clock_syscall", op_clock_syscall, 0},
    {"sigprocmask", op_sigprocmask, 0},
    {"sched_yield", op_sched_yield, 0},
    {"read_devzero_1", op_read_devzero_1, 0},
    {NULL, NULL, 0},
};
