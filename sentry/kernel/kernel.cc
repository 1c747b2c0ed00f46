#include "sentry/kernel/kernel.h"

#include <sched.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "sentry/base/log.h"
#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/job_control.h"
#include "sentry/mm/populate.h"
#include "vfs/file_description.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::kernel {
namespace {

uint64_t RandomWord() {
  uint64_t word = 0;
  if (getrandom(&word, sizeof(word), 0) != sizeof(word)) word = __rdtsc();
  return word;
}

std::string RandomUuid() {
  const uint64_t a = RandomWord(), b = RandomWord();
  char text[40];
  snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", static_cast<uint32_t>(a >> 32),
           static_cast<uint32_t>(a >> 16 & 0xffff), static_cast<uint32_t>(a & 0xfff),
           static_cast<uint32_t>(0x8000 | (b >> 48 & 0x3fff)),
           static_cast<unsigned long long>(b & 0xffffffffffff));
  return text;
}

int64_t RealtimeSeconds() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec;
}

// CPUs this process may run on.
int HostCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

std::unique_ptr<Kernel> Kernel::Create(sched::Scheduler& scheduler, platform::Platform& platform,
                                       vfs::Vfs& vfs, Options options) {
  CHECK(options.dispatch != nullptr);
  if (options.cpus <= 0) options.cpus = HostCpus();
  mm::SetSignalCheck([] {
    const Task* task = Task::Current();
    return task != nullptr && task->Interrupted();
  });
  return std::unique_ptr<Kernel>(new Kernel(scheduler, platform, vfs, std::move(options)));
}

Kernel::Kernel(sched::Scheduler& scheduler, platform::Platform& platform, vfs::Vfs& vfs,
               Options options)
    : scheduler_(scheduler),
      platform_(platform),
      vfs_(&vfs),
      options_(std::move(options)),
      boot_ns_(sched::NowNs()),
      boot_realtime_s_(RealtimeSeconds()),
      boot_tsc_(__rdtsc()),
      boot_id_(RandomUuid()),
      dmesg_(RandomWord()),
      cgroups_(
          {.path = options_.cgroup_path,
           .cpus = options_.cpus,
           .max_pids = options_.max_pids,
           .memory_bytes = options_.memory_bytes > 0 ? options_.memory_bytes : cgroup::kNoLimit,
           .cpu_quota_us = options_.cpu_quota_us}),
      cgroup_control_(*this),
      resources_(*this),
      initial_(MakeRef<Namespaces>()),
      ipc_(MakeRef<IpcNamespace>()),
      job_control_(std::make_unique<JobControlImpl>(*this)),
      load_at_ns_(boot_ns_),
      load_timer_(std::make_unique<sched::Timer>(scheduler, [this] { SampleLoad(); })) {
  initial_->uts =
      MakeRef<UtsNamespace>(kInitialUtsNamespace, options_.hostname, options_.domainname);
  initial_->cgroup = MakeRef<CgroupNamespace>(kInitialCgroupNamespace, nullptr);
  vfs.SetDeviceGate(
      [this](const vfs::OpContext& ctx, uint32_t type, uint64_t rdev, int mask) -> Result<> {
        if (ctx.task == nullptr) return Ok();
        uint8_t access = mask == 0 ? cgroup::kDeviceMknod : 0;
        if (mask & vfs::kMayRead) access |= cgroup::kDeviceRead;
        if (mask & vfs::kMayWrite) access |= cgroup::kDeviceWrite;
        return cgroups_.CheckDevice(static_cast<Task*>(ctx.task)->cgroup, S_ISBLK(type) ? 'b' : 'c',
                                    vfs::DevMajor(rdev), vfs::DevMinor(rdev), access);
      });
}

Kernel::~Kernel() = default;

RefPtr<IpcNamespace> Kernel::ipc() const { return ipc_; }

vfs::JobControl& Kernel::job_control() { return *job_control_; }

void Kernel::SetRoot(RefPtr<vfs::MountNamespace> mounts, vfs::Location root) {
  mounts->set_number(kInitialMountNamespace);
  initial_->mounts = std::move(mounts);
  root_ = std::move(root);
}

RefPtr<Task> Kernel::FindTask(int tid) {
  MutexLock lock(tasks_mutex_);
  return RefPtr<Task>(pids_.FindTask(tid));
}

RefPtr<ThreadGroup> Kernel::FindThreadGroup(int tgid) {
  MutexLock lock(tasks_mutex_);
  return RefPtr<ThreadGroup>(pids_.FindThreadGroup(tgid));
}

std::vector<int> Kernel::ThreadGroupIds() {
  MutexLock lock(tasks_mutex_);
  std::vector<int> ids;
  for (const auto& [pid, entry] : pids_.entries()) {
    if (entry.task != nullptr && entry.task->tgid() == pid) ids.push_back(pid);
  }
  return ids;
}

std::vector<int> Kernel::TaskIds(int tgid) {
  MutexLock lock(tasks_mutex_);
  std::vector<int> ids;
  ThreadGroup* group = pids_.FindThreadGroup(tgid);
  if (group == nullptr) return ids;
  for (Task* task : group->tasks) ids.push_back(task->tid());
  if (std::find(ids.begin(), ids.end(), tgid) == ids.end()) ids.push_back(tgid);  // a zombie leader
  std::sort(ids.begin(), ids.end());
  return ids;
}

