// The kernel log ring of the sandbox: what dmesg(1) shows through syslog(2) and /dev/kmsg.
// It opens with the boot messages; their stamps are told, not lived through. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "sentry/base/mutex.h"

namespace msentry::kernel {

class Dmesg {
 public:
  static constexpr size_t kRingBytes = 256 * 1024;
  // Fills in the boot messages, chosen by `seed`.
  explicit Dmesg(uint64_t seed);

  void Append(int64_t uptime_ns, int priority, std::string_view text);
  // The whole ring as lines "<6>[    0.000000] text\n", the newest bytes that fit in `max`.
  std::string Read(size_t max) const;
  // As Read, but only what came after the last Clear().
  std::string ReadSinceClear(size_t max) const;
  void Clear();
  size_t unread_bytes() const;
  // Takes lines not yet consumed (syslog(2) action 2).
  std::string Consume(size_t max);

 private:
  // Lines numbered `from` and later, the newest that fit.
  std::string ReadFromLocked(uint64_t from, size_t max) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  mutable Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t first_ ABSL_GUARDED_BY(mutex_) = 0;     // sequence number of lines_.front()
  uint64_t cleared_ ABSL_GUARDED_BY(mutex_) = 0;   // lines before it are hidden
  uint64_t consumed_ ABSL_GUARDED_BY(mutex_) = 0;  // lines before it were consumed
};

}  // namespace msentry::kernel
