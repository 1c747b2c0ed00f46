// Times as system calls pass them (x86-64: every field is 64 bits wide).
// Constants (CLOCK_*, TIMER_ABSTIME, ...) come from the host's headers: guest and host share the
// ABI.
#pragma once

#include <cstdint>

namespace msentry::abi {

inline constexpr int64_t kNsPerSec = 1'000'000'000;

struct Timespec {
  int64_t sec;
  int64_t nsec;
};
struct Timeval {
  int64_t sec;
  int64_t usec;
};
struct Timezone {
  int32_t minutes_west;
  int32_t dst_time;
};
struct Itimerspec {
  Timespec interval;
  Timespec value;
};
struct Itimerval {
  Timeval interval;
  Timeval value;
};
struct Tms {  // times(2), in clock ticks (100 a second)
  int64_t utime, stime, cutime, cstime;
};
struct Utimbuf {
  int64_t actime, modtime;
};
struct Timex {  // adjtimex(2)
  uint32_t modes;
  int64_t offset, freq, maxerror, esterror;
  int32_t status;
  int64_t constant, precision, tolerance;
  Timeval time;
  int64_t tick, ppsfreq, jitter;
  int32_t shift;
  int64_t stabil, jitcnt, calcnt, errcnt, stbcnt;
  int32_t tai;
  int32_t reserved[11];
};

// A timespec a program passed as a duration or an absolute time: fields in range?
constexpr bool IsValid(const Timespec& t) {
  return t.sec >= 0 && t.nsec >= 0 && t.nsec < kNsPerSec;
}

// Nanoseconds, saturating at INT64_MAX (a wait that long never ends).
constexpr int64_t ToNs(const Timespec& t) {
  if (t.sec >= INT64_MAX / kNsPerSec) return INT64_MAX;
  return t.sec * kNsPerSec + t.nsec;
}
constexpr Timespec ToTimespec(int64_t ns) {
  int64_t sec = ns / kNsPerSec, rest = ns % kNsPerSec;
  if (rest < 0) {
    sec--;
    rest += kNsPerSec;
  }
  return {sec, rest};
}
constexpr Timeval ToTimeval(int64_t ns) {
  Timespec t = ToTimespec(ns);
  return {t.sec, t.nsec / 1000};
}

}  // namespace msentry::abi
