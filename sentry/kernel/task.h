// Task: one guest thread, and the fiber that runs it.
//
// The fiber's life is Run(): resume guest code, handle what ended that (a system call, a fault, an
// interrupt), deliver signals, resume. A system call handler runs on the fiber and gets the Task.
//
//   Result<int64_t> SysRead(kernel::Task& t, const SyscallArgs& a) {
//     RefPtr<vfs::FileDescription> file = TRY(t.GetFile(a.Int(0)));
//     ...
//     return t.BlockOn(file->wait_queue(), sched::kIn, deadline, [&] { return file->Read(dst); });
//   }
//
// Who may call what: methods without a note are for the task's own fiber. "any thread" ones say so.
// Locks: see thread_group.h for "tasks" and "signal"; fields without a note belong to the fiber.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "platform/platform.h"
#include "sentry/arch/registers.h"
#include "sentry/auth/credentials.h"
#include "sentry/cgroup/cgroups.h"
#include "sentry/kernel/fd_table.h"
#include "sentry/kernel/fs_context.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/thread_group.h"
#include "sentry/mm/copy.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/sched/scheduler.h"
#include "sentry/sched/wait_queue.h"
#include "vfs/context.h"
#include "vfs/location.h"

namespace msentry::kernel {

class IpcNamespace;
class Kernel;
class SemUndoList;
struct TraceState;
enum class TraceEvent : int;
enum class TraceStopKind : uint8_t;

// clone(2), clone3(2), fork(2), vfork(2).
struct CloneArgs {
  uint64_t flags = 0;  // CLONE_*, without the exit signal
  int exit_signal = 0;
  uint64_t stack = 0;       // new stack pointer; 0: as the parent's
  uint64_t tls = 0;         // CLONE_SETTLS
  uint64_t parent_tid = 0;  // guest addresses
  uint64_t child_tid = 0;
  uint64_t pidfd = 0;
};

// execve(2), execveat(2): everything already copied in.
struct ExecArgs {
  std::string path;
  vfs::Location at;         // where a relative path starts
  bool empty_path = false;  // AT_EMPTY_PATH: `at` is the file
  bool no_follow = false;   // AT_SYMLINK_NOFOLLOW
  int dirfd = -1;           // for the name /dev/fd/N given to a script
  std::vector<std::string> argv, envp;
};

class Task : public RefCounted<Task> {
 public:
  ~Task();

  // --- identity; any thread ---
  Kernel& kernel() { return kernel_; }
  ThreadGroup& group() { return *group_; }
  const RefPtr<ThreadGroup>& group_ref() const { return group_; }
  int tid() const { return tid_.load(std::memory_order_relaxed); }
  int tgid() const { return group_->tgid(); }
  int ParentTgid();  // takes tasks
  std::string comm() const;
  void set_comm(std::string_view name);  // cut at 15 bytes

  // The task whose fiber is running; null on any other thread or fiber.
  static Task* Current();

  // --- credentials; readable from any thread ---
  auth::CredsRef creds() const;
  bool HasCap(auth::Cap cap) const { return creds()->HasCap(cap); }
  // Publishes new credentials (of this task only; glibc does the other threads).
  void SetCreds(auth::CredsRef creds);

  // --- files ---
  FdTable& fd_table() { return *fd_table_; }
  RefPtr<FdTable> fd_table_ref() const;  // any thread; null after exit
  FsContext& fs() { return *fs_; }
  RefPtr<FsContext> fs_ref() const;  // any thread; null after exit
  // On whose behalf a vfs operation of this system call runs. Borrows the task's credentials: valid
  // until the call ends.
  vfs::OpContext FileContext();
  // The open file at `fd`; kEBADF also for O_PATH ones unless `path_only_too`.
  Result<RefPtr<vfs::FileDescription>> GetFile(int fd, bool path_only_too = false);
  // What /proc/PID/exe leads to; null for a task without memory. Any thread.
  RefPtr<vfs::FileDescription> executable() const;
  // The lowest free fd, with the task's RLIMIT_NOFILE.
  Result<int> InstallFile(RefPtr<vfs::FileDescription> file, bool close_on_exec);
  // close(2) of a removed file: flush, POSIX locks of this process, last reference.
  Result<> CloseFile(RefPtr<vfs::FileDescription> file);
  // close_range(2) with CLOSE_RANGE_UNSHARE, unshare(2).
  void UnshareFdTable();
  void UnshareFs();

