// Usage: msbench [-d DIR] [-r REPEATS] [-t MILLISECONDS] [OPERATION...]
// Prints one line an operation: "NAME NANOSECONDS", the median of the repeats.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define DATA_BYTES (1 << 20)
#define MAX_REPEATS 31

int data_fd = -1;
char data_path[4096];
char absent_path[4096];
const char* scratch_dir = ".";
const char* self_path;

static const struct operation* const families[] = {
    call_operations, file_operations, ipc_operations, process_operations, memory_operations,
};

void must(int ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "msbench: %s: %s\n", what, strerror(errno));
  if (data_path[0]) unlink(data_path);
  exit(1);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double time_once(operation_fn run, long n) {
  double start = seconds();
  run(n);
  return seconds() - start;
}

// The count that takes about `target` seconds.
static long calibrate(const struct operation* op, double target) {
  long quantum = op->quantum ? op->quantum : 1;
  long times = 1;
  for (;;) {
    double took = time_once(op->run, times * quantum);
    if (took >= target * 0.5 || times >= 1L << 32) return times * quantum;
    double factor = took > 1e-6 ? target / took : 16;
    times = factor > 16 ? times * 16 : (long)(times * factor) + 1;
  }
}

static int ascending(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void measure(const struct operation* op, int repeats, double target) {
  long n = calibrate(op, target);
  double ns[MAX_REPEATS];
  for (int i = 0; i < repeats; i++) ns[i] = time_once(op->run, n) * 1e9 / n;
  qsort(ns, repeats, sizeof ns[0], ascending);
  printf("%s %.1f\n", op->name, ns[repeats / 2]);
}

static int wanted(const char* name, int count, char** names) {
  if (count == 0) return 1;
  for (int i = 0; i < count; i++) {
    if (strcmp(names[i], name) == 0) return 1;
  }
  return 0;
}

static void make_data_file(void) {
  static char block[DATA_BYTES];
  snprintf(data_path, sizeof data_path, "%s/msbench.%d.data", scratch_dir, getpid());
  snprintf(absent_path, sizeof absent_path, "%s/msbench.%d.new", scratch_dir, getpid());
  memset(block, 7, sizeof block);
  data_fd = open(data_path, O_CREAT | O_RDWR | O_TRUNC, 0644);
  must(data_fd >= 0, data_path);
  must(write(data_fd, block, sizeof block) == sizeof block, data_path);
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--exit") == 0) return 0;
  self_path = argv[0];
  int repeats = 3;
  double target = 0.1;
  for (int c; (c = getopt(argc, argv, "d:r:t:")) != -1;) {
    if (c == 'd') {
      scratch_dir = optarg;
    } else if (c == 'r') {
      repeats = atoi(optarg);
    } else if (c == 't') {
      target = atoi(optarg) * 1e-3;
    } else {
      return 2;
    }
  }
  if (repeats < 1 || repeats > MAX_REPEATS || target <= 0) {
    fprintf(stderr, "msbench: -r takes 1 to %d, -t at least 1\n", MAX_REPEATS);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  make_data_file();
  int ran = 0;
  for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
    for (const struct operation* op = families[f]; op->name; op++) {
      if (!wanted(op->name, argc - optind, argv + optind)) continue;
      measure(op, repeats, target);
      ran++;
    }
  }
  unlink(data_path);
  if (ran == 0) fprintf(stderr, "msbench: no operation of that name\n");
  return ran == 0 ? 2 : 0;
}
