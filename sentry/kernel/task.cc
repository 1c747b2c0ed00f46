#include "sentry/kernel/task.h"

#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/trace.h"
#include "vfs/file_description.h"
#include "vfs/inode.h"
#include "vfs/locks.h"

namespace msentry::kernel {

Task::Task(Kernel& kernel, RefPtr<ThreadGroup> group)
    : kernel_(kernel), group_(std::move(group)), start_ns_(sched::NowNs()) {}
Task::~Task() = default;

int Task::ParentTgid() {
  MutexLock lock(kernel_.tasks_mutex());
  return group_->parent != nullptr ? group_->parent->tgid() : 0;
}

std::string Task::comm() const {
  MutexLock lock(info_mutex_);
  return comm_;
}

void Task::set_comm(std::string_view name) {
  constexpr size_t kCommMax = 15;
  std::string comm(name.substr(0, kCommMax));
  MutexLock lock(info_mutex_);
  comm_.swap(comm);
}

auth::CredsRef Task::creds() const {
  MutexLock lock(info_mutex_);
  return creds_;
}

void Task::SetCreds(auth::CredsRef creds) {
  {
    MutexLock lock(info_mutex_);
    creds_.swap(creds);
  }
  PublishIdentity();
}

void Task::PublishIdentity() {
  const auth::CredsRef creds = this->creds();
  thread_->EnableShortcuts(kernel_.options().shortcuts && !traced());
  thread_->PublishIdentity({.tgid = tgid(),
                            .tid = tid(),
                            .uid = creds->uid,
                            .euid = creds->euid,
                            .gid = creds->gid,
                            .egid = creds->egid});
}

RefPtr<FdTable> Task::fd_table_ref() const {
  MutexLock lock(info_mutex_);
  return fd_table_;
}

RefPtr<FsContext> Task::fs_ref() const {
  MutexLock lock(info_mutex_);
  return fs_;
}

RefPtr<mm::MemoryManager> Task::mm_ref() const {
  MutexLock lock(info_mutex_);
  return mm_;
}

RefPtr<vfs::FileDescription> Task::executable() const {
  MutexLock lock(info_mutex_);
  return executable_;
}

// Without the lock, which the annotations ask for: only this fiber replaces creds_.
const auth::Credentials& Task::OwnCreds() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return *creds_; }

vfs::OpContext Task::FileContext() {
  // The reference holds for the call: only this fiber replaces creds_.
  vfs::OpContext context(kernel_.vfs(), OwnCreds());
  context.umask = fs_->umask();
  context.fsize_limit = group_->limits().Soft(RLIMIT_FSIZE);
  context.tgid = tgid();
  context.tid = tid();
  context.task = this;
  return context;
}

Result<RefPtr<vfs::FileDescription>> Task::GetFile(int fd, bool path_only_too) {
  RefPtr<vfs::FileDescription> file = TRY(fd_table_->Get(fd));
  if (!path_only_too && file->is_path_only()) return Errno::kEBADF;
  return file;
}

Result<int> Task::InstallFile(RefPtr<vfs::FileDescription> file, bool close_on_exec) {
  return fd_table_->Install(std::move(file), {.close_on_exec = close_on_exec,
                                              .limit = group_->limits().Soft(RLIMIT_NOFILE)});
}

Result<> Task::CloseFile(RefPtr<vfs::FileDescription> file) {
  const vfs::OpContext context = FileContext();
  Result<> flushed = file->Flush(context);
  if (vfs::FileLocks* locks = file->inode().locks_if_any()) {
    locks->DropOwner({.key = fd_table_.get(), .pid = tgid()});
  }
  return flushed;
}

void Task::UnshareFdTable() {
  if (!fd_table_->shared()) return;
  RefPtr<FdTable> copy = fd_table_->Copy();
  copy->AddUser();
  {
    MutexLock lock(info_mutex_);
    fd_table_.swap(copy);
  }
  // The others may have gone meanwhile: the last user closes.
  if (copy->RemoveUser()) {
    copy->CloseAll([&](RefPtr<vfs::FileDescription> file) { (void)CloseFile(std::move(file)); });
  }
}

void Task::UnshareFs() {
  RefPtr<FsContext> copy = fs_->Copy();
  MutexLock lock(info_mutex_);
  fs_.swap(copy);
}

mm::MemoryLimits Task::memory_limits() {
  Limits& limits = group_->limits();
  return {.address_space = limits.Soft(RLIMIT_AS),
          .data = limits.Soft(RLIMIT_DATA),
          .stack = limits.Soft(RLIMIT_STACK),
          .locked = limits.Soft(RLIMIT_MEMLOCK),
          .may_lock_any = HasCap(auth::Cap::kIpcLock)};
}

Task::Scheduling Task::scheduling() const {
  MutexLock lock(info_mutex_);
  return scheduling_;
}

void Task::SetScheduling(Scheduling scheduling) {
  MutexLock lock(info_mutex_);
  std::swap(scheduling_, scheduling);
}

int64_t Task::UserNs() {
  const int64_t before = guest_ns_before_exec_.load(std::memory_order_relaxed);
  MutexLock lock(info_mutex_);
  return before + (thread_ ? thread_->cpu_time_ns() : 0);
}

int64_t Task::SystemNs() {
  return kernel_.TicksToNs(system_ticks_.load(std::memory_order_relaxed));
}

Usage Task::GetUsage() {
  Usage usage;
  usage.user_ns = UserNs();
  usage.system_ns = SystemNs();
  usage.voluntary_switches = voluntary_switches_.load(std::memory_order_relaxed);
  return usage;
}

std::optional<Task::Sleep> Task::GetSleep() const {
  if (parked_for_.load(std::memory_order_acquire) == 0) return std::nullopt;
  Sleep sleep;
  sleep.syscall = current_syscall.load(std::memory_order_relaxed);
  for (size_t i = 0; i < sleep.args.size(); ++i) {
    sleep.args[i] = parked_registers_[i].load(std::memory_order_relaxed);
  }
  sleep.sp = parked_registers_[6].load(std::memory_order_relaxed);
  sleep.ip = parked_registers_[7].load(std::memory_order_relaxed);
  return sleep;
}

char Task::StateLetter() {
  MutexLock lock(kernel_.tasks_mutex());
  if (exited_) return 'Z';
  if (trace_ && trace_->stopped) return 't';
  MutexLock signal_lock(group_->signal_mutex());
  if (stop_reached_ && group_->stopped) return 'T';
  const uint32_t parked = parked_for_.load(std::memory_order_relaxed);
  if (parked == 0) return 'R';
  return parked & kWorkSignal ? 'S' : 'D';
}

}  // namespace msentry::kernel
