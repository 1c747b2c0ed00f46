// The kernel log of the sandbox: what dmesg(1) shows through syslog(2), /dev/kmsg and /proc/kmsg
// (kmsg.h). It opens with the boot messages; their stamps are told, not lived through. Any thread.
//
// A record is one message with a sequence number. syslog(2) shows it as lines "<6>[    0.000000]
// text\n", /dev/kmsg as the kernel's Documentation/ABI/testing/dev-kmsg says.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/sched/wait_queue.h"

namespace msentry::kernel {

// Levels of messages (syslog(2)), and the facility of those that a program writes.
enum LogPriority : int { kLogEmergency = 0, kLogError = 3, kLogWarning = 4, kLogInfo = 6 };
inline constexpr int kLogFacilityUser = 1 << 3;

class Dmesg {
 public:
  static constexpr size_t kRingBytes = 256 * 1024;
  // Longest text of a record (LOG_LINE_MAX less its prefix).
  static constexpr size_t kMaxText = 1024 - 32;

  // Fills in the boot messages, chosen by `seed`.
  explicit Dmesg(uint64_t seed);

  // `priority` is facility << 3 | level. Stamps never go back.
  void Append(int64_t uptime_ns, int priority, std::string_view text);
  // May one more message that programs can cause at will be printed? (printk_ratelimit: ten in
  // five seconds.) `suppressed`: how many were not since the last that was.
  bool AllowBurst(int64_t uptime_ns, int* suppressed);

  // --- syslog(2) ---
  // The lines since the last Clear(), the newest that fit in `max`; `clear` clears as well.
  std::string ReadAll(size_t max, bool clear);
  void Clear();
  size_t unread_bytes() const;
  // Takes what was not yet consumed, at most `max` bytes; a line that is longer is given in parts.
  std::string Consume(size_t max);

  // --- /dev/kmsg ---
  // The record `*sequence` as text, and on to the next. kEAGAIN: not there yet; kEPIPE:
  // overwritten, *sequence is now the oldest there is; kEINVAL: longer than `max`.
  Result<std::string> ReadRecord(uint64_t* sequence, size_t max) const;
  uint64_t first_sequence() const;
  uint64_t next_sequence() const;
  uint64_t cleared_sequence() const;

  // Notified with kIn at every message.
  sched::WaitQueue& arrivals() { return arrivals_; }

  // kernel.dmesg_restrict: reading needs CAP_SYSLOG.
  std::atomic<bool> restricted{false};
  // Of syslog(2) actions 6 to 8, and kernel.printk: levels shown on a console, which is not there.
  std::atomic<int> console_level{4};
  void SilenceConsole(bool on);

 private:
  struct Record {
    int64_t us = 0;
    int priority = 0;
    std::string text;
    size_t lines_size = 0;      // Lines().size()
    std::string Lines() const;  // as syslog(2) shows it
  };
  uint64_t NextLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return first_ + records_.size();
  }

  mutable Mutex mutex_;
  std::deque<Record> records_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t first_ ABSL_GUARDED_BY(mutex_) = 0;        // sequence number of records_.front()
  uint64_t cleared_ ABSL_GUARDED_BY(mutex_) = 0;      // records before it are hidden
  uint64_t consumed_ ABSL_GUARDED_BY(mutex_) = 0;     // records before it were consumed,
  size_t consumed_part_ ABSL_GUARDED_BY(mutex_) = 0;  // and of it this many bytes
  int64_t burst_begin_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  int burst_ ABSL_GUARDED_BY(mutex_) = 0;
  int suppressed_ ABSL_GUARDED_BY(mutex_) = 0;
  int saved_level_ ABSL_GUARDED_BY(mutex_) = -1;  // before the console was silenced
  sched::WaitQueue arrivals_;
};

}  // namespace msentry::kernel