void Kernel::ForEachLiveTask(absl::FunctionRef<void(Task&)> visit) {
  MutexLock lock(tasks_mutex_);
  for (const auto& [pid, entry] : pids_.entries()) {
    if (entry.task != nullptr && !entry.task->exited_) visit(*entry.task);
  }
}

bool Kernel::ReserveTask() {
  MutexLock lock(tasks_mutex_);
  return live_tasks_ < options_.max_pids && !shutting_down_;
}

int64_t Kernel::TicksToNs(int64_t ticks) const {
  const double elapsed_ticks = static_cast<double>(__rdtsc() - boot_tsc_);
  if (elapsed_ticks <= 0) return 0;
  return static_cast<int64_t>(static_cast<double>(ticks) *
                              (static_cast<double>(uptime_ns()) / elapsed_ticks));
}

Usage Kernel::TotalUsage() {
  Usage total;
  total.user_ns = dead_user_ns.load(std::memory_order_relaxed);
  total.system_ns = dead_system_ns.load(std::memory_order_relaxed);
  MutexLock lock(tasks_mutex_);
  for (const auto& [pid, entry] : pids_.entries()) {
    if (entry.task != nullptr && !entry.task->exited_) total.Add(entry.task->GetUsage());
  }
  return total;
}

void Kernel::SignalInit(int signo) {
  RefPtr<ThreadGroup> init;
  {
    MutexLock lock(tasks_mutex_);
    if (init_ != nullptr) init = RefPtr<ThreadGroup>(init_);
  }
  if (init) (void)Task::SendGroupSignal(*init, KernelSignal(signo));
}

// A process without memory yet: its fiber begins with an execve.
Result<RefPtr<Task>> Kernel::MakeProcess(InitArgs& args) {
  auto group = MakeRef<ThreadGroup>(*this, MakeRef<SignalHandlers>(), MakeRef<Limits>());
  auto task = RefPtr<Task>::Adopt(new Task(*this, group));
  task->fd_table_ = args.fds ? std::move(args.fds) : MakeRef<FdTable>();
  task->fd_table_->AddUser();
  task->fs_ = MakeRef<FsContext>(root_, root_, args.umask);
  {
    MutexLock lock(task->info_mutex_);
    task->creds_ = args.creds ? args.creds : auth::CredsRef(MakeRef<auth::Credentials>());
    task->comm_ = "init";
    task->namespaces_ = initial_;
    task->ipc_ = ipc_;
    task->scheduling_.affinity.assign((options_.cpus + 63) / 64, 0);
    for (int cpu = 0; cpu < options_.cpus; ++cpu) {
      task->scheduling_.affinity[cpu / 64] |= uint64_t{1} << cpu % 64;
    }
    task->counted_uid_ = task->creds_->uid;
    (void)users_.AddProcess(task->counted_uid_, kUnlimited);
  }
  MutexLock lock(tasks_mutex_);
  if (shutting_down_) return Errno::kESRCH;
  const int pid = TRY(pids_.Allocate());
  task->tid_.store(pid);
  group->tgid_ = pid;
  group->leader = task.get();
  group->tasks.push_back(task.get());
  group->live_tasks.store(1);
  pids_.SetTask(pid, task);
  ++live_tasks_;
  cgroups_.Admit(&task->cgroup);
  if (init_ != nullptr && args.orphan) {
    group->exit_signal = 0;
  } else if (init_ != nullptr) {
    group->parent = init_;
    group->parent_task = init_->leader;
    init_->children.push_back(group.get());
  } else {
    init_ = group.get();
    init_task_ = task;
  }
  auto session = MakeRef<Session>(pid);
  session->leader = group.get();
  JoinProcessGroupLocked(*group, MakeRef<ProcessGroup>(pid, std::move(session)));
  if (args.terminal != nullptr && args.terminal->session.load() == 0) {
    job_control_->AttachLocked(*group, *args.terminal);
  }
  return task;
}

void Kernel::StartInit(InitArgs args, absl::AnyInvocable<void(Result<>)> on_loaded) {
  CHECK(init_ == nullptr);
  RefPtr<Task> task = MUST(MakeProcess(args));
  if (options_.memory_bytes > 0 || options_.cpu_quota_us >= 0) resources_.LimitsChanged();
  task->first_exec_ = std::make_unique<Task::FirstExec>();
  task->first_exec_->args = std::move(args);
  task->first_exec_->on_loaded = [loaded = std::move(on_loaded)](Result<int> result) mutable {
    if (!loaded) return;
    if (result.ok()) {
      loaded(Ok());
    } else {
      loaded(result.error());
    }
  };
  task->Start();
}

void Kernel::StartProcess(InitArgs args, absl::AnyInvocable<void(Result<int>)> on_loaded,
                          absl::AnyInvocable<void(int)> on_end) {
  Result<RefPtr<Task>> made = MakeProcess(args);
  if (!made.ok()) {
    on_loaded(made.error());
    return;
  }
  RefPtr<Task> task = std::move(made).value();
  task->group_->on_end_ = std::move(on_end);
  task->first_exec_ = std::make_unique<Task::FirstExec>();
  task->first_exec_->args = std::move(args);
  task->first_exec_->on_loaded = std::move(on_loaded);
  task->Start();
}

}  // namespace msentry::kernel
