// For guest programs: a failed CHECK says where, and the program goes on to exit with 1.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int check_failures;

#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      fprintf(stderr, "%s:%d: %s (errno %d %s)\n", __FILE__, __LINE__, #condition, errno, \
              strerror(errno));                                                           \
      check_failures++;                                                                   \
    }                                                                                     \
  } while (0)

#define CHECK_EQ(a, b)                                                                         \
  do {                                                                                         \
    long long check_a = (long long)(a), check_b = (long long)(b);                              \
    if (check_a != check_b) {                                                                  \
      fprintf(stderr, "%s:%d: %s is %lld, not %lld = %s (errno %d)\n", __FILE__, __LINE__, #a, \
              check_a, check_b, #b, errno);                                                    \
      check_failures++;                                                                        \
    }                                                                                          \
  } while (0)

#define RUN(test)                                                               \
  do {                                                                          \
    int check_before = check_failures;                                          \
    test();                                                                     \
    if (check_failures != check_before) fprintf(stderr, "FAILED: %s\n", #test); \
  } while (0)

static inline int check_result(void) { return check_failures ? 1 : 0; }
