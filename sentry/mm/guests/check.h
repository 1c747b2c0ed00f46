// CHECK for guest programs: prints the failed condition and counts it; main returns Failures().
#pragma once
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                   \
  do {                                                                                     \
    errno = 0;                                                                             \
    if (!(condition)) {                                                                    \
      fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, \
              strerror(errno));                                                            \
      ++failures;                                                                          \
    }                                                                                      \
  } while (0)

// `call` fails with `error`.
#define CHECK_ERRNO(call, error) CHECK((long)(call) == -1 && errno == (error))
