#include "sentry/base/check.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace msentry {

void CheckFailed(const char* condition, const char* file, int line) {
  char text[512];
  int n = snprintf(text, sizeof text, "msentry: bug: CHECK(%s) failed at %s:%d\n", condition, file,
                   line);
  if (n > 0) (void)!write(2, text, static_cast<size_t>(n) < sizeof text ? n : sizeof text - 1);
  abort();
}

}  // namespace msentry
