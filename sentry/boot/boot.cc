#include "sentry/boot/boot.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "fsimpl/devpts/console.h"
#include "fsimpl/devpts/devpts.h"
#include "fsimpl/hostfd/host_fd_file.h"
#include "fsimpl/p9/p9.h"
#include "platform/platform.h"
#include "procfs/proc_fs.h"
#include "sentry/base/log.h"
#include "sentry/boot/client_channel.h"
#include "sentry/boot/confine.h"
#include "sentry/boot/crash.h"
#include "sentry/boot/filter.h"
#include "sentry/boot/mounts.h"
#include "sentry/cgroup/cgroups.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/host_proc.h"
#include "sentry/sched/scheduler.h"
#include "sentry/syscalls/dispatch.h"
#include "sentry/syscalls/table.h"
#include "vfs/operations.h"
#include "vfs/vfs.h"

namespace msentry::boot {
namespace {

constexpr uint64_t kGuestFdLimit = 1024;
constexpr int kCannotRun = 126, kNotFound = 127, kOwnFailure = 125;

// Every donated file and memfd is a descriptor.
void RaiseFdLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1 << 20);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// --pids, and what the host's limit on mappings leaves: a guest thread is a fiber, whose stack is
// two of ours with the guard page, and its process's slots are one more.
int LimitTasks(int wanted) {
  int64_t mappings = 65530;  // the kernel's default
  ScopedFd fd(open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC));
  char text[32] = {};
  if (fd && read(fd.get(), text, sizeof text - 1) > 0) mappings = strtoll(text, nullptr, 10);
  constexpr int64_t kOwn = 4096;
  const int64_t room = std::max<int64_t>((mappings - kOwn) / 3, 64);
  return static_cast<int>(std::min<int64_t>(wanted, room));
}

// --cpus: we and every stub run on the first `cpus` of those we may use. Returns how many there
// are.
int LimitCpus(uint32_t cpus) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int allowed = std::max(1, CPU_COUNT(&set));
  if (cpus == 0 || static_cast<int>(cpus) >= allowed) return allowed;
  cpu_set_t first;
  CPU_ZERO(&first);
  for (int cpu = 0, taken = 0; cpu < CPU_SETSIZE && taken < static_cast<int>(cpus); cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    CPU_SET(cpu, &first);
    taken++;
  }
  sched_setaffinity(0, sizeof first, &first);
  return static_cast<int>(cpus);
}

auth::CredsRef GuestCredentials(const control::User& user) {
  auto creds = MakeRef<auth::Credentials>();
  creds->uid = creds->euid = creds->suid = creds->fsuid = user.uid();
  creds->gid = creds->egid = creds->sgid = creds->fsgid = user.gid();
  creds->groups.assign(user.groups().begin(), user.groups().end());
  std::sort(creds->groups.begin(), creds->groups.end());
  if (user.uid() == 0) creds->permitted = creds->effective = auth::kAllCaps;
  return creds;
}

class Sentry {
 public:
  explicit Sentry(Handoff handoff)
      : config_(std::move(handoff.config)),
        own_namespaces_(handoff.own_namespaces),
        host_root_(handoff.host_root),
        gofer_(std::move(handoff.gofer)),
        console_stream_(std::move(handoff.console)),
        client_(std::move(handoff.control)) {
    for (int i = 0; i < 3; i++) host_stdio_[i] = std::move(handoff.stdio[i]);
  }

  int Run() {
    if (!Prepare()) return kOwnFailure;
    scheduler_->Spawn("boot", [this] { Boot(); });
    scheduler_->Run();
    if (console_) console_->Drain();
    p9::Settle();
    if (!failed_) client_.SendExited(kernel_->init_status(), OutOfMemory());
    // The gofer takes its private mounts down while the kernel takes ours and the stubs.
    shutdown(gofer_number_, SHUT_RDWR);
    return 0;
  }

 private:
  bool OutOfMemory() {
    cgroup::Cgroups& cgroups = kernel_->cgroups();
    RefPtr<cgroup::Hierarchy> memory = cgroups.HierarchyOf(cgroup::Kind::kMemory);
    if (!memory) return false;
    RefPtr<cgroup::Group> group = cgroups.SandboxGroup(*memory);
    MutexLock lock(cgroups.mutex());
    return group->memory.oom_kills > 0;
  }
  bool Fail(const std::string& what) {
    client_.SendFailed(what, kOwnFailure);
    failed_ = true;
    return false;
  }
  bool Check(const std::string& what, const Result<>& result) {
    return result.ok() || Fail(what + ": " + strerror(static_cast<int>(result.error())));
  }