  // --- namespaces ---
  NamespacesRef namespaces() const;  // any thread; null after exit
  vfs::MountNamespace& mounts() const { return *namespaces()->mounts; }
  // unshare(2) with CLONE_NEW* flags of kNamespacesHere; setns(2).
  Result<> UnshareNamespaces(uint64_t flags);
  Result<> EnterNamespace(const NamespaceFile& file);

  // --- memory ---
  mm::MemoryManager& mm() { return *mm_; }
  RefPtr<mm::MemoryManager> mm_ref() const;  // any thread; null after exit
  mm::GuestMemory memory() { return mm::GuestMemory(mm_.get(), thread_.get()); }
  // Without the thread's own window: what is written is there at once, for threads we wake with it
  // (memory() may keep it until this thread resumes).
  mm::GuestMemory shared_memory() { return mm::GuestMemory(mm_.get(), nullptr); }
  platform::GuestThread& guest_thread() { return *thread_; }
  mm::MemoryLimits memory_limits();

  // --- System V IPC ---
  RefPtr<IpcNamespace> ipc() const;  // any thread
  // unshare(2), setns(2) into another one: the undo list is settled in the old one first.
  void SetIpc(RefPtr<IpcNamespace> ipc);
  // What semop's SEM_UNDO is kept in, made when there is none; shared by CLONE_SYSVSEM.
  SemUndoList& sem_undo();
  // The end of the task, unshare(CLONE_SYSVSEM): the last user of the list has it carried out.
  void LeaveSemUndo();

  // --- waiting ---
  enum class Wake { kEvent, kTimedOut, kInterrupted };
  // Parks until somebody calls sched::Unpark(fiber()), the deadline (sched::NowNs() time), or a
  // signal must be handled. May return kEvent for no reason: loop and look again.
  Wake Block(int64_t deadline_ns = sched::kNever);
  // As Block, but only SIGKILL and exit_group interrupt.
  Wake BlockKillable(int64_t deadline_ns = sched::kNever);
  // A signal (or exit, stop) must be handled before guest code runs again.
  bool Interrupted() const { return (work_.load(std::memory_order_seq_cst) & ~kWorkHold) != 0; }
  sched::Fiber* fiber() const { return fiber_.load(std::memory_order_relaxed); }
  // Repeats `attempt()` (a Result<T>) until it returns something else than kEAGAIN, waiting on
  // `queue` in between. kEAGAIN once the deadline has passed, kERESTARTSYS on a signal.
  template <typename Attempt>
  auto BlockOn(sched::WaitQueue& queue, sched::EventMask events, int64_t deadline_ns,
               Attempt attempt) -> decltype(attempt()) {
    sched::Waiter waiter(events, [fiber = fiber()](sched::EventMask) { sched::Unpark(fiber); });
    QueueGuard guard(queue, &waiter);
    for (;;) {
      auto result = attempt();
      if (result.ok() || result.error() != Errno::kEAGAIN) return result;
      Wake wake = Block(deadline_ns);
      if (wake == Wake::kTimedOut) return Errno::kEAGAIN;
      if (wake == Wake::kInterrupted) return Errno::kERESTARTSYS;
    }
  }

