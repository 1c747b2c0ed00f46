// execve(2): a new program in an old task.
//
// The new address space is built beside the old one, so that everything that can fail fails while
// the old program can still be told.
#include "loader/loader.h"
#include "sentry/base/log.h"
#include "sentry/kernel/exec_creds.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"
#include "vfs/file_description.h"
#include "vfs/operations.h"

namespace msentry::kernel {
namespace {

constexpr uint32_t kAddrNoRandomize = 0x0040000;
constexpr uint32_t kPersonalityClearedBySetId = kAddrNoRandomize | 0x0100000 /*MMAP_PAGE_ZERO*/ |
                                                0x0200000 /*ADDR_COMPAT_LAYOUT*/ |
                                                0x0400000 /*READ_IMPLIES_EXEC*/;

// PATH entries tried for a program without a slash, as execvp(3) does.
std::vector<std::string> Candidates(const std::string& path, const std::vector<std::string>& envp) {
  if (path.find('/') != std::string::npos || path.empty()) return {path};
  std::string_view search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& variable : envp) {
    if (variable.starts_with("PATH=")) search = std::string_view(variable).substr(5);
  }
  std::vector<std::string> out;
  for (;;) {
    const size_t colon = search.find(':');
    const std::string_view dir = search.substr(0, colon);
    out.push_back(std::string(dir.empty() ? "." : dir) + "/" + path);
    if (colon == std::string_view::npos) return out;
    search.remove_prefix(colon + 1);
  }
}

}  // namespace

Result<> Task::RunFirstExec() {
  std::unique_ptr<FirstExec> first = std::exchange(first_exec_, nullptr);
  const Kernel::InitArgs& args = first->args;
  Result<int64_t> result = Errno::kENOENT;
  const vfs::Location root = fs_->root();
  Result<vfs::Location> cwd = Errno::kENOENT;
  {
    // As the working directory is inherited elsewhere: the program need not be able to reach it.
    auto powerful = MakeRef<auth::Credentials>();
    powerful->permitted = powerful->effective = auth::kAllCaps;
    const vfs::OpContext context(kernel_.vfs(), *powerful);
    cwd = vfs::ResolveDirectory({context, root, root}, args.cwd);
  }
  if (!cwd.ok()) {
    result = cwd.error();
  } else {
    fs_->set_cwd(*cwd);
    bool denied = false;
    for (const std::string& path : Candidates(args.path, args.envp)) {
      ExecArgs exec;
      exec.path = path;
      exec.at = *cwd;
      exec.argv = args.argv;
      exec.envp = args.envp;
      result = Exec(std::move(exec));
      if (result.ok()) break;
      const Errno error = result.error();
      denied |= error == Errno::kEACCES;
      if (error != Errno::kENOENT && error != Errno::kENOTDIR && error != Errno::kEACCES) break;
    }
    if (!result.ok() && denied) result = Errno::kEACCES;
  }
  if (!result.ok()) {
    if (first->on_loaded) first->on_loaded(result.error());
    return result.error();
  }
  if (first->on_loaded) first->on_loaded(tgid());
  return Ok();
}

