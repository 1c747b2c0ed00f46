#include "fsimpl/eventfs/timer_fd.h"

#include "absl/strings/str_format.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/vfs.h"

namespace msentry::eventfs {
namespace {

std::atomic<int64_t> monotonic_offset{0};

int64_t HostRealtimeNs() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return abi::ToNs({ts.tv_sec, ts.tv_nsec});
}

}  // namespace

const char TimerFd::kClassTag = 0;

void TimerFd::SetMonotonicOffset(int64_t ns) { monotonic_offset.store(ns); }

TimerFd::TimerFd(vfs::Location location, int flags, int clock, sched::Scheduler& scheduler)
    : FileDescription(std::move(location), O_RDWR | flags),
      clock_(clock),
      timer_(scheduler, [this] { OnTimer(); }) {}

TimerFd::~TimerFd() { timer_.Cancel(); }

int64_t TimerFd::ToNowNs(int64_t guest_ns) const {
  if (guest_ns == INT64_MAX) return sched::kNever;
  if (clock_ == CLOCK_REALTIME || clock_ == CLOCK_REALTIME_ALARM) {
    return guest_ns - HostRealtimeNs() + sched::NowNs();
  }
  return guest_ns - monotonic_offset.load();
}

void TimerFd::AdvanceLocked(int64_t now) {
  if (next_ > now) return;
  if (interval_ == 0) {
    ticks_++;
    next_ = sched::kNever;
    return;
  }
  const int64_t passed = (now - next_) / interval_ + 1;
  ticks_ += passed;
  next_ += passed * interval_;
}

void TimerFd::OnTimer() {
  bool expired;
  int64_t next;
  {
    MutexLock lock(mutex_);
    AdvanceLocked(sched::NowNs());
    expired = ticks_ > 0;
    next = next_;
  }
  if (expired) queue_.Notify(sched::kIn | sched::kRdNorm);
  if (next != sched::kNever) timer_.Arm(next);
}

abi::Itimerspec TimerFd::GetLocked(int64_t now) {
  AdvanceLocked(now);
  abi::Itimerspec setting{};
  setting.interval = abi::ToTimespec(interval_);
  if (next_ != sched::kNever) setting.value = abi::ToTimespec(next_ - now);
  return setting;
}

abi::Itimerspec TimerFd::Set(const abi::Itimerspec& setting, bool absolute) {
  // Outside the lock: Cancel waits for OnTimer, which takes it.
  timer_.Cancel();
  const int64_t now = sched::NowNs();
  const int64_t value = abi::ToNs(setting.value);
  abi::Itimerspec old;
  int64_t next = sched::kNever;
  {
    MutexLock lock(mutex_);
    old = GetLocked(now);
    ticks_ = 0;
    interval_ = abi::ToNs(setting.interval);
    if (value != 0) {
      next =
          absolute ? ToNowNs(value) : (value > sched::kNever - now ? sched::kNever : now + value);
    }
    next_ = next;
  }
  if (next != sched::kNever) timer_.Arm(next);
  return old;
}

abi::Itimerspec TimerFd::Get() {
  MutexLock lock(mutex_);
  return GetLocked(sched::NowNs());
}

Result<size_t> TimerFd::Read(const vfs::OpContext&, mm::IoSequence& to) {
  if (to.size() < sizeof(uint64_t)) return Errno::kEINVAL;
  uint64_t ticks;
  {
    MutexLock lock(mutex_);
    AdvanceLocked(sched::NowNs());
    ticks = std::exchange(ticks_, 0);
  }
  if (ticks == 0) return Errno::kEAGAIN;
  return to.CopyOut(std::as_bytes(std::span(&ticks, 1)));
}

sched::EventMask TimerFd::Readiness(sched::EventMask mask) {
  MutexLock lock(mutex_);
  AdvanceLocked(sched::NowNs());
  return ticks_ > 0 ? mask & (sched::kIn | sched::kRdNorm) : 0;
}

std::string TimerFd::FdInfo() {
  MutexLock lock(mutex_);
  const abi::Itimerspec setting = GetLocked(sched::NowNs());
  return absl::StrFormat(
      "clockid: %d\nticks: %d\nsettime flags: 00\nit_value: (%d, %d)\nit_interval: (%d, %d)\n",
      clock_, ticks_, setting.value.sec, setting.value.nsec, setting.interval.sec,
      setting.interval.nsec);
}

RefPtr<TimerFd> MakeTimerFd(const vfs::OpContext& ctx, int clock, int flags,
                            sched::Scheduler& scheduler) {
  return MakeRef<TimerFd>(
      vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, 0600),
                                 "anon_inode:[timerfd]"),
      flags, clock, scheduler);
}

}  // namespace msentry::eventfs
