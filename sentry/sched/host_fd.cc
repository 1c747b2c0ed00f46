#include "sentry/sched/host_fd.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>

#include "sentry/sched/core.h"

namespace msentry::sched {
namespace internal {
namespace {

Result<> AddToEpoll(int epoll_fd, HostFdState& state, uint32_t events) {
  epoll_event event{};
  event.events = events | EPOLLET;
  event.data.u64 = state.id;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, state.fd, &event) == 0) return Ok();
  if (errno != EEXIST) return FromHost(errno);
  // epoll's key is (file, fd): a duplicate is another member.
  state.own.Reset(fcntl(state.fd, F_DUPFD_CLOEXEC, 3));
  if (!state.own) return FromHost(errno);
  state.fd = state.own.get();
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, state.fd, &event) != 0) return FromHost(errno);
  return Ok();
}

}  // namespace

Result<std::shared_ptr<HostFdState>> HostFdTable::Add(int epoll_fd, int fd, uint32_t events,
                                                      absl::AnyInvocable<void(uint32_t)> callback) {
  auto state = std::make_shared<HostFdState>();
  state->fd = fd;
  state->callback = std::move(callback);
  {
    MutexLock lock(mutex_);
    state->id = next_id_++;
    watches_[state->id] = state;
  }
  // In the table first: the fd may be ready at once.
  if (Result<> added = AddToEpoll(epoll_fd, *state, events); !added.ok()) {
    MutexLock lock(mutex_);
    watches_.erase(state->id);
    return added.error();
  }
  return state;
}

void HostFdTable::Remove(int epoll_fd, HostFdState& state) {
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, state.fd, nullptr);
  {
    MutexLock lock(mutex_);
    watches_.erase(state.id);
  }
  for (;;) {
    {
      MutexLock lock(state.mutex);
      if (state.running_on == nullptr) return;
      // From within the callback, which runs outside any fiber.
      if (state.running_on == CurrentWorker() && CurrentFiber() == nullptr) return;
    }
    sched_yield();
  }
}

void HostFdTable::Deliver(uint64_t id, uint32_t events) {
  std::shared_ptr<HostFdState> state;
  {
    MutexLock lock(mutex_);
    auto it = watches_.find(id);
    if (it == watches_.end()) return;
    state = it->second;
  }
  // Edges of one watch may reach two workers at once: one callback at a time.
  for (;;) {
    {
      MutexLock lock(state->mutex);
      if (state->running_on == nullptr) {
        state->running_on = CurrentWorker();
        break;
      }
    }
    sched_yield();
  }
  bool current;
  {
    MutexLock lock(mutex_);
    current = watches_.contains(id);  // Remove() may have been quicker
  }
  if (current) state->callback(events);
  MutexLock lock(state->mutex);
  state->running_on = nullptr;
}

}  // namespace internal

struct HostFdWatch::Impl {
  internal::Core* core;
  std::shared_ptr<internal::HostFdState> state;
};

HostFdWatch::HostFdWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HostFdWatch>> HostFdWatch::Create(
    Scheduler& scheduler, int fd, uint32_t events, absl::AnyInvocable<void(uint32_t)> callback) {
  internal::Core* core = scheduler.impl_->core.get();
  auto state = TRY(core->host_fds().Add(core->epoll_fd(), fd, events, std::move(callback)));
  auto impl = std::make_unique<Impl>(Impl{core, std::move(state)});
  return std::unique_ptr<HostFdWatch>(new HostFdWatch(std::move(impl)));
}

HostFdWatch::~HostFdWatch() {
  impl_->core->host_fds().Remove(impl_->core->epoll_fd(), *impl_->state);
}

}  // namespace msentry::sched
