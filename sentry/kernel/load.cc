// The load averages (proc(5), loadavg): the runnable tasks, looked at every five seconds, as an
// exponentially decaying mean over one, five and fifteen minutes. A sandbox that slept from one
// look to the next is not looked at again until a task wakes up: idle costs nothing, and what the
// looks would have seen is known.
#include <cmath>

#include "sentry/kernel/kernel.h"

namespace msentry::kernel {
namespace {

constexpr int64_t kPeriod = 5'000'000'000;
constexpr double kSeconds[] = {60, 300, 900};

// `periods` looks that all saw `active` tasks.
Kernel::LoadAverage Decay(const Kernel::LoadAverage& load, int64_t periods, int active) {
  const auto one = [&](uint64_t old, double seconds) {
    constexpr double kOne = 2048;  // 1.0
    const double keep = std::exp(-5.0 * static_cast<double>(periods) / seconds);
    const double now = static_cast<double>(old) * keep + active * kOne * (1 - keep);
    // Rounded towards where it goes, so that it arrives (calc_load does so too).
    return static_cast<uint64_t>(active * kOne >= static_cast<double>(old) ? std::ceil(now)
                                                                           : std::floor(now));
  };
  return {one(load.one, kSeconds[0]), one(load.five, kSeconds[1]), one(load.fifteen, kSeconds[2])};
}

}  // namespace

void Kernel::SampleLoad() {
  const uint64_t switches = context_switches.load(std::memory_order_relaxed);
  const int running = running_.load(std::memory_order_relaxed);
  {
    MutexLock lock(load_mutex_);
    load_ = Decay(load_, 1, running);
    load_at_ns_ += kPeriod;
    const bool slept = running == 0 && switches == load_switches_;
    load_switches_ = switches;
    if (!slept) {
      load_timer_->Arm(load_at_ns_ + kPeriod);
      return;
    }
  }
  load_asleep_.store(true, std::memory_order_seq_cst);
  // Who woke before that store did not see it.
  if (running_.load(std::memory_order_seq_cst) > 0) NoticeActivity();
}

void Kernel::WakeLoadSampler() {
  if (!load_asleep_.exchange(false)) return;
  MutexLock lock(load_mutex_);
  const int64_t missed = std::max<int64_t>(0, (sched::NowNs() - load_at_ns_) / kPeriod);
  load_ = Decay(load_, missed, 0);
  load_at_ns_ += missed * kPeriod;
  load_timer_->Arm(load_at_ns_ + kPeriod);
}

Kernel::LoadAverage Kernel::load_average() {
  MutexLock lock(load_mutex_);
  return load_;
}

}  // namespace msentry::kernel