  // --- signals ---
  // kill(2) of the whole group / tgkill(2) of one task, without permission checks. Any thread.
  // kEAGAIN when a queued real-time signal finds the queue full (RLIMIT_SIGPENDING).
  static Result<> SendGroupSignal(ThreadGroup& group, const SigInfo& info);
  Result<> SendSignal(const SigInfo& info);
  // A signal that cannot be blocked or ignored away (faults): resets to the default if it would be.
  void ForceSignal(const SigInfo& info);
  // May `sender` send `signo` to this task (kill(2))? Any thread.
  bool MaySignal(const auth::Credentials& sender, const Session* sender_session, int signo);
  // The blocked set. Reading is for any thread; the stub may change it.
  SigSet signal_mask() const;
  void SetSignalMask(SigSet mask);
  // rt_sigsuspend, pselect, ppoll, epoll_pwait: blocks `mask` until the call ends; when the call
  // ends in a handler the frame restores the old mask, else RestoreSignalMask does it. Handlers
  // call Set..., wait, and return; the return path restores.
  void SetTemporarySignalMask(SigSet mask);
  // Pending for the task or its group, blocked ones included. Takes signal; any thread.
  SigSet PendingSignalSet();
  SigSet SharedPendingSignalSet();
  // rt_sigtimedwait(2).
  Result<SigInfo> WaitForSignal(SigSet which, int64_t deadline_ns);
  // signalfd(2): takes one pending signal of `which` without waiting; kEAGAIN when there is none.
  Result<SigInfo> TakeSignal(SigSet which);
  // Readiness changes of signalfds of this task. Notified with kIn.
  sched::WaitQueue& signal_events() { return signal_events_; }
  Result<SigAction> SetAction(int signo, const SigAction* action);
  abi::SigAltStack alt_stack{0, SS_DISABLE, 0, 0};
  // rt_sigreturn(2): the new rax.
  uint64_t SignalReturn();

  // A call that restart_syscall(2) finishes (nanosleep and such): the handler returns
  // kERESTART_RESTARTBLOCK after setting it.
  using RestartBlock = absl::AnyInvocable<Result<int64_t>(Task&)>;
  void SetRestartBlock(RestartBlock block) { restart_block_ = std::move(block); }
  Result<int64_t> RunRestartBlock();

  // --- ptrace(2), trace.h; for trace.cc, wait.cc and the call itself ---
  TraceState* trace() const { return trace_.get(); }  // tasks; null: nobody ever traced or was
  int TracerTid();                                    // of its process; 0: nobody. Any thread
  bool traced() const { return traced_.load(std::memory_order_relaxed); }
  // Of a stopped tracee, by its tracer.
  TraceStopKind trace_stop_kind();
  uint64_t trace_message();
  Result<SigInfo> TraceSigInfo();
  Result<> SetTraceSigInfo(const SigInfo& info);
  void SetTraceOptions(uint32_t options);
  // tasks held where named Locked.
  void LinkTracerLocked(Task& tracer, bool seized, uint32_t options);
  void UnlinkTracerLocked();
  void WakeFromTraceStopLocked();
  void RetrapLocked();
  void SendTracingStop();    // PTRACE_ATTACH's SIGSTOP
  void WakeFromGroupStop();  // so that a group stop becomes a tracee's stop
  void KickForTrace();       // PTRACE_INTERRUPT
  bool InStoppedGroup();
  // PTRACE_EVENT_EXIT, on the way to the end.
  void TraceExit(int status);

  // --- life ---
  Result<int64_t> Clone(const CloneArgs& args);
  // On success the registers are the new program's and the call returns 0.
  Result<int64_t> Exec(ExecArgs args);
  // Ends this task (exit(2)) / the whole group (exit_group(2)) on the way back to guest code.
  // `status` as in wait(2): code << 8, or the signal.
  void Exit(int status);
  static void ExitGroup(ThreadGroup& group, int status);  // any thread
  void ExitGroup(int status) { ExitGroup(*group_, status); }

  arch::Registers& registers() { return registers_; }

  cgroup::Membership cgroup;  // Cgroups::mutex()
  // Keeps the task out of guest code until every reason is gone: its group has used up its CPU
  // quota, or its memory with the OOM killer off. Only SIGKILL gets through. Any thread.
  enum Held : uint32_t { kHeldForCpu = 1, kHeldForMemory = 2 };
  void Hold(Held why);
  void Release(Held why);

  // Guest addresses set by system calls.
  uint64_t clear_child_tid = 0;
  uint64_t robust_list = 0;
  int parent_death_signal = 0;
  uint32_t personality = 0;
  static constexpr uint64_t kDefaultTimerSlack = 50000;
  std::atomic<uint64_t> timer_slack_ns{kDefaultTimerSlack};  // any thread

