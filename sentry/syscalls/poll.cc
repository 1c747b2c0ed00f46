// poll(2), select(2) and their variants with a signal mask.
#include <poll.h>
#include <sys/select.h>

#include "sentry/abi/poll.h"
#include "sentry/abi/time.h"
#include "sentry/syscalls/calls_poll.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

// One descriptor of a poll or select. The waiter is registered only if the call has to wait.
struct Watched {
  RefPtr<FileDescription> file;  // null: not open, or ignored
  sched::EventMask events = 0;
  sched::EventMask ready = 0;
};

// A file's wait queue with us on it, for the time of one call.
class Registration {
 public:
  Registration(FileDescription& file, sched::EventMask events, sched::Fiber* fiber)
      : queue_(file.wait_queue()),
        waiter_(events, [fiber](sched::EventMask) { sched::Unpark(fiber); }) {
    queue_.Add(&waiter_);
  }
  ~Registration() { queue_.Remove(&waiter_); }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  sched::WaitQueue& queue_;
  sched::Waiter waiter_;
};

int Check(std::span<Watched> watched) {
  int found = 0;
  for (Watched& w : watched) {
    if (!w.file) continue;
    w.ready = w.file->Readiness(w.events) & (w.events | sched::kErr | sched::kHup);
    if (w.ready != 0) found++;
  }
  return found;
}

// Waits until something is ready: how many are. ERESTARTNOHAND on a signal: these calls are not
// restarted after a handler (signal(7)).
Result<int> WaitForAny(Task& t, std::span<Watched> watched, int64_t timeout_ns) {
  int found = Check(watched);
  if (found > 0 || timeout_ns == 0) return found;
  const int64_t deadline = DeadlineAfter(timeout_ns);
  std::deque<Registration> registrations;  // a deque: they cannot move
  for (Watched& w : watched) {
    if (w.file) {
      registrations.emplace_back(*w.file, w.events | sched::kErr | sched::kHup, t.fiber());
    }
  }
  for (;;) {
    found = Check(watched);
    if (found > 0) return found;
    switch (t.Block(deadline)) {
      case Task::Wake::kEvent:
        break;
      case Task::Wake::kTimedOut:
        return Check(watched);
      case Task::Wake::kInterrupted:
        return Errno::kERESTARTNOHAND;
    }
  }
}

// ---- poll ----

Result<int64_t> Poll(Task& t, uint64_t address, uint32_t count, int64_t timeout_ns) {
  if (count > t.group().limits().Soft(RLIMIT_NOFILE)) return Errno::kEINVAL;
  absl::InlinedVector<abi::PollFd, 8> fds(count);
  TRY(t.memory().CopyInArray(GuestPtr<abi::PollFd>(address), std::span<abi::PollFd>(fds)));
  absl::InlinedVector<Watched, 8> watched(count);
  int invalid = 0;
  for (uint32_t i = 0; i < count; i++) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    Result<RefPtr<FileDescription>> file = t.GetFile(fds[i].fd);
    if (!file.ok()) {
      fds[i].revents = POLLNVAL;
      invalid++;
      continue;
    }
    watched[i].file = *std::move(file);
    watched[i].events = static_cast<uint16_t>(fds[i].events);
  }
  int found = TRY(WaitForAny(t, std::span<Watched>(watched), invalid > 0 ? 0 : timeout_ns));
  for (uint32_t i = 0; i < count; i++) {
    if (watched[i].file) fds[i].revents = static_cast<int16_t>(watched[i].ready);
    TRY(t.memory().CopyOut((GuestPtr<abi::PollFd>(address) + i).At<int16_t>(6), fds[i].revents));
  }
  return found + invalid;
}

// What is left of a timeout, back to where it came from, whatever the call returned. A program may
// have it in read-only memory: errors are ignored, as Linux does.
void UpdateTimespec(Task& t, uint64_t address, int64_t deadline) {
  if (address == 0) return;
  const int64_t left = std::max<int64_t>(0, deadline - sched::NowNs());
  (void)t.memory().CopyOut(GuestPtr<abi::Timespec>(address), abi::ToTimespec(left));
}

// poll and select can be restarted after a stop (SIGSTOP, SIGCONT) with what is left of the time.
Result<int64_t> PollUntil(Task& t, uint64_t address, uint32_t count, int64_t deadline) {
  const int64_t left =
      deadline == sched::kNever ? -1 : std::max<int64_t>(0, deadline - sched::NowNs());
  Result<int64_t> result = Poll(t, address, count, left);
  if (!result.ok() && result.error() == Errno::kERESTARTNOHAND) {
    t.SetRestartBlock([address, count, deadline](Task& again) {
      return PollUntil(again, address, count, deadline);
    });
    return Errno::kERESTART_RESTARTBLOCK;
  }
  return result;
}

// ---- select ----

// The three sets as the guest has them, `words` words of 64 bits each.
struct FdSets {
  static constexpr int kMaxFds = 1 << 20;
  std::vector<uint64_t> in, out, except;

