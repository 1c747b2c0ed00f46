// ptrace(2) for guests: who traces whom, and the stops of a tracee.
//
// A tracee's fiber stops itself (Task::TraceStop), tells its tracer as a child tells its parent,
// and parks until the tracer resumes or detaches it, or it is killed. While it is stopped, and only
// then, the tracer's fiber reads and writes its registers: it holds `access`, which the tracee
// takes before it goes on, so that even SIGKILL does not make it run under the tracer's hands.
//
// Locks: the relation and the stop are guarded by Kernel::tasks_mutex() ("tasks"). `access` comes
// before it and may be held across parks.
#pragma once

#include <cstdint>
#include <vector>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/kernel/signal.h"
#include "sentry/sched/scheduler.h"

namespace msentry::kernel {

class Task;

// Numbers of PTRACE_EVENT_*; kNone for the stops that have none.
enum class TraceEvent : int {
  kNone = 0,
  kFork = 1,
  kVfork = 2,
  kClone = 3,
  kExec = 4,
  kVforkDone = 5,
  kExit = 6,
  kStop = 128,
};

// How a stopped tracee goes on.
enum class TraceResume : uint8_t { kContinue, kSyscall, kStep, kSysemu, kSysemuStep, kListen };

enum class TraceStopKind : uint8_t { kSignal, kEvent, kGroupStop, kSyscallEntry, kSyscallExit };

struct TraceState {
  // --- tasks ---
  Task* tracer = nullptr;      // of this task; null: nobody
  std::vector<Task*> tracees;  // of this task
  bool seized = false;         // PTRACE_SEIZE, or a child of one that was
  uint32_t options = 0;        // PTRACE_O_*
  bool stopped = false;        // in a stop, at the tracer's disposal
  bool notice = false;         // wait(2) has not reported the stop yet
  bool listening = false;      // PTRACE_LISTEN: stopped, but not at the tracer's disposal
  TraceStopKind kind = TraceStopKind::kSignal;
  int stop_code = 0;      // signal | event << 8
  bool has_info = false;  // PTRACE_GETSIGINFO has something to tell
  SigInfo info;
  uint64_t message = 0;        // PTRACE_GETEVENTMSG
  int resume_signal = 0;       // what the tracer wants delivered
  bool info_replaced = false;  // PTRACE_SETSIGINFO
  bool retrap = false;         // a listening tracee stops once more

  // --- the tracee's fiber; written by the tracer while it is stopped ---
  TraceResume resume = TraceResume::kContinue;

  sched::FiberMutex access;
};

// The tasks of `tracer`'s group that `pid` (as in ptrace(2)) may mean: traced by this very task.
// kESRCH else. `must_be_stopped`: also when it is not in a stop.
Result<RefPtr<Task>> FindTracee(Task& tracer, int pid, bool must_be_stopped);

// PTRACE_TRACEME. EPERM when traced already.
Result<> TraceMe(Task& task);
// PTRACE_ATTACH, PTRACE_SEIZE; the access check is the caller's. EPERM.
Result<> TraceAttach(Task& tracer, Task& target, bool seize, uint32_t options);
// A set-id program gets its privileges only from a task whose tracer, if any, could trace it after.
bool TracerMayFollow(Task& task);
// Lets a stopped tracee go on; `signo` 0: without a signal.
void TraceResumeTask(Task& tracee, TraceResume how, int signo);
void TraceDetach(Task& tracee, int signo);
// PTRACE_INTERRUPT. EIO unless seized.
Result<> TraceInterrupt(Task& tracee);
// PTRACE_LISTEN: EIO unless it is a seized one in a group stop.
Result<> TraceListen(Task& tracee);

}  // namespace msentry::kernel
