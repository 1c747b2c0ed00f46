#include "sentry/base/log.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>

namespace msentry {
namespace {

std::atomic<int> log_fd{2};
std::atomic<LogLevel> log_least{LogLevel::kWarning};

void Write(LogLevel level, const char* format, va_list args) {
  if (!LogEnabled(level)) return;
  char line[1024];
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  static constexpr char kLetters[] = "DIWE";
  int n = snprintf(line, sizeof line, "%c %lld.%06ld ", kLetters[static_cast<int>(level)],
                   static_cast<long long>(now.tv_sec), now.tv_nsec / 1000);
  int m = vsnprintf(line + n, sizeof line - n - 1, format, args);
  size_t length = n + (m < 0 ? 0 : m);
  if (length > sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  (void)!write(log_fd.load(std::memory_order_relaxed), line, length);
}

}  // namespace

void SetLog(int fd, LogLevel least) {
  log_fd = fd;
  log_least = least;
}

bool LogEnabled(LogLevel level) { return level >= log_least.load(std::memory_order_relaxed); }

#define MSENTRY_DEFINE_LOG(Level)            \
  void Log##Level(const char* format, ...) { \
    va_list args;                            \
    va_start(args, format);                  \
    Write(LogLevel::k##Level, format, args); \
    va_end(args);                            \
  }
MSENTRY_DEFINE_LOG(Debug)
MSENTRY_DEFINE_LOG(Info)
MSENTRY_DEFINE_LOG(Warning)
MSENTRY_DEFINE_LOG(Error)
#undef MSENTRY_DEFINE_LOG

std::string EscapeForLog(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      out += static_cast<char>(c);
    } else {
      char hex[8];
      snprintf(hex, sizeof hex, "\\x%02x", c);
      out += hex;
    }
  }
  return out;
}

}  // namespace msentry
