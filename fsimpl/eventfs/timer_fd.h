// timerfd_create(2): a timer whose expirations are read from a file.
#pragma once

#include <time.h>

#include "sentry/abi/time.h"
#include "sentry/base/mutex.h"
#include "sentry/sched/scheduler.h"
#include "vfs/file_description.h"

namespace msentry::eventfs {

class TimerFd : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  // `clock` is CLOCK_REALTIME, CLOCK_MONOTONIC or CLOCK_BOOTTIME (or their _ALARM forms).
  TimerFd(vfs::Location location, int flags, int clock, sched::Scheduler& scheduler);
  ~TimerFd() override;

  // timerfd_settime(2), fields validated by the caller. Returns the old setting.
  // `now_ns`: how the guest's clocks stand against ours: guest time - sched::NowNs().
  abi::Itimerspec Set(const abi::Itimerspec& setting, bool absolute);
  abi::Itimerspec Get();
  int clock() const { return clock_; }

  // 8 bytes: expirations since the last read. EAGAIN when none, EINVAL for short buffers.
  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return queue_; }
  std::string FdInfo() override;

  // Difference between the guest's CLOCK_MONOTONIC (which starts at boot) and sched::NowNs().
  // Set once at boot.
  static void SetMonotonicOffset(int64_t ns);

 private:
  void OnTimer();
  abi::Itimerspec GetLocked(int64_t now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds the expirations up to `now` to ticks_ and moves next_ on.
  void AdvanceLocked(int64_t now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t ToNowNs(int64_t guest_ns) const;  // a time of clock_ on the scale of sched::NowNs()

  const int clock_;
  Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = sched::kNever;  // sched::NowNs() scale
  int64_t interval_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t ticks_ ABSL_GUARDED_BY(mutex_) = 0;
  sched::WaitQueue queue_;
  sched::Timer timer_;  // last: its destructor waits for a running callback
};

RefPtr<TimerFd> MakeTimerFd(const vfs::OpContext& ctx, int clock, int flags,
                            sched::Scheduler& scheduler);

}  // namespace msentry::eventfs