  static Result<std::vector<uint64_t>> CopyIn(Task& t, uint64_t address, size_t words) {
    std::vector<uint64_t> set(words, 0);
    if (address != 0) {
      TRY(t.memory().CopyInArray(GuestPtr<uint64_t>(address), std::span<uint64_t>(set)));
    }
    return set;
  }
};

constexpr sched::EventMask kSelectIn = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
constexpr sched::EventMask kSelectOut = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
constexpr sched::EventMask kSelectExcept = POLLPRI;

bool Bit(const std::vector<uint64_t>& set, int fd) { return set[fd / 64] >> (fd % 64) & 1; }

Result<int64_t> Select(Task& t, int count, const SyscallArgs& a, int64_t timeout_ns) {
  if (count < 0) return Errno::kEINVAL;
  // Descriptors past the end of the table cannot be open: Linux does not look at their bits.
  count = std::min({count, FdSets::kMaxFds, t.fd_table().size()});
  const size_t words = (static_cast<size_t>(count) + 63) / 64;
  FdSets sets;
  sets.in = TRY(FdSets::CopyIn(t, a[1], words));
  sets.out = TRY(FdSets::CopyIn(t, a[2], words));
  sets.except = TRY(FdSets::CopyIn(t, a[3], words));

  std::vector<Watched> watched;
  std::vector<int> numbers;
  for (int fd = 0; fd < count; fd++) {
    sched::EventMask events = 0;
    if (Bit(sets.in, fd)) events |= kSelectIn;
    if (Bit(sets.out, fd)) events |= kSelectOut;
    if (Bit(sets.except, fd)) events |= kSelectExcept;
    if (events == 0) continue;
    watched.push_back({TRY(t.GetFile(fd)), events});
    numbers.push_back(fd);
  }
  TRY(WaitForAny(t, watched, timeout_ns));

  int64_t found = 0;
  FdSets result;
  for (auto* set : {&result.in, &result.out, &result.except}) set->assign(words, 0);
  for (size_t i = 0; i < watched.size(); i++) {
    const int fd = numbers[i];
    const auto mark = [&](const std::vector<uint64_t>& wanted, std::vector<uint64_t>& set,
                          sched::EventMask mask) {
      if (!Bit(wanted, fd) || !(watched[i].ready & mask)) return;
      set[fd / 64] |= uint64_t{1} << (fd % 64);
      found++;
    };
    mark(sets.in, result.in, kSelectIn);
    mark(sets.out, result.out, kSelectOut);
    mark(sets.except, result.except, kSelectExcept);
  }
  const auto copy_out = [&](uint64_t address, const std::vector<uint64_t>& set) -> Result<> {
    if (address == 0) return Ok();
    return t.memory().CopyOutArray(GuestPtr<uint64_t>(address), std::span<const uint64_t>(set));
  };
  TRY(copy_out(a[1], result.in));
  TRY(copy_out(a[2], result.out));
  TRY(copy_out(a[3], result.except));
  return found;
}

}  // namespace

Result<int64_t> SysPoll(Task& t, const SyscallArgs& a) {
  const int ms = a.Int(2);
  return PollUntil(t, a[0], a.Uint(1), DeadlineAfter(ms < 0 ? -1 : ms * int64_t{1000000}));
}

Result<int64_t> SysPpoll(Task& t, const SyscallArgs& a) {
  const int64_t timeout = TRY(CopyInTimeout(t, a[2]));
  TRY(SetSigmaskArgument(t, a[3], a[4]));
  const int64_t deadline = DeadlineAfter(timeout);
  Result<int64_t> result = Poll(t, a[0], a.Uint(1), timeout);
  UpdateTimespec(t, a[2], deadline);
  return result;
}

Result<int64_t> SysSelect(Task& t, const SyscallArgs& a) {
  int64_t timeout = -1;
  if (a[4] != 0) {
    const auto tv = TRY(t.memory().CopyIn(GuestPtr<abi::Timeval>(a[4])));
    if (tv.sec < 0 || tv.usec < 0) return Errno::kEINVAL;
    // Microseconds may exceed a second here.
    timeout = abi::ToNs({tv.sec + tv.usec / 1000000, tv.usec % 1000000 * 1000});
  }
  const int64_t deadline = DeadlineAfter(timeout);
  Result<int64_t> result = Select(t, a.Int(0), a, timeout);
  if (a[4] != 0) {
    const int64_t left = std::max<int64_t>(0, deadline - sched::NowNs());
    (void)t.memory().CopyOut(GuestPtr<abi::Timeval>(a[4]), abi::ToTimeval(left));
  }
  return result;
}

Result<int64_t> SysPselect6(Task& t, const SyscallArgs& a) {
  const int64_t timeout = TRY(CopyInTimeout(t, a[4]));
  if (a[5] != 0) {
    const auto mask = TRY(t.memory().CopyIn(GuestPtr<abi::SigsetArg>(a[5])));
    TRY(SetSigmaskArgument(t, mask.pointer, mask.size));
  }
  const int64_t deadline = DeadlineAfter(timeout);
  Result<int64_t> result = Select(t, a.Int(0), a, timeout);
  UpdateTimespec(t, a[4], deadline);
  return result;
}

}  // namespace msentry::syscalls
