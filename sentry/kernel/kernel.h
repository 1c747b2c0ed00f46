// Kernel: what there is one of per sandbox: pid tables, clocks, names, the log, limits.
//
//   auto kernel = TRY(Kernel::Create(*scheduler, *platform, options));
//   kernel->SetRoot(namespace, root);                       // once file systems are mounted
//   TRY(kernel->StartInit({.path = "/bin/bash", .argv = ..., ...}));
//   scheduler->Run();                                       // until init has ended
//   int status = kernel->init_status();
//
// Lock order of this layer, outer first: tasks_mutex() → ThreadGroup::signal_mutex() →
// SignalHandlers, Task::info_mutex_, FdTable, FsContext, Limits, Dmesg, Cgroups::mutex(). None is
// held across a park or a copy. ProcessTimers' lock comes before tasks_mutex().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "platform/platform.h"
#include "sentry/auth/credentials.h"
#include "sentry/cgroup/cgroups.h"
#include "sentry/kernel/cgroup_control.h"
#include "sentry/kernel/dmesg.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/limits.h"
#include "sentry/kernel/pid_table.h"
#include "sentry/kernel/resource_control.h"
#include "sentry/kernel/sysctl.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"
#include "vfs/context.h"
#include "vfs/job_control.h"
#include "vfs/location.h"
#include "vfs/mount_namespace.h"

namespace msentry::kernel {

// Carries out the call in `registers` and leaves its result, or -errno (restart codes included), in
// rax. syscalls::Dispatch; the kernel may not include that layer.
using SyscallDispatcher = void (*)(Task& task, arch::Registers& registers);

class Kernel {
 public:
  struct Options {
    SyscallDispatcher dispatch = nullptr;
    std::string hostname = "msentry";
    std::string domainname = "(none)";
    int cpus = 0;                  // what the guest sees; 0: the host's count
    int64_t memory_bytes = 0;      // memory limit, which the guest sees as MemTotal; 0: the host's
    int64_t max_pids = 32768;      // tasks alive at once
    int64_t memory_to_report = 0;  // what it sees instead; 0: nothing else
    int64_t cpu_quota_us = -1;     // of 100 ms, over all CPUs
    std::string cgroup_path = "/msentry";  // of the sandbox's group in every hierarchy
    std::string platform_name;             // shown nowhere but in the log
    bool shortcuts = true;  // stubs may answer calls themselves; --strace has to see them all
  };
  struct InitArgs {
    std::string path;  // absolute, or searched in PATH of envp when without a slash
    std::vector<std::string> argv, envp;
    std::string cwd = "/";
    auth::CredsRef creds;
    uint32_t umask = 022;
    RefPtr<FdTable> fds;                // 0, 1, 2
    vfs::Terminal* terminal = nullptr;  // becomes the controlling terminal of init's session
    bool new_session = true;
    bool orphan = false;  // nobody's child: reaped at its end by itself
  };

  static std::unique_ptr<Kernel> Create(sched::Scheduler& scheduler, platform::Platform& platform,
                                        vfs::Vfs& vfs, Options options);
  ~Kernel();

  // The shared state of all file operations (caches, devices); boot may register devices with it.
  vfs::Vfs& vfs() { return *vfs_; }
  // The initial mount namespace's root.
  void SetRoot(RefPtr<vfs::MountNamespace> mounts, vfs::Location root);
  RefPtr<vfs::MountNamespace> mounts() const { return initial_->mounts; }
  NamespacesRef initial_namespaces() const { return initial_; }
  vfs::Location root() const { return root_; }

  // Creates init (pid 1) and loads its program on a fiber. `on_loaded` is called there with the
  // result of execve: on an error init ends at once with status 127 << 8 (and the kernel with it).
  void StartInit(InitArgs args, absl::AnyInvocable<void(Result<>)> on_loaded);
  // Another process in the sandbox, a child of init (exec into a running sandbox). `on_end` gets
  // its wait status.
  void StartProcess(InitArgs args, absl::AnyInvocable<void(Result<int>)> on_loaded,
                    absl::AnyInvocable<void(int)> on_end);

