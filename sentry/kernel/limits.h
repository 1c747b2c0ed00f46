// Resource limits of a thread group (getrlimit(2)), and what one user consumes over all of its
// processes. Any thread; own locks, innermost.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "sentry/auth/credentials.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"

namespace msentry::kernel {

inline constexpr uint64_t kUnlimited = ~uint64_t{0};
inline constexpr int kLimitCount = 16;

struct Limit {
  uint64_t current = kUnlimited;
  uint64_t maximum = kUnlimited;
};

// Indexed by RLIMIT_*.
class Limits : public RefCounted<Limits> {
 public:
  // fs.nr_open: what RLIMIT_NOFILE may be at most.
  static inline std::atomic<uint64_t> nr_open{1 << 20};

  Limits();  // what init has on Linux: 8 MiB stack, 1024:1048576 files, ...
  Limits(const Limits& other);
  Limits& operator=(const Limits&) = delete;

  Limit Get(int resource) const;
  uint64_t Soft(int resource) const { return soft_[resource].load(std::memory_order_relaxed); }
  // Checks soft <= hard, and that raising the hard limit is allowed (CAP_SYS_RESOURCE).
  Result<> Set(int resource, const Limit& limit, bool may_raise);

 private:
  void PublishSoft() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  Limit limits_[kLimitCount] ABSL_GUARDED_BY(mutex_);
  std::atomic<uint64_t> soft_[kLimitCount];  // limits_[].current, for readers without the lock
};

// Per-user counts against RLIMIT_NPROC and RLIMIT_SIGPENDING.
class UserUsage {
 public:
  // false when `limit` would be passed.
  bool AddProcess(auth::Uid uid, uint64_t limit);
  void RemoveProcess(auth::Uid uid);
  int64_t Processes(auth::Uid uid) const;

 private:
  mutable Mutex mutex_;
  absl::flat_hash_map<auth::Uid, int64_t> processes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::kernel
