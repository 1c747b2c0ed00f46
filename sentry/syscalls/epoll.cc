// epoll_create(2), epoll_ctl(2), epoll_wait(2). The sets are vfs/epoll.h.
#include <fcntl.h>
#include <sys/epoll.h>

#include "sentry/abi/poll.h"
#include "sentry/syscalls/calls_poll.h"
#include "sentry/syscalls/util.h"
#include "vfs/epoll.h"

namespace msentry::syscalls {
namespace {

Result<int64_t> Create(Task& t, bool close_on_exec) {
  return TRY(t.InstallFile(vfs::MakeEpoll(t.FileContext()), close_on_exec));
}

// More events than this are left for the next call, as a short count.
constexpr int kMaxEventsAtOnce = 128;

Result<int64_t> Wait(Task& t, const SyscallArgs& a, int64_t timeout_ns) {
  const int max_events = a.Int(2);
  if (max_events <= 0 || max_events > INT32_MAX / static_cast<int>(sizeof(abi::EpollEvent))) {
    return Errno::kEINVAL;
  }
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  auto* epoll = vfs::FileCast<vfs::EpollFile>(*file);
  if (epoll == nullptr) return Errno::kEINVAL;
  absl::InlinedVector<abi::EpollEvent, 16> events(std::min(max_events, kMaxEventsAtOnce));
  Result<size_t> found = epoll->Harvest(std::span<abi::EpollEvent>(events));
  if (!found.ok() && timeout_ns != 0) {
    found = t.BlockOn(epoll->wait_queue(), sched::kIn, DeadlineAfter(timeout_ns),
                      [&] { return epoll->Harvest(std::span<abi::EpollEvent>(events)); });
  }
  if (!found.ok()) {
    if (found.error() == Errno::kEAGAIN) return 0;
    // Never restarted, with or without SA_RESTART (signal(7)).
    return found.error() == Errno::kERESTARTSYS ? Errno::kEINTR : found.error();
  }
  TRY(t.memory().CopyOutArray(GuestPtr<abi::EpollEvent>(a[1]),
                              std::span<const abi::EpollEvent>(events.data(), *found)));
  return static_cast<int64_t>(*found);
}

int64_t MillisecondsToNs(int ms) { return ms < 0 ? -1 : ms * int64_t{1000000}; }

}  // namespace

Result<int64_t> SysEpollCreate(Task& t, const SyscallArgs& a) {
  if (a.Int(0) <= 0) return Errno::kEINVAL;
  return Create(t, false);
}

Result<int64_t> SysEpollCreate1(Task& t, const SyscallArgs& a) {
  if (a.Int(0) & ~EPOLL_CLOEXEC) return Errno::kEINVAL;
  return Create(t, a.Int(0) & EPOLL_CLOEXEC);
}

Result<int64_t> SysEpollCtl(Task& t, const SyscallArgs& a) {
  const int operation = a.Int(1);
  abi::EpollEvent event{};
  if (operation != EPOLL_CTL_DEL) {
    event = TRY(t.memory().CopyIn(GuestPtr<abi::EpollEvent>(a[3])));
  }
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  RefPtr<FileDescription> target = TRY(t.GetFile(a.Int(2)));
  if (!target->SupportsEpoll()) return Errno::kEPERM;
  auto* epoll = vfs::FileCast<vfs::EpollFile>(*file);
  if (epoll == nullptr || file == target) return Errno::kEINVAL;
  switch (operation) {
    case EPOLL_CTL_ADD:
      TRY(epoll->Add(*target, a.Int(2), event));
      return 0;
    case EPOLL_CTL_MOD:
      TRY(epoll->Modify(*target, a.Int(2), event));
      return 0;
    case EPOLL_CTL_DEL:
      TRY(epoll->Remove(*target, a.Int(2)));
      return 0;
  }
  return Errno::kEINVAL;
}

Result<int64_t> SysEpollWait(Task& t, const SyscallArgs& a) {
  return Wait(t, a, MillisecondsToNs(a.Int(3)));
}

Result<int64_t> SysEpollPwait(Task& t, const SyscallArgs& a) {
  TRY(SetSigmaskArgument(t, a[4], a[5]));
  return Wait(t, a, MillisecondsToNs(a.Int(3)));
}

Result<int64_t> SysEpollPwait2(Task& t, const SyscallArgs& a) {
  const int64_t timeout = TRY(CopyInTimeout(t, a[3]));
  TRY(SetSigmaskArgument(t, a[4], a[5]));
  return Wait(t, a, timeout == sched::kNever ? -1 : timeout);
}

}  // namespace msentry::syscalls