  // Runs when init has ended and every other task is gone. Stops the scheduler by default.
  void set_on_end(absl::AnyInvocable<void(int status)> on_end) { on_end_ = std::move(on_end); }
  // Wait status of init (wait(2) format); valid after the end.
  int init_status() const { return init_status_.load(); }
  // Kills everything (any thread): --timeout, SIGTERM to msentry. The status of init then is
  // `signo`.
  void KillAll(int signo);
  // A signal for init (any thread).
  void SignalInit(int signo);

  sched::Scheduler& scheduler() { return scheduler_; }
  platform::Platform& platform() { return platform_; }
  const Options& options() const { return options_; }
  Mutex& tasks_mutex() ABSL_LOCK_RETURNED(tasks_mutex_) { return tasks_mutex_; }
  PidTable& pids() { return pids_; }  // guarded by tasks_mutex()
  FutexManager& futexes() { return futexes_; }
  UserUsage& users() { return users_; }
  Dmesg& dmesg() { return dmesg_; }
  cgroup::Cgroups& cgroups() { return cgroups_; }
  CgroupControl& cgroup_control() { return cgroup_control_; }
  // A kernel message (dmesg.h), stamped now.
  void Print(int priority, std::string_view text) { dmesg_.Append(uptime_ns(), priority, text); }
  SysctlStore& sysctls() { return sysctls_; }
  // Those that tasks obey.
  std::atomic<int> randomize_va_space{2}, suid_dumpable{0}, exception_trace{1};
  ResourceControl& resources() { return resources_; }
  vfs::JobControl& job_control();
  // The first ipc namespace: what init has.
  RefPtr<IpcNamespace> ipc() const;

  // --- look-ups; take tasks_mutex() and return references ---
  RefPtr<Task> FindTask(int tid);
  RefPtr<ThreadGroup> FindThreadGroup(int tgid);
  // tgids, or the tids of one group, ascending: /proc.
  std::vector<int> ThreadGroupIds();
  std::vector<int> TaskIds(int tgid);
  // Every task that has not exited, under tasks_mutex(), which is held during the visits.
  void ForEachLiveTask(absl::FunctionRef<void(Task&)> visit);

  // --- facts ---
  int cpus() const { return options_.cpus; }
  int64_t boot_ns() const { return boot_ns_; }  // sched::NowNs() at boot
  int64_t uptime_ns() const { return sched::NowNs() - boot_ns_; }
  int64_t boot_realtime_s() const { return boot_realtime_s_; }
  // Time stamp counter ticks as nanoseconds, by what was measured since boot.
  int64_t TicksToNs(int64_t ticks) const;
  // 16 bytes chosen at boot: /proc/sys/kernel/random/boot_id.
  std::string boot_id() const { return boot_id_; }
  static constexpr const char* kRelease = "4.4.0";
  static constexpr const char* kVersion = "#1 SMP Sun Jan 10 15:06:54 PST 2016";
  // Tasks runnable now, and the three load averages of them in 1/2048 (FSHIFT 11).
  int running_tasks() const { return running_.load(std::memory_order_seq_cst); }
  struct LoadAverage {
    uint64_t one, five, fifteen;
  };
  LoadAverage load_average();
  // A task became runnable: the load is sampled again, if it was not (load.cc).
  void NoticeActivity() {
    if (load_asleep_.load(std::memory_order_relaxed)) [[unlikely]]
      WakeLoadSampler();
  }
  // Processes created since boot, context switches: /proc/stat.
  std::atomic<uint64_t> forks{0}, context_switches{0};
  std::atomic<uint32_t> audit_sessions{0};  // /proc/PID/sessionid
  // Bytes, of this sandbox. `total` is its limit, or the host's memory when there is none. Asks the
  // host for every address space, so an answer serves others for a while (memory_figures.cc); takes
  // tasks_mutex().
  struct MemoryFigures {
    uint64_t total = 0, free = 0, available = 0;
    uint64_t anonymous = 0;  // of processes
    uint64_t mapped = 0;     // of files and shared memory, in the process that has most
    uint64_t shared = 0;     // tmpfs, memfd, shared memory
    uint64_t cached = 0;     // pages of files, `shared` among them
    uint64_t locked = 0, committed = 0;
    uint64_t Used() const { return anonymous + cached; }
  };
  MemoryFigures memory_figures();
  uint64_t memory_total() const;
  // CPU time of all tasks, dead ones included; takes tasks_mutex().
  Usage TotalUsage();
  std::atomic<int64_t> dead_user_ns{0}, dead_system_ns{0};
  std::atomic<uint64_t> dead_minor_faults{0}, dead_major_faults{0}, dead_storage_written{0};