  // Scheduling parameters: stored, reported, inherited; without effect on our scheduler.
  struct Scheduling {
    int policy = 0, priority = 0, nice = 0;
    bool reset_on_fork = false;
    int ioprio = 0;
    std::vector<uint64_t> affinity;  // bit n: CPU n
  };
  Scheduling scheduling() const;              // any thread
  void SetScheduling(Scheduling scheduling);  // any thread

  // --- accounting; any thread ---
  Usage GetUsage();  // of this task
  int64_t UserNs();
  int64_t SystemNs();
  // State letter of /proc/PID/stat.
  char StateLetter();
  int64_t start_ns() const { return start_ns_; }
  // The call it is in (for /proc/PID/syscall, wchan), -1 in guest code.
  std::atomic<int> current_syscall{-1};
  // Where it sleeps: the call's arguments, and the program's stack and instruction pointers.
  // nullopt while it runs.
  struct Sleep {
    int syscall = -1;  // -1: outside of a call
    std::array<uint64_t, 6> args{};
    uint64_t sp = 0, ip = 0;
  };
  std::optional<Sleep> GetSleep() const;

 private:
  friend class Kernel;
  friend class ThreadGroup;
  struct QueueGuard {
    QueueGuard(sched::WaitQueue& q, sched::Waiter* w) : queue(q), waiter(w) { queue.Add(waiter); }
    ~QueueGuard() { queue.Remove(waiter); }
    sched::WaitQueue& queue;
    sched::Waiter* waiter;
  };
  // Bits of work_: why the fiber must not go on into guest code.
  enum Work : uint32_t {
    kWorkSignal = 1,  // a pending signal may be deliverable
    kWorkKill = 2,    // group exit, or an exec'ing sibling wants us gone
    kWorkStop = 4,    // group stop
    kWorkTrace = 8,   // PTRACE_INTERRUPT
    kWorkHold = 16,   // held_ is not 0
  };

  Task(Kernel& kernel, RefPtr<ThreadGroup> group);

  // run.cc
  void Start();
  void Run();
  void HandleEvent(const platform::Event& event);
  void HandleFault(const platform::Event& event);
  void ReportFault(const platform::Event& event);  // fault_report.cc
  bool DoWork();                                   // false: the task ends
  void RestoreMaskAfterCall();
  void StayHeld();
  Wake ParkFor(int64_t deadline_ns, uint32_t interrupting);
  void StopCharging();  // from here on the time is not this task's
  void StartCharging();

  // signal_send.cc (signal held where named Locked)
  void KickLocked(uint32_t bits);
  void RecalculateLocked();
  bool WantsLocked(int signo) const;
  static Result<> SendLocked(ThreadGroup& group, Task* only, const SigInfo& info, bool force);
  static void ContinueLocked(ThreadGroup& group);
  static void ExitGroupLocked(ThreadGroup& group, int status);

  // namespaces.cc
  Result<NamespacesRef> NewNamespaces(uint64_t flags, FsContext& fs);
  void SetNamespaces(NamespacesRef namespaces);

  // task.cc
  const auth::Credentials& OwnCreds() const;

  // signal_delivery.cc
  void DeliverSignals();
  bool ActOnDefault(const SigInfo& info);  // false: no more signals now
  bool EnterSignalHandler(const SigInfo& info, const SigAction& action);
  bool RestoreFpu(uint64_t address);
  void FinishInterruptedCall(const SigAction* action);
  void BeginGroupStop(int signo);
  void ReachGroupStop();
  void NotifyParentOfStop(ThreadGroup::JobNotice notice, int signo);

  // trace.cc, trace_stops.cc
  TraceState& TraceStateLocked();
  void PublishShortcuts();
  bool TraceWants(uint32_t option);
  void NotifyTracer(int code, int status);
  int TraceStop(TraceStopKind kind, int signo, TraceEvent event, SigInfo* info, uint64_t message);
  int TraceSignal(SigInfo* info);
  void TraceInterruptStop();
  void TraceReport(TraceEvent event, uint32_t option, uint64_t message);
  void TraceGroupStop(int signo);
  void TracedSyscall();
  void SendTracersSignal(int signo);
  bool TraceChild(Task& child, uint64_t clone_flags, uint32_t option);
  void TraceExec(int old_tid);
  bool TraceStepping();

