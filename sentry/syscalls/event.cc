// Pipes, eventfd(2), timerfd_create(2), signalfd(2), inotify(7).
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "fsimpl/eventfs/event_fd.h"
#include "fsimpl/eventfs/signal_fd.h"
#include "fsimpl/eventfs/timer_fd.h"
#include "fsimpl/pipefs/pipe_file.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_event.h"
#include "sentry/syscalls/util.h"
#include "vfs/inotify.h"
#include "vfs/permissions.h"

namespace msentry::syscalls {
namespace {

Result<int64_t> Pipe(Task& t, uint64_t address, int flags) {
  if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) return Errno::kEINVAL;
  auto [read_end, write_end] = pipefs::MakePipe(t.FileContext(), flags & ~O_CLOEXEC);
  int fds[2];
  fds[0] = TRY(t.InstallFile(std::move(read_end), flags & O_CLOEXEC));
  Result<int> second = t.InstallFile(std::move(write_end), flags & O_CLOEXEC);
  Result<> copied = Ok();
  if (second.ok()) {
    fds[1] = *second;
    copied = t.memory().CopyOutArray(GuestPtr<int>(address), std::span<const int>(fds));
    if (copied.ok()) return 0;
    (void)t.fd_table().Remove(fds[1]);
  }
  (void)t.fd_table().Remove(fds[0]);
  return second.ok() ? copied.error() : second.error();
}

Result<int64_t> EventFd(Task& t, uint32_t initial, int flags) {
  if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) return Errno::kEINVAL;
  return TRY(t.InstallFile(
      eventfs::MakeEventFd(t.FileContext(), initial, flags & EFD_SEMAPHORE, flags & EFD_NONBLOCK),
      flags & EFD_CLOEXEC));
}

// ---- signalfd ----

// What is pending for the task that reads; readiness changes come from the task that made the fd.
class TaskSignals : public eventfs::SignalSource {
 public:
  explicit TaskSignals(Task& creator) : creator_(&creator) {}
  Result<abi::SigInfo> Take(uint64_t which) override { return Reader().TakeSignal(which); }
  uint64_t Pending() override { return Reader().PendingSignalSet(); }
  sched::WaitQueue& events() override { return creator_->signal_events(); }

 private:
  Task& Reader() const {
    Task* current = Task::Current();
    return current != nullptr ? *current : *creator_;
  }
  const RefPtr<Task> creator_;
};

Result<int64_t> SignalFd(Task& t, int fd, uint64_t mask_address, uint64_t size, int flags) {
  if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)) return Errno::kEINVAL;
  if (size != sizeof(uint64_t)) return Errno::kEINVAL;
  const uint64_t mask = TRY(t.memory().CopyIn(GuestPtr<uint64_t>(mask_address)));
  if (fd == -1) {
    return TRY(t.InstallFile(eventfs::MakeSignalFd(t.FileContext(), flags & SFD_NONBLOCK, mask,
                                                   std::make_unique<TaskSignals>(t)),
                             flags & SFD_CLOEXEC));
  }
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  auto* existing = vfs::FileCast<eventfs::SignalFd>(*file);
  if (existing == nullptr) return Errno::kEINVAL;
  existing->SetMask(mask);
  return fd;
}

// ---- timerfd ----

Result<RefPtr<eventfs::TimerFd>> GetTimer(Task& t, int fd) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  auto* timer = vfs::FileCast<eventfs::TimerFd>(*file);
  if (timer == nullptr) return Errno::kEINVAL;
  return RefPtr<eventfs::TimerFd>(timer);
}

Result<int64_t> InotifyInit(Task& t, int flags) {
  if (flags & ~(IN_CLOEXEC | IN_NONBLOCK)) return Errno::kEINVAL;
  return TRY(t.InstallFile(TRY(vfs::MakeInotify(t.FileContext(), flags & IN_NONBLOCK)),
                           flags & IN_CLOEXEC));
}

}  // namespace