  // Signals to many: kill(2) with pid <= 0. `sender` null: the kernel itself.
  Result<> SignalProcessGroup(int pgid, const SigInfo& info, Task* sender);
  Result<> SignalEveryone(const SigInfo& info, Task* sender);

  // setsid(2), setpgid(2), getpgid(2), getsid(2).
  Result<int64_t> SetSid(Task& task);
  Result<> SetPgid(Task& task, int pid, int pgid);
  Result<int64_t> GetPgid(Task& task, int pid);
  Result<int64_t> GetSid(Task& task, int pid);

 private:
  friend class Task;
  friend class ThreadGroup;
  class JobControlImpl;
  friend class JobControlImpl;

  Kernel(sched::Scheduler& scheduler, platform::Platform& platform, vfs::Vfs& vfs, Options options);

  // A signal to be sent, and a child event to be told, once tasks_mutex_ is released.
  struct Notice {
    RefPtr<ThreadGroup> group;
    SigInfo info;  // signo 0: none
    bool child_event = false;
  };
  bool ReserveTask();  // is there room for one more?
  // Names ending in Locked: tasks_mutex_ is held.
  void JoinProcessGroupLocked(ThreadGroup& group, RefPtr<ProcessGroup> to);
  // The caller keeps a reference to the old group: it may be the last.
  void LeaveProcessGroupLocked(ThreadGroup& group);
  // No member has a parent in another group of the session: nobody could continue it.
  bool OrphanedLocked(const ProcessGroup& group, const ThreadGroup* ignoring);
  void CheckOrphanedLocked(ThreadGroup& leaving, std::vector<Notice>* notices);
  void HangUpIfOrphanedLocked(ThreadGroup& member, const ThreadGroup& relative,
                              const ThreadGroup* ignoring, std::vector<Notice>* notices);
  void LeaveSessionLocked(ThreadGroup& group, std::vector<Notice>* notices);
  void NoticeGroupLocked(const ProcessGroup& group, int signo, std::vector<Notice>* notices);
  void Send(const std::vector<Notice>& notices);
  Result<> SignalTargets(const std::vector<RefPtr<Task>>& targets, const SigInfo& info,
                         Task* sender, const ProcessGroup* sender_group);
  RefPtr<Task> ReapLocked(ThreadGroup& group);
  SigInfo ChildSignalLocked(ThreadGroup& group);
  void NotifyParentLocked(ThreadGroup& group, std::vector<Notice>* notices,
                          std::vector<RefPtr<Task>>* reaped);
  void CollectDeathSignalsLocked(Task& task, std::vector<Notice>* notices);
  void EndGroupLocked(ThreadGroup& group, std::vector<Notice>* notices,
                      std::vector<RefPtr<Task>>* reaped, std::vector<RefPtr<ThreadGroup>>* kept);
  // trace_exit.cc
  bool TracedLocked(const Task& task) const;
  bool TracedByStrangerLocked(const Task& task) const;  // not by its parent
  void NoticeTracerLocked(Task& task, std::vector<Notice>* notices);
  // The tracer ends: its tracees are let go, or killed (PTRACE_O_EXITKILL).
  void ReleaseTraceesLocked(Task& tracer, std::vector<Notice>* notices,
                            std::vector<RefPtr<Task>>* reaped,
                            std::vector<RefPtr<ThreadGroup>>* kept,
                            std::vector<RefPtr<Task>>* released);
  // A tracee's end has been waited for, or nobody will. tasks_mutex_ is held.
  RefPtr<Task> ReleaseTraceeLocked(Task& tracee, std::vector<Notice>* notices,
                                   std::vector<RefPtr<Task>>* reaped);
  int EndStatusLocked(Task& task);
  // wait(2): reports a tracee of `waiter`'s tasks if there is something. What has to happen after
  // tasks_mutex_ is released is left in `wait`.
  struct TraceeWait {
    RefPtr<Task> released;
    RefPtr<ThreadGroup> group;
    RefPtr<ProcessGroup> process_group;
    std::vector<RefPtr<Task>> reaped;
    std::vector<Notice> notices;
  };
  bool ConsumeTraceeLocked(Task& tracee, ThreadGroup& waiter, int options, struct WaitStatus* out,
                           TraceeWait* wait);
  bool WaitForTracee(Task& task, const struct WaitArgs& args, struct WaitStatus* out, bool* any);
  void RetireTask(Task& task, const Usage& usage);
  void KillEverybody();
  void AfterExit();
  void WakeLoadSampler();
  void SampleLoad();
  MemoryFigures MeasureMemory();
  Result<RefPtr<Task>> MakeProcess(InitArgs& args);
  friend Result<struct WaitStatus> Wait(Task& task, const struct WaitArgs& args);