Result<int64_t> Task::Exec(ExecArgs args) {
  const vfs::OpContext context = FileContext();
  const vfs::Location root = fs_->root();
  const vfs::Location cwd = fs_->cwd();
  uint32_t walk_flags = args.no_follow ? 0 : uint32_t{vfs::kWalkFollow};
  if (args.empty_path) walk_flags |= vfs::kWalkEmptyPath;
  RefPtr<vfs::FileDescription> file =
      TRY(vfs::OpenForExec({context, root, args.at}, args.path, walk_flags));

  // The name a script's interpreter is given: a path it can open again.
  std::string name = args.path;
  if (args.dirfd >= 0 && !name.starts_with('/')) {
    name = absl::StrCat("/dev/fd/", args.dirfd, name.empty() ? "" : "/", name);
  }
  const auto open = [&](std::string_view path) {
    return vfs::OpenForExec({context, root, cwd}, path, vfs::kWalkFollow);
  };
  const loader::Program program =
      TRY(loader::Prepare(context, std::move(file), name, std::move(args.argv), open));
  const ExecCreds creds = TRY(CredsForExec(context, *this, *program.executable));

  auto [space, thread] = TRY(kernel_.platform().NewProcess());
  const mm::MemoryLimits limits = memory_limits();
  RefPtr<mm::MemoryManager> memory = mm::MemoryManager::Create(
      std::move(space), mm::Layout::Choose((personality & kAddrNoRandomize) == 0 &&
                                               kernel_.randomize_va_space.load() > 0,
                                           limits.stack));
  loader::Environment environment;
  environment.envp = std::move(args.envp);
  environment.uid = creds.creds->uid;
  environment.euid = creds.creds->euid;
  environment.gid = creds.creds->gid;
  environment.egid = creds.creds->egid;
  environment.secure = creds.secure;
  environment.limits = limits;
  environment.vdso = kernel_.platform().vdso();
  environment.root = root;
  const loader::Entry entry = TRY(loader::Load(program, environment, *memory, *thread));

  // From here on there is no way back to the old program.
  const int old_tid = tid();
  TRY(KillSiblings());
  UnshareFdTable();
  if (group_->handlers()->ref_count() > 2) group_->set_handlers(group_->handlers()->Copy());
  group_->handlers()->ResetForExec();
  group_->timers().DeleteAll();
  if (thread_) LeaveMemory();
  robust_list = 0;
  clear_child_tid = 0;
  alt_stack = {0, SS_DISABLE, 0, 0};
  restart_block_ = nullptr;
  if (creds.secure) {
    parent_death_signal = 0;
    personality &= ~kPersonalityClearedBySetId;
  }
  set_comm(program.comm);
  memory->set_dumpable(creds.secure || !creds.readable ? kernel_.suid_dumpable.load() : 1);
  {
    MutexLock lock(kernel_.tasks_mutex());
    group_->executed = true;
    group_->exit_signal = SIGCHLD;
  }
  RefPtr<vfs::FileDescription> executable = program.executable;
  auth::CredsRef new_creds = creds.creds;
  {
    MutexLock lock(info_mutex_);
    executable_.swap(executable);
    creds_.swap(new_creds);
  }
  ReplaceImage(std::move(memory), std::move(thread));
  fd_table_->CloseOnExecFiles(
      [&](RefPtr<vfs::FileDescription> f) { (void)CloseFile(std::move(f)); });

  registers_ = arch::Registers{};
  registers_.rip = entry.instruction_pointer;
  registers_.rsp = entry.stack_pointer;
  registers_.eflags = 0x202;
  registers_.cs = 0x33;
  registers_.ss = 0x2b;
  registers_.orig_rax = ~uint64_t{0};
  if (traced()) TraceExec(old_tid);
  return 0;
}

// Swaps the memory and the guest thread; the old stub process ends when nobody else lives in it.
void Task::ReplaceImage(RefPtr<mm::MemoryManager> memory,
                        std::unique_ptr<platform::GuestThread> thread) {
  thread->set_signal_mask(thread_ ? signal_mask() : 0);
  if (thread_) {
    guest_ns_before_exec_.fetch_add(thread_->cpu_time_ns(), std::memory_order_relaxed);
    KeepHostFigures();
  }
  {
    MutexLock lock(group_->signal_mutex());
    MutexLock info_lock(info_mutex_);
    mm_.swap(memory);
    thread_.swap(thread);
  }
  PublishIdentity();
  {
    MutexLock lock(group_->signal_mutex());
    RecalculateLocked();
  }
  thread.reset();
  memory.Reset();
  ReleaseVfork();
}

// The other threads of the group die; this one becomes the leader. kEINTR when it is to die itself.
Result<> Task::KillSiblings() {
  {
    MutexLock lock(group_->signal_mutex());
    if (group_->exiting || (group_->exec_task != nullptr && group_->exec_task != this)) {
      return Errno::kEINTR;
    }
    if (group_->tasks.size() == 1 && group_->leader == this) return Ok();
    group_->exec_task = this;
    for (Task* task : group_->tasks) {
      if (task != this) task->KickLocked(kWorkKill);
    }
  }
  sched::Waiter waiter(sched::kIn, [fiber = fiber()](sched::EventMask) { sched::Unpark(fiber); });
  QueueGuard guard(group_->task_gone, &waiter);
  for (;;) {
    {
      MutexLock lock(group_->signal_mutex());
      if (group_->tasks.size() == 1) break;
    }
    if (BlockKillable() == Wake::kInterrupted) {
      MutexLock lock(group_->signal_mutex());
      group_->exec_task = nullptr;
      return Errno::kEINTR;
    }
  }
  TakeOverLeader();
  MutexLock lock(group_->signal_mutex());
  group_->exec_task = nullptr;
  return Ok();
}

// A non-leader that execs takes the leader's id; the leader is a zombie by now.
void Task::TakeOverLeader() {
  RefPtr<Task> old_leader, own_entry;  // dropped after the lock
  MutexLock lock(kernel_.tasks_mutex());
  if (group_->leader == this) return;
  const int old_tid = tid();
  old_leader = kernel_.pids_.RemoveTask(group_->tgid());
  old_leader->reaped_ = true;
  kernel_.cgroups_.Reap(&old_leader->cgroup);
  old_leader->UnlinkTracerLocked();
  own_entry = kernel_.pids_.RemoveTask(old_tid);
  tid_.store(group_->tgid());
  group_->leader = this;
  if (kernel_.init_ == group_.get()) kernel_.init_task_ = RefPtr<Task>(this);
  kernel_.pids_.SetTask(tid(), own_entry);
}

}  // namespace msentry::kernel
