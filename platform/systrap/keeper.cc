#include "platform/systrap/keeper.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/systrap/address_space.h"
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/slot_file.h"
#include "platform/systrap/stub/abi.h"
#include "sentry/base/log.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace msentry::systrap {
namespace {

// Ids of epoll events: process ids are positive, so these are free.
constexpr uint64_t kListener = 0, kStop = UINT64_MAX;

bool Add(int epoll, int fd, uint64_t id) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

ScopedFd PidfdOpen(int pid) { return ScopedFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

void KillByPidfd(int pidfd) { syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0); }

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::Start(ScopedFd listener, SlotStore* store) {
  ScopedFd epoll(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC));
  if (!epoll || !stop || !Add(epoll.get(), listener.get(), kListener) ||
      !Add(epoll.get(), stop.get(), kStop)) {
    return FromHost(errno);
  }
  std::unique_ptr<Keeper> keeper(
      new Keeper(std::move(listener), std::move(epoll), std::move(stop), store));
  keeper->thread_ = std::thread([k = keeper.get()] { k->Run(); });
  return keeper;
}

Keeper::Keeper(ScopedFd listener, ScopedFd epoll, ScopedFd stop, SlotStore* store)
    : listener_(std::move(listener)),
      epoll_(std::move(epoll)),
      stop_(std::move(stop)),
      store_(store) {}

Keeper::~Keeper() {
  uint64_t one = 1;
  ssize_t n = write(stop_.get(), &one, sizeof(one));
  (void)n;
  thread_.join();
  MutexLock lock(mutex_);
  for (auto& [pid, process] : processes_) {
    KillByPidfd(process.pidfd.get());
    siginfo_t info;
    waitid(static_cast<idtype_t>(P_PIDFD), process.pidfd.get(), &info, WEXITED | __WALL);
  }
}

void Keeper::Expect(Thread* thread, std::deque<Expected> calls) {
  MutexLock lock(mutex_);
  // Behind the first calls of a child that has not come yet.
  std::deque<Expected>& to = expected_[thread];
  to.insert(to.end(), calls.begin(), calls.end());
}

void Keeper::Forget(Thread* thread) {
  MutexLock lock(mutex_);
  expected_.erase(thread);
}

void Keeper::ExpectChild(uint64_t nonce, Thread* child, std::deque<Expected> first) {
  MutexLock lock(mutex_);
  children_[nonce] = child;
  if (!first.empty()) expected_[child] = std::move(first);
}

void Keeper::ForgetChild(uint64_t nonce) {
  MutexLock lock(mutex_);
  auto it = children_.find(nonce);
  if (it == children_.end()) return;
  expected_.erase(it->second);
  children_.erase(it);
}

bool Keeper::AddThread(int tid, Thread* thread) {
  MutexLock lock(mutex_);
  return threads_.try_emplace(tid, thread).second;
}

void Keeper::RemoveThread(int tid, Thread* thread) {
  MutexLock lock(mutex_);
  expected_.erase(thread);
  auto it = threads_.find(tid);
  if (it != threads_.end() && it->second == thread) threads_.erase(it);
}

Result<> Keeper::Watch(int pid, Space* space) {
  MutexLock lock(mutex_);
  return WatchLocked(pid, space);
}

Result<> Keeper::WatchLocked(int pid, Space* space) {
  ScopedFd pidfd = PidfdOpen(pid);
  if (!pidfd) return FromHost(errno);
  if (!Add(epoll_.get(), pidfd.get(), static_cast<uint64_t>(pid))) return FromHost(errno);
  processes_[pid] = Process{std::move(pidfd), space, false};
  return Ok();
}

void Keeper::Release(int pid, Space* space, bool killed) {
  MutexLock lock(mutex_);
  auto it = processes_.find(pid);
  if (it == processes_.end() || it->second.space != space) return;
  it->second.space = nullptr;
  if (it->second.dead) {
    Reap(it->second);
    processes_.erase(it);
  } else if (!killed) {
    KillByPidfd(it->second.pidfd.get());
  }
}

