// A thread group: what userland calls a process. It outlives its tasks as a zombie until waited
// for.
//
// Locks: fields say which. "tasks" is Kernel::tasks_mutex() (outer), "signal" is signal_mutex().
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "sentry/kernel/limits.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/timers.h"
#include "sentry/mm/host_proc.h"
#include "sentry/sched/wait_queue.h"

namespace msentry::kernel {

class Kernel;
class Task;

// CPU time and counts, for getrusage(2) and wait4(2).
struct Usage {
  int64_t user_ns = 0, system_ns = 0;
  int64_t minor_faults = 0, major_faults = 0;
  int64_t voluntary_switches = 0, involuntary_switches = 0;
  int64_t blocks_in = 0, blocks_out = 0;
  int64_t max_rss_kb = 0;
  void Add(const Usage& other);  // sums; the maximum of max_rss_kb
};

// I/O counters of /proc/PID/io.
struct IoCounters {
  std::atomic<uint64_t> read_bytes{0}, written_bytes{0}, read_calls{0}, write_calls{0};
  std::atomic<uint64_t> storage_written{0};  // of written_bytes, to files on a disk
};

class ThreadGroup : public RefCounted<ThreadGroup> {
 public:
  ThreadGroup(Kernel& kernel, RefPtr<SignalHandlers> handlers, RefPtr<Limits> limits_copy);
  ~ThreadGroup();

  Kernel& kernel() { return kernel_; }
  int tgid() const { return tgid_; }
  Limits& limits() { return *limits_; }
  ProcessTimers& timers() { return timers_; }
  Mutex& signal_mutex() ABSL_LOCK_RETURNED(signal_mutex_) { return signal_mutex_; }

  // --- guarded by tasks ---
  Task* leader = nullptr;         // also as a zombie
  std::vector<Task*> tasks;       // live ones; changed under tasks and signal, read under either
  ThreadGroup* parent = nullptr;  // null: init
  Task* parent_task = nullptr;    // the thread that created it, while it lives; else any
  std::vector<ThreadGroup*> children;
  RefPtr<ProcessGroup> process_group;
  Session* session() const { return process_group->session.get(); }
  bool zombie = false;  // every task has exited
  bool reaped = false;
  bool executed = false;  // has called execve (setpgid's EACCES)
  bool child_subreaper = false;
  int exit_signal = SIGCHLD;  // to the parent; 0 none
  Usage dead_threads;         // of tasks that have exited
  Usage waited_children;
  // What wait(2) reports of a stop or continue, until it is consumed.
  enum class JobNotice : uint8_t { kNone, kStopped, kContinued };
  JobNotice job_notice = JobNotice::kNone;
  int job_signal = 0;  // of kStopped

  // --- guarded by signal ---
  PendingSignals shared_pending;
  bool exiting = false;       // exit_group or a fatal signal: every task must go
  int exit_status = 0;        // wait(2) format; valid when exiting or zombie
  Task* exec_task = nullptr;  // de_thread: the one that survives
  bool stopped = false;       // group stop in force or being reached
  int stop_signal = 0;
  int stop_pending = 0;    // tasks still to park
  bool continued = false;  // the parent is to be told of a SIGCONT

  RefPtr<SignalHandlers> handlers() const;
  void set_handlers(RefPtr<SignalHandlers> handlers);

  // --- any thread ---
  sched::WaitQueue child_events;  // kIn when a child changes state (wait4)
  sched::WaitQueue exit_event;    // kIn when this group becomes a zombie (pidfd)
  sched::WaitQueue task_gone;     // kIn when one of its tasks has exited (exec waits)
  std::atomic<bool> is_zombie{false};
  std::atomic<int> oom_score_adj{0};
  // What /proc/PID shows and takes besides. Children inherit it.
  struct ProcSettings {
    std::atomic<int> oom_score_adj_min{0};  // the least that was set with CAP_SYS_RESOURCE
    std::atomic<uint32_t> coredump_filter{0x33};
    std::atomic<uint32_t> login_uid{~0u}, audit_session{~0u};  // ~0: not set
    void CopyFrom(const ProcSettings& other);
  } proc;
  std::atomic<int> dumpable{1};
  std::atomic<int> live_tasks{0};
  IoCounters io;
  // Of the memory it had before an exec, or when its last task ended: written by tasks of it.
  std::atomic<int64_t> gone_minor_faults{0}, gone_major_faults{0}, max_rss_kb{0};
  int64_t start_ns = 0;  // sched::NowNs() at creation; immutable

  // Sums of live and dead tasks; takes tasks. CpuUsage: without what only the host knows, the
  // faults and the resident set. `figures`: what Figures() of its memory has just said.
  Usage CpuUsage();
  Usage GetUsage(const mm::HostFigures* figures = nullptr);
  int64_t CpuNs();

 private:
  friend class Kernel;
  friend class Task;
  // Kills the address space when a stub does not come back after SIGKILL.
  std::unique_ptr<sched::Timer> kill_timer_;  // made under signal, destroyed with the group
  absl::AnyInvocable<void(int)> on_end_;      // Kernel::StartProcess; called by the last task
  Kernel& kernel_;
  int tgid_ = 0;
  const RefPtr<Limits> limits_;
  mutable Mutex signal_mutex_;
  RefPtr<SignalHandlers> handlers_ ABSL_GUARDED_BY(signal_mutex_);
  ProcessTimers timers_;
};

}  // namespace msentry::kernel