  // ipc/task_ipc.cc
  void InheritIpc(Task& parent, bool share_undo);

  // clone.cc
  Result<RefPtr<Task>> MakeChild(const CloneArgs& args);
  void LinkChild(const RefPtr<Task>& child, const CloneArgs& args, int tid);

  // exec.cc
  Result<> RunFirstExec();
  Result<> KillSiblings();
  void TakeOverLeader();
  void ReplaceImage(RefPtr<mm::MemoryManager> mm, std::unique_ptr<platform::GuestThread> thread);
  void PublishIdentity();

  // exit.cc
  void LeaveMemory();
  void FinishExit();
  void ReleaseVfork();
  void DropFiles();
  void KeepHostFigures();

  Kernel& kernel_;
  RefPtr<ThreadGroup> group_;
  std::atomic<int> tid_{0};  // changes once, when a non-leader execs
  const int64_t start_ns_;
  auth::Uid counted_uid_ = 0;  // whose process it counts as (RLIMIT_NPROC)

  arch::Registers registers_{};
  std::unique_ptr<platform::GuestThread> thread_;  // replaced under signal and info_mutex_
  RefPtr<mm::MemoryManager> mm_;
  RefPtr<FdTable> fd_table_;
  RefPtr<FsContext> fs_;

  // Guards what other threads read, and changes of mm_, fd_table_, fs_ and thread_ (the fiber
  // itself reads those without it).
  mutable Mutex info_mutex_;
  auth::CredsRef creds_ ABSL_GUARDED_BY(info_mutex_);
  std::string comm_ ABSL_GUARDED_BY(info_mutex_);
  NamespacesRef namespaces_ ABSL_GUARDED_BY(info_mutex_);
  RefPtr<vfs::FileDescription> executable_ ABSL_GUARDED_BY(info_mutex_);
  Scheduling scheduling_ ABSL_GUARDED_BY(info_mutex_);
  RefPtr<IpcNamespace> ipc_ ABSL_GUARDED_BY(info_mutex_);
  RefPtr<SemUndoList> sem_undo_;

  std::atomic<sched::Fiber*> fiber_{nullptr};  // set to null under signal before the fiber ends
  std::atomic<uint32_t> work_{0};
  std::atomic<uint32_t> held_{0};        // Held bits; changed under signal
  std::atomic<uint32_t> parked_for_{0};  // the Work bits that end the current park
  // Of the last park: six arguments, rsp, rip.
  std::array<std::atomic<uint64_t>, 8> parked_registers_{};
  std::atomic<bool> in_guest_{false};

  PendingSignals pending_;     // signal
  SigSet wait_for_ = 0;        // signal: rt_sigtimedwait's set
  bool exited_ = false;        // tasks
  bool stop_reached_ = false;  // signal
  bool reaped_ = false;        // tasks: no longer in the pid table
  bool exiting_ = false;       // Exit() was called
  int exit_status_ = 0;
  std::optional<SigSet> saved_mask_;  // of SetTemporarySignalMask
  RestartBlock restart_block_;
  struct FirstExec;  // what a process made by the Kernel begins with
  std::unique_ptr<FirstExec> first_exec_;
  sched::WaitQueue signal_events_;
  std::unique_ptr<TraceState> trace_;  // tasks; made once
  std::atomic<bool> traced_{false};

  // vfork: the parent waits on it until the child lets go of the memory.
  struct VforkWait : RefCounted<VforkWait> {
    std::atomic<bool> done{false};
    sched::WaitQueue queue;
  };
  RefPtr<VforkWait> vfork_;  // signal

  // Of the last fault, for the guest's sigcontext.
  uint64_t fault_error_ = 0, fault_trap_ = 0, fault_address_ = 0;

  // Accounting: time stamp counter ticks in the sentry, nanoseconds of replaced guest threads.
  std::atomic<int64_t> system_ticks_{0};
  uint64_t charged_from_ = 0;
  std::atomic<int64_t> guest_ns_before_exec_{0};
  std::atomic<int64_t> voluntary_switches_{0};
};

}  // namespace msentry::kernel
