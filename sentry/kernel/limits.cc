#include "sentry/kernel/limits.h"

namespace msentry::kernel {

Limits::Limits() {
  MutexLock lock(mutex_);
  limits_[RLIMIT_STACK] = {8 << 20, kUnlimited};
  limits_[RLIMIT_CORE] = {0, kUnlimited};
  limits_[RLIMIT_NPROC] = {32768, 32768};
  limits_[RLIMIT_NOFILE] = {1024, 1 << 20};
  limits_[RLIMIT_MEMLOCK] = {64 << 10, 64 << 10};
  limits_[RLIMIT_SIGPENDING] = {32768, 32768};
  limits_[RLIMIT_MSGQUEUE] = {819200, 819200};
  limits_[RLIMIT_NICE] = {0, 0};
  limits_[RLIMIT_RTPRIO] = {0, 0};
  PublishSoft();
}

void Limits::PublishSoft() {
  for (int i = 0; i < kLimitCount; i++) soft_[i].store(limits_[i].current);
}

Limits::Limits(const Limits& other) : RefCounted<Limits>() {
  MutexLock own_lock(mutex_);  // nobody else has us yet
  MutexLock lock(other.mutex_);
  std::copy(std::begin(other.limits_), std::end(other.limits_), std::begin(limits_));
  PublishSoft();
}

Limit Limits::Get(int resource) const {
  MutexLock lock(mutex_);
  return limits_[resource];
}

Result<> Limits::Set(int resource, const Limit& limit, bool may_raise) {
  if (limit.current > limit.maximum) return Errno::kEINVAL;
  // fs.nr_open bounds what even root may ask for.
  if (resource == RLIMIT_NOFILE && limit.maximum > nr_open.load(std::memory_order_relaxed)) {
    return Errno::kEPERM;
  }
  MutexLock lock(mutex_);
  if (limit.maximum > limits_[resource].maximum && !may_raise) return Errno::kEPERM;
  limits_[resource] = limit;
  PublishSoft();
  return Ok();
}

bool UserUsage::AddProcess(auth::Uid uid, uint64_t limit) {
  MutexLock lock(mutex_);
  int64_t& count = processes_[uid];
  if (limit != kUnlimited && static_cast<uint64_t>(count) >= limit) return false;
  ++count;
  return true;
}

void UserUsage::RemoveProcess(auth::Uid uid) {
  MutexLock lock(mutex_);
  auto it = processes_.find(uid);
  if (it != processes_.end() && --it->second <= 0) processes_.erase(it);
}

int64_t UserUsage::Processes(auth::Uid uid) const {
  MutexLock lock(mutex_);
  auto it = processes_.find(uid);
  return it == processes_.end() ? 0 : it->second;
}

}  // namespace msentry::kernel