void Keeper::Reap(const Process& process) {
  siginfo_t info;
  waitid(static_cast<idtype_t>(P_PIDFD), process.pidfd.get(), &info, WEXITED | WNOHANG | __WALL);
}

void Keeper::ProcessEnded(int pid) {
  MutexLock lock(mutex_);
  auto it = processes_.find(pid);
  if (it == processes_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.pidfd.get(), nullptr);
  if (it->second.space == nullptr) {
    Reap(it->second);
    processes_.erase(it);
    return;
  }
  siginfo_t how{};
  waitid(static_cast<idtype_t>(P_PIDFD), it->second.pidfd.get(), &how,
         WEXITED | WNOHANG | WNOWAIT | __WALL);
  LogDebug("systrap: guest process %d ended: si_code %d, status %d", pid, how.si_code,
           how.si_status);
  // Not reaped yet: as long as the space is there, its pid must not be another's.
  it->second.dead = true;
  it->second.space->MarkDead();
}

void Keeper::Run() {
  for (;;) {
    epoll_event events[16];
    int n = epoll_wait(epoll_.get(), events, 16, -1);
    for (int i = 0; i < n; ++i) {
      uint64_t id = events[i].data.u64;
      if (id == kStop) return;
      if (id != kListener) {
        ProcessEnded(static_cast<int>(id));
      } else if (events[i].events & EPOLLIN) {
        Answer();
      } else {  // EPOLLHUP: no process is left under the filter
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
      }
    }
    store_->Tend();
  }
}

void Keeper::Answer() {
  seccomp_notif call{};
  if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;  // it was killed
  MutexLock lock(mutex_);
  Decide(call);
}

void Keeper::Decide(const seccomp_notif& call) {
  if (call.data.nr == kCallGetSlots) {
    if (!AdmitChild(call)) SendError(call.id, EPERM);
    return;
  }
  auto thread = threads_.find(static_cast<int>(call.pid));
  if (thread == threads_.end()) return SendError(call.id, EPERM);
  auto calls = expected_.find(thread->second);
  if (calls == expected_.end() || calls->second.empty()) return SendError(call.id, EPERM);
  const Expected expected = calls->second.front();
  bool matches = call.data.nr == expected.number;
  for (int i = 0; i < 6; ++i) {
    if ((expected.check >> i & 1) && call.data.args[i] != expected.arguments[i]) matches = false;
  }
  if (!matches) return SendError(call.id, EPERM);
  calls->second.pop_front();
  if (expected.answer == Expected::Answer::kSendFd) {
    SendFd(call.id, expected.fd);
  } else {
    SendContinue(call.id);
  }
}

bool Keeper::AdmitChild(const seccomp_notif& call) {
  auto it = children_.find(call.data.args[0]);
  int pid = static_cast<int>(call.pid);
  if (threads_.contains(pid) || processes_.contains(pid)) return false;
  if (it == children_.end()) {
    // A child whose parent has given up on it: nobody else will end and reap it.
    if (WatchLocked(pid, nullptr).ok()) KillByPidfd(processes_[pid].pidfd.get());
    return false;
  }
  Thread* child = it->second;
  children_.erase(it);
  // pidfd_open refuses what is not a process's first thread.
  if (!WatchLocked(pid, child->space()).ok()) return false;
  threads_[pid] = child;
  child->Arrived(pid);
  SendFd(call.id, child->space()->slots_fd());
  child->space()->CloseSlotsFd();
  return true;
}

void Keeper::SendFd(uint64_t id, int fd) {
  seccomp_notif_addfd add{};
  add.id = id;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  add.srcfd = static_cast<uint32_t>(fd);
  add.newfd_flags = O_CLOEXEC;
  if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0) SendError(id, EMFILE);
}

void Keeper::SendContinue(uint64_t id) {
  seccomp_notif_resp answer{};
  answer.id = id;
  answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

void Keeper::SendError(uint64_t id, int error) {
  seccomp_notif_resp answer{};
  answer.id = id;
  answer.error = -error;
  ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

}  // namespace msentry::systrap