  // Everything that needs the host's files or our privileges; ends confined.
  bool Prepare() {
    signal(SIGPIPE, SIG_IGN);
    RaiseFdLimit();
    max_tasks_ = LimitTasks(static_cast<int>(config_.pids()));
    int cpus = LimitCpus(config_.cpus());
    facts_ = procfs::ReadHostFacts();
    if (!config_.cpu_model_name().empty()) facts_.model_name = config_.cpu_model_name();
    facts_.shown_vendor = config_.cpu_vendor();
    facts_.hidden_flags.assign(config_.hidden_cpu_flags().begin(),
                               config_.hidden_cpu_flags().end());
    auto scheduler = sched::Scheduler::Create(
        {.workers = std::clamp(cpus, 2, 8), .spin_ns = cpus > 1 ? 50'000 : 0});
    if (!scheduler.ok()) return Check("scheduler", scheduler.error());
    scheduler_ = std::move(scheduler).value();
    if (!WrapStdio()) return false;
    if (own_namespaces_ && !Check("mount namespace", EnterOwnMounts())) return false;
    if (host_root_ && !Check("host user", BecomeNobody())) return false;
    auto proc = OpenHostProc(own_namespaces_);
    if (!proc.ok()) return Check("/proc of the host", proc.error());
    const int proc_fd = proc->get();
    if (!own_namespaces_) {
      Result<> restricted = RestrictToProc(proc_fd);
      if (!restricted.ok()) {
        LogWarning(
            "without namespaces and Landlock, a broken-into sentry can open files as its user");
      }
    }
    mm::host_proc::SetDirectory(std::move(proc).value());
    if (!MakeKernel(cpus)) return false;
    if (own_namespaces_ && !Check("empty root", LeaveHostFiles())) return false;
    return Check("capabilities", DropCapabilities()) &&
           Check("system call filter", InstallFilter(platform_->kind(), proc_fd));
  }

  bool MakeKernel(int cpus) {
    platform::Options options{.kind = config_.platform() == control::PTRACE
                                          ? platform::Kind::kPtrace
                                          : platform::Kind::kSystrap,
                              .strict_gate = config_.strict_gate(),
                              .arg_specs = syscalls::ArgSpecs()};
    std::string why;
    auto platform = platform::Platform::Create(*scheduler_, options, &why);
    if (!platform.ok()) {
      return Fail(why.empty()
                      ? std::string("platform: ") + strerror(static_cast<int>(platform.error()))
                      : why);
    }
    platform_ = std::move(platform).value();
    kernel_ = kernel::Kernel::Create(
        *scheduler_, *platform_, vfs_,
        {.dispatch = syscalls::Dispatch,
         .hostname = config_.hostname(),
         .cpus = cpus,
         .memory_bytes = static_cast<int64_t>(config_.memory_bytes()),
         .max_pids = max_tasks_,
         .memory_to_report = static_cast<int64_t>(config_.memory_to_report()),
         .cpu_quota_us =
             config_.cpu_quota_us() > 0 ? static_cast<int64_t>(config_.cpu_quota_us()) : -1,
         .cgroup_path = "/" + config_.task_id(),
         .platform_name = platform_->kind() == platform::Kind::kPtrace ? "ptrace" : "systrap",
         .shortcuts = !config_.strace().enabled()});
    kernel_->set_on_end([this](int) { scheduler_->Stop(); });
    return !config_.strace().enabled() || EnableStrace();
  }

  bool EnableStrace() {
    std::string calls, bad;
    for (const std::string& call : config_.strace().calls()) {
      if (!calls.empty()) calls += ',';
      calls += call;
    }
    return syscalls::EnableStrace(calls, 2, &bad).ok() ||
           Fail("--strace: no such system call: " + bad);
  }

  // Needs /proc/self/fd, and to be who the client was.
  bool WrapStdio() {
    for (int i = 0; i < 3; i++) {
      if (config_.stdio(i) != control::HOST_FD || !host_stdio_[i]) continue;
      auto file = hostfd::Wrap(vfs_, *scheduler_, std::move(host_stdio_[i]));
      if (!file.ok()) return Check("descriptor " + std::to_string(i), file.error());
      stdio_[i] = std::move(file).value();
    }
    return true;
  }

  // On a fiber, confined: from here on the gofer is needed and file systems may park.
  void Boot() {
    Result<> served = client_.Serve(
        *scheduler_, [this](const control::Request& r) { Handle(r); },
        [this] { kernel_->KillAll(SIGKILL); });
    if (!Check("control socket", served)) return scheduler_->Stop();
    devpts_ = devpts::DevptsFs::Create(kernel_->job_control(), *scheduler_);
    std::string why;
    Result<> mounted =
        MountAll(*kernel_, std::move(gofer_), {config_, facts_, devpts_}, &cwd_, &why);
    if (!mounted.ok()) {
      Fail(why.empty() ? std::string("mounting: ") + strerror(static_cast<int>(mounted.error()))
                       : why);
      return scheduler_->Stop();
    }
    auto creds = GuestCredentials(config_.user());
    auto fds = MakeRef<kernel::FdTable>();
    if (!OpenStdio(*creds, *fds)) return scheduler_->Stop();
    kernel::Kernel::InitArgs init;
    init.path = config_.args(0);
    init.argv.assign(config_.args().begin(), config_.args().end());
    init.envp.assign(config_.env().begin(), config_.env().end());
    init.cwd = cwd_;
    init.creds = creds;
    init.umask = config_.umask();
    init.fds = fds;
    init.terminal = console_ ? &console_->pty() : nullptr;
    kernel_->StartInit(std::move(init), [this](Result<> loaded) { Loaded(loaded); });
  }

  bool OpenStdio(const auth::Credentials& creds, kernel::FdTable& fds) {
    vfs::OpContext ctx(vfs_, creds);
    for (int i = 0; i < 3; i++) {
      RefPtr<vfs::FileDescription> file = stdio_[i];
      if (config_.stdio(i) == control::TERMINAL) {
        if (!console_ && !MakeConsole(ctx)) return false;
        auto slave = console_->OpenSlave(ctx, O_RDWR | O_NOCTTY);
        if (!slave.ok()) return Check("terminal", slave.error());
        file = std::move(slave).value();
      }
      if (!file) continue;
      auto replaced = fds.Replace(i, file, false, kGuestFdLimit);
      if (!replaced.ok()) return Check("descriptor " + std::to_string(i), replaced.error());
    }
    return true;
  }

  bool MakeConsole(const vfs::OpContext& ctx) {
    int flags = fcntl(console_stream_.get(), F_GETFL);
    fcntl(console_stream_.get(), F_SETFL, flags | O_NONBLOCK);
    auto console = devpts::Console::Create(ctx, *devpts_, *scheduler_, std::move(console_stream_));
    if (!console.ok()) return Check("terminal", console.error());
    console_ = std::move(console).value();
    Resize(config_.window());
    return true;
  }

  void Resize(const control::WindowSize& size) {
    if (!console_) return;
    console_->pty().SetWindowSize(
        {static_cast<uint16_t>(size.rows()), static_cast<uint16_t>(size.columns()),
         static_cast<uint16_t>(size.x_pixels()), static_cast<uint16_t>(size.y_pixels())});
  }

  void Handle(const control::Request& request) {
    switch (request.kind_case()) {
      case control::Request::kSignal: {
        int number = request.signal().number();
        if (number < 1 || number > 64) break;
        if (request.signal().foreground() && console_ && console_->pty().foreground.load() != 0) {
          kernel_->job_control().SignalForeground(console_->pty(), number);
        } else {
          kernel_->SignalInit(number);
        }
        break;
      }
      case control::Request::kResize:
        Resize(request.resize());
        break;
      case control::Request::kKill:
        kernel_->KillAll(SIGKILL);
        break;
      case control::Request::KIND_NOT_SET:
        break;
    }
  }

  // The result of the first execve.
  void Loaded(Result<> loaded) {
    if (loaded.ok()) return client_.SendStarted();
    const std::string& program = config_.args(0);
    std::string text = "cannot run " + program + ": " + strerror(static_cast<int>(loaded.error()));
    if (loaded.error() == Errno::kENOENT) {
      if (Exists(program)) {
        text = "cannot run " + program + ": its interpreter is missing";
      } else if (program.compare(0, 5, "/tmp/") == 0) {
        text += " (/tmp is private in the sandbox, but for the working directory: see --bind)";
      }
    } else if (loaded.error() == Errno::kENOEXEC) {
      text = "cannot run " + program + ": not a program (neither ELF for x86-64 nor a script)";
    }
    client_.SendFailed(text, loaded.error() == Errno::kENOENT ? kNotFound : kCannotRun);
    failed_ = true;
  }

  bool Exists(const std::string& path) {
    if (path.find('/') == std::string::npos) return false;
    auto creds = MakeRef<auth::Credentials>();
    creds->permitted = creds->effective = auth::kAllCaps;
    vfs::OpContext ctx(vfs_, *creds);
    vfs::Location root = kernel_->root();
    auto here = vfs::ResolveDirectory({ctx, root, root}, cwd_);
    return here.ok() && vfs::Stat({ctx, root, *here}, path, vfs::kWalkFollow).ok();
  }

  const control::Config config_;
  const bool own_namespaces_, host_root_;
  ScopedFd gofer_, console_stream_, host_stdio_[3];
  const int gofer_number_ = gofer_.get();  // the p9 client has it, to the end
  ClientChannel client_;
  procfs::HostFacts facts_;
  // The order of destruction does not matter: the process ends with everything in place.
  std::unique_ptr<sched::Scheduler> scheduler_;
  vfs::Vfs vfs_;
  std::unique_ptr<platform::Platform> platform_;
  std::unique_ptr<kernel::Kernel> kernel_;
  RefPtr<devpts::DevptsFs> devpts_;
  std::shared_ptr<devpts::Console> console_;
  RefPtr<vfs::FileDescription> stdio_[3];
  std::string cwd_;
  int max_tasks_ = 0;
  bool failed_ = false;
};

}  // namespace

int Main(Handoff handoff) {
  InstallCrashReport(2, handoff.control.get());
  // Never destroyed: fibers and stubs refer to it until the process is gone.
  auto* sentry = new Sentry(std::move(handoff));
  return sentry->Run();
}

}  // namespace msentry::boot