  sched::Scheduler& scheduler_;
  platform::Platform& platform_;
  vfs::Vfs* const vfs_;
  Options options_;
  const int64_t boot_ns_;
  const int64_t boot_realtime_s_;
  const uint64_t boot_tsc_;
  const std::string boot_id_;
  Mutex tasks_mutex_;
  PidTable pids_;
  FutexManager futexes_;
  UserUsage users_;
  Dmesg dmesg_;
  cgroup::Cgroups cgroups_;
  CgroupControl cgroup_control_;
  SysctlStore sysctls_;
  ResourceControl resources_;
  RefPtr<Namespaces> initial_;  // what init starts in; complete once SetRoot has been called
  vfs::Location root_;
  const RefPtr<IpcNamespace> ipc_;
  std::unique_ptr<JobControlImpl> job_control_;
  ThreadGroup* init_ = nullptr;                     // tasks; init_task_ keeps it
  RefPtr<Task> init_task_;                          // set once
  int live_tasks_ = 0;                              // tasks
  std::vector<vfs::Terminal*> released_terminals_;  // tasks; Send() drops them
  bool shutting_down_ = false;                      // tasks
  std::atomic<int> init_status_{0};
  std::atomic<int> running_{0};
  absl::AnyInvocable<void(int)> on_end_;

  std::atomic<bool> load_asleep_{true};
  Mutex load_mutex_;
  LoadAverage load_ ABSL_GUARDED_BY(load_mutex_){0, 0, 0};
  int64_t load_at_ns_ ABSL_GUARDED_BY(load_mutex_) = 0;      // the last sample
  uint64_t load_switches_ ABSL_GUARDED_BY(load_mutex_) = 0;  // context_switches then
  std::unique_ptr<sched::Timer> load_timer_;                 // armed unless load_asleep_
  Mutex memory_mutex_;
  MemoryFigures memory_ ABSL_GUARDED_BY(memory_mutex_);
  int64_t memory_valid_until_ ABSL_GUARDED_BY(memory_mutex_) = 0;
};

struct Task::FirstExec {
  Kernel::InitArgs args;
  absl::AnyInvocable<void(Result<int>)> on_loaded;  // the pid, or why not
};

}  // namespace msentry::kernel