Result<int64_t> SysPipe(Task& t, const SyscallArgs& a) { return Pipe(t, a[0], 0); }
Result<int64_t> SysPipe2(Task& t, const SyscallArgs& a) { return Pipe(t, a[0], a.Int(1)); }

Result<int64_t> SysEventfd(Task& t, const SyscallArgs& a) { return EventFd(t, a.Uint(0), 0); }
Result<int64_t> SysEventfd2(Task& t, const SyscallArgs& a) {
  return EventFd(t, a.Uint(0), a.Int(1));
}

Result<int64_t> SysSignalfd(Task& t, const SyscallArgs& a) {
  return SignalFd(t, a.Int(0), a[1], a[2], 0);
}
Result<int64_t> SysSignalfd4(Task& t, const SyscallArgs& a) {
  return SignalFd(t, a.Int(0), a[1], a[2], a.Int(3));
}

Result<int64_t> SysTimerfdCreate(Task& t, const SyscallArgs& a) {
  const int clock = a.Int(0), flags = a.Int(1);
  if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) return Errno::kEINVAL;
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
      break;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
      if (!t.HasCap(auth::Cap::kWakeAlarm)) return Errno::kEPERM;
      break;
    default:
      return Errno::kEINVAL;
  }
  return TRY(t.InstallFile(
      eventfs::MakeTimerFd(t.FileContext(), clock, flags & TFD_NONBLOCK, t.kernel().scheduler()),
      flags & TFD_CLOEXEC));
}

Result<int64_t> SysTimerfdSettime(Task& t, const SyscallArgs& a) {
  const auto setting = TRY(t.memory().CopyIn(GuestPtr<abi::Itimerspec>(a[2])));
  // TFD_TIMER_CANCEL_ON_SET: the sandbox's realtime clock cannot be set, so it never cancels.
  if (a.Int(1) & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) return Errno::kEINVAL;
  if (!abi::IsValid(setting.value) || !abi::IsValid(setting.interval)) return Errno::kEINVAL;
  RefPtr<eventfs::TimerFd> timer = TRY(GetTimer(t, a.Int(0)));
  const abi::Itimerspec old = timer->Set(setting, a.Int(1) & TFD_TIMER_ABSTIME);
  if (a[3] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Itimerspec>(a[3]), old));
  return 0;
}

Result<int64_t> SysTimerfdGettime(Task& t, const SyscallArgs& a) {
  RefPtr<eventfs::TimerFd> timer = TRY(GetTimer(t, a.Int(0)));
  TRY(t.memory().CopyOut(GuestPtr<abi::Itimerspec>(a[1]), timer->Get()));
  return 0;
}

Result<int64_t> SysInotifyInit(Task& t, const SyscallArgs&) { return InotifyInit(t, 0); }
Result<int64_t> SysInotifyInit1(Task& t, const SyscallArgs& a) { return InotifyInit(t, a.Int(0)); }

Result<int64_t> SysInotifyAddWatch(Task& t, const SyscallArgs& a) {
  const uint32_t mask = a.Uint(2);
  if ((mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED)) == 0) {
    return Errno::kEINVAL;
  }
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const std::string path = TRY(CopyInPath(t, a[1]));
  Walk walk(t);
  const uint32_t flags = (mask & IN_DONT_FOLLOW ? 0u : vfs::kWalkFollow) |
                         (mask & IN_ONLYDIR ? vfs::kWalkDirectory : 0u);
  const vfs::Location at = TRY(vfs::PathWalker(walk.context, flags).Resolve(path));
  TRY(vfs::CheckAccess(walk.op, at.inode(), vfs::kMayRead));
  return TRY(vfs::AddInotifyWatch(walk.op, *file, at.inode(), mask));
}

Result<int64_t> SysInotifyRmWatch(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  TRY(vfs::RemoveInotifyWatch(*file, a.Int(1)));
  return 0;
}

}  // namespace msentry::syscalls
