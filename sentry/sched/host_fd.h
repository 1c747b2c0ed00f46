// HostFdTable: which callback an epoll event belongs to. Internal to sentry/sched.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::sched::internal {

struct HostFdState {
  uint64_t id = 0;
  int fd = -1;
  ScopedFd own;  // a duplicate, when the fd was in the epoll set already
  absl::AnyInvocable<void(uint32_t)> callback;
  Mutex mutex;  // held while the callback runs
  void* running_on ABSL_GUARDED_BY(mutex) = nullptr;
};

class HostFdTable {
 public:
  static constexpr uint64_t kFirstId = 16;  // lower ones are the core's own fds

  Result<std::shared_ptr<HostFdState>> Add(int epoll_fd, int fd, uint32_t events,
                                           absl::AnyInvocable<void(uint32_t)> callback);
  // Returns when the callback runs on no other thread.
  void Remove(int epoll_fd, HostFdState& state);
  // Calls the watch's callback if it is still there.
  void Deliver(uint64_t id, uint32_t events);

 private:
  Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = kFirstId;
  absl::flat_hash_map<uint64_t, std::shared_ptr<HostFdState>> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::sched::internal
