// futex(2).
#include <linux/futex.h>
#include <time.h>

#include "sentry/abi/time.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/timers.h"
#include "sentry/syscalls/calls_futex.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

// FUTEX_WAIT with a relative timeout goes on where it was after a stop.
Result<int64_t> WaitUntil(Task& t, uint64_t address, bool shared, uint32_t expected,
                          uint32_t bitset, int64_t deadline) {
  const Result<> result = t.kernel().futexes().Wait(t, address, shared, expected, bitset, deadline);
  if (result.ok()) return 0;
  if (result.error() != Errno::kEINTR) return result.error();
  if (deadline == sched::kNever) return Errno::kERESTARTSYS;
  t.SetRestartBlock(
      [=](Task& again) { return WaitUntil(again, address, shared, expected, bitset, deadline); });
  return Errno::kERESTART_RESTARTBLOCK;
}

Result<int64_t> Wait(Task& t, const SyscallArgs& a, int command, bool shared, bool realtime,
                     uint32_t bitset) {
  int64_t deadline = sched::kNever;
  if (a[3] != 0) {
    const auto ts = TRY(t.memory().CopyIn(GuestPtr<abi::Timespec>(a[3])));
    if (!abi::IsValid(ts)) return Errno::kEINVAL;
    // FUTEX_WAIT counts from now, FUTEX_WAIT_BITSET to a point in time.
    deadline =
        command == FUTEX_WAIT
            ? DeadlineAfter(abi::ToNs(ts))
            : TRY(kernel::DeadlineOf(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, abi::ToNs(ts)));
  }
  return WaitUntil(t, a[0], shared, a.Uint(2), bitset, deadline);
}

}  // namespace

Result<int64_t> SysFutex(Task& t, const SyscallArgs& a) {
  const int op = a.Int(1);
  const int command = op & FUTEX_CMD_MASK;
  const bool shared = (op & FUTEX_PRIVATE_FLAG) == 0;
  const bool realtime = (op & FUTEX_CLOCK_REALTIME) != 0;
  if (realtime && command != FUTEX_WAIT_BITSET && command != FUTEX_WAIT) return Errno::kENOSYS;
  kernel::FutexManager& futexes = t.kernel().futexes();
  switch (command) {
    case FUTEX_WAIT:
      return Wait(t, a, command, shared, realtime, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
      return Wait(t, a, command, shared, realtime, a.Uint(5));
    case FUTEX_WAKE:
      return futexes.Wake(t, a[0], shared, a.Int(2), FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
      return futexes.Wake(t, a[0], shared, a.Int(2), a.Uint(5));
    case FUTEX_REQUEUE:
      return futexes.Requeue(t, a[0], a[4], shared, a.Int(2), a.Int(3), nullptr);
    case FUTEX_CMP_REQUEUE: {
      const uint32_t expected = a.Uint(5);
      return futexes.Requeue(t, a[0], a[4], shared, a.Int(2), a.Int(3), &expected);
    }
    case FUTEX_WAKE_OP:
      return futexes.WakeOp(t, a[0], a[4], shared, a.Int(2), a.Int(3), a.Uint(5));
    default:
      return Errno::kENOSYS;
  }
}

}  // namespace msentry::syscalls
