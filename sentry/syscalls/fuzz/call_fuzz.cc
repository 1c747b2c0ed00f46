#include "sentry/syscalls/fuzz/call_fuzz.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstring>

#include "fsimpl/devpts/devpts.h"
#include "fsimpl/devtmpfs/devices.h"
#include "fsimpl/pipefs/pipe_file.h"
#include "fsimpl/sysfs/sysfs.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "procfs/proc_fs.h"
#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/host_proc.h"
#include "sentry/syscalls/dispatch.h"
#include "sentry/syscalls/fuzz/guest_image.h"
#include "sentry/syscalls/fuzz/scripted_platform.h"
#include "sentry/syscalls/table.h"
#include "vfs/file_io.h"
#include "vfs/operations.h"
#include "vfs/path_walk.h"
#include "vfs/vfs.h"

namespace msentry::syscalls {
namespace {

constexpr int kMaxCalls = 200;
// Without a call for so long: everybody waits for something that will not come.
constexpr int64_t kStuckNs = 5'000'000;

// Every call that has a handler, in the table's order.
const std::vector<const SyscallEntry*>& Calls() {
  static const auto* calls = [] {
    auto* list = new std::vector<const SyscallEntry*>;
    for (uint64_t number = 0; number < abi::kMaxSyscall; ++number) {
      const SyscallEntry* entry = FindSyscall(number);
      if (entry != nullptr && entry->handler != nullptr) list->push_back(entry);
    }
    return list;
  }();
  return *calls;
}

class CallScript final : public Script {
 public:
  explicit CallScript(std::span<const uint8_t> input) : input_(input) {}

  void Next(ScriptedSpace& memory, arch::Registers& registers) override {
    results_[calls_ % std::size(results_)] = registers.rax;
    while (++calls_ <= kMaxCalls && !input_.empty()) {
      const uint8_t step = Byte();
      if (step & 1) {
        Scribble(memory);
        continue;
      }
      Fill(*Calls()[(Byte() | (step & 2) << 7) % Calls().size()], registers);
      return;
    }
    calls_ = kMaxCalls;
    registers.orig_rax = SYS_exit_group;
    registers.rdi = 0;
  }

  // For the watchdog.
  int calls() const { return calls_; }
  int made() const { return made_; }

 private:
  uint8_t Byte() { return static_cast<uint8_t>(Raw(1)); }
  uint64_t Raw(size_t bytes) {
    uint64_t value = 0;
    const size_t n = std::min(bytes, input_.size());
    std::memcpy(&value, input_.data(), n);
    input_ = input_.subspan(n);
    return value;
  }

  void Scribble(ScriptedSpace& memory) {
    const uint64_t at = kScratch + uint64_t{Byte()} * 16;
    const size_t n = std::min<size_t>(Byte(), input_.size());
    (void)memory.ForceCopyOut(at, std::as_bytes(input_.subspan(0, n)));
    input_ = input_.subspan(n);
  }

  void Fill(const SyscallEntry& entry, arch::Registers& registers) {
    uint64_t* const to[] = {&registers.rdi, &registers.rsi, &registers.rdx,
                            &registers.r10, &registers.r8,  &registers.r9};
    for (int i = 0; i < 6; ++i) {
      *to[i] = entry.args.arg[i].kind == abi::ArgKind::kNone ? 0 : Argument();
    }
    registers.orig_rax = entry.number;
    ++made_;
  }

  uint64_t Argument() {
    constexpr uint64_t kNumbers[] = {~uint64_t{0},
                                     static_cast<uint64_t>(AT_FDCWD),
                                     arch::kTaskSize - 1,
                                     arch::kTaskSize,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     uint64_t{1} << 63,
                                     ~uint64_t{0} >> 1,
                                     arch::kPageSize,
                                     arch::kPageSize - 1,
                                     kScratch + kScratchBytes - 4,  // ends before a struct does
                                     arch::kStubBase,
                                     static_cast<uint64_t>(-arch::kPageSize),
                                     1000,
                                     0x20000000};
    const uint8_t tag = Byte();
    if (tag < 64) return tag;
    if (tag < 96) return PathAddress(tag - 64u);
    if (tag < 128) return StructAddress(tag - 96u);
    if (tag < 176) return kScratch + (tag - 128u) * 64u;
    if (tag < 192) return kNumbers[tag - 176];
    if (tag < 208) return results_[tag - 192u];
    if (tag < 240) return uint64_t{1} << (tag - 208);
    if (tag < 248) return Raw(2);
    if (tag < 252) return Raw(4);
    return Raw(8);
  }

  std::span<const uint8_t> input_;
  int calls_ = 0;  // steps; kMaxCalls: no more
  int made_ = 0;
  uint64_t results_[16] = {};
};

// A sandbox around one script.
class Sandbox {
 public:
  explicit Sandbox(CallScript& script)
      : script_(script),
        platform_(script),
        scheduler_(MUST(sched::Scheduler::Create({.workers = 1, .spin_ns = 0}))),
        kernel_(kernel::Kernel::Create(
            *scheduler_, platform_, vfs_,
            {.dispatch = Dispatch, .cpus = 2, .memory_bytes = 64 << 20, .max_pids = 16})),
        watchdog_(*scheduler_, [this] { Watch(); }) {}

  void Run() {
    kernel_->set_on_end([this](int) { scheduler_->Stop(); });
    scheduler_->Spawn("boot", [this] { Boot(); });
    watchdog_.Arm(sched::NowNs() + kStuckNs);
    scheduler_->Run();
    watchdog_.Cancel();
  }

 private:
  // Not a fiber's: Scheduler runs timers on the worker.
  void Watch() {
    if (script_.calls() == seen_) return kernel_->KillAll(SIGKILL);
    seen_ = script_.calls();
    watchdog_.Arm(sched::NowNs() + kStuckNs);
  }

  void Boot() {
    creds_->permitted = creds_->effective = auth::kAllCaps;
    auto mounts = vfs::MountNamespace::Create(MUST(tmpfs::Create({.max_bytes = 8 << 20})), 0);
    const vfs::Location root = mounts->Root();
    const vfs::OpContext op(vfs_, *creds_);
    const vfs::WalkContext walk{op, root, root};
    const auto mount = [&](const char* path, RefPtr<vfs::FileSystem> fs) {
      MUST(vfs::Mkdir(walk, path, 0755));
      MUST(mounts->Attach(std::move(fs), MUST(vfs::PathWalker(walk, 0).Resolve(path)), 0));
    };
    vfs_.SetFifoOpener(pipefs::OpenFifo);
    devtmpfs::RegisterDevices(vfs_);
    auto devpts = devpts::DevptsFs::Create(kernel_->job_control(), *scheduler_);
    devpts->Register(vfs_);
    vfs_.RegisterFsType({.name = "tmpfs"},
                        [](const vfs::OpContext&, std::string_view, std::string_view data) {
                          auto options = tmpfs::ParseOptions(data);
                          return options.ok() ? tmpfs::Create(*options) : options.error();
                        });
    static const auto* host = new procfs::HostFacts(procfs::ReadHostFacts());
    mount("/proc", procfs::Create(*kernel_, {.host = *host}));
    mount("/sys", sysfs::Create({.cpus = 2}));
    mount("/dev", MUST(tmpfs::Create({.max_bytes = 1 << 20, .type = "devtmpfs"})));
    MUST(devtmpfs::Populate(op, MUST(vfs::PathWalker(walk, 0).Resolve("/dev"))));
    const vfs::Location pts = MUST(vfs::PathWalker(walk, 0).Resolve("/dev/pts"));
    MUST(mounts->Attach(devpts, pts, 0));
    MUST(vfs::Mkdir(walk, "/d", 0755));
    MUST(vfs::Symlink(walk, "/d", "/l"));
    MUST(vfs::Mknod(walk, "/p", S_IFIFO | 0644, 0));
    WriteFile(walk, "/f", "some text\n");
    WriteFile(walk, "/init", GuestImage());
    kernel_->SetRoot(std::move(mounts), root);
    kernel::Kernel::InitArgs init;
    init.path = "/init";
    init.argv = {"init"};
    init.creds = creds_;
    kernel_->StartInit(std::move(init), [](Result<> loaded) { CHECK(loaded.ok()); });
  }

  static void WriteFile(const vfs::WalkContext& walk, const char* path, std::string_view data) {
    auto file = MUST(vfs::Open(walk, path, {.flags = O_CREAT | O_WRONLY, .mode = 0755}));
    auto io = mm::IoSequence::ForWriting(std::as_bytes(std::span(data)));
    while (!io.empty()) MUST(vfs::WriteFile(walk.op, *file, io));
  }

  CallScript& script_;
  ScriptedPlatform platform_;
  RefPtr<auth::Credentials> creds_ = MakeRef<auth::Credentials>();
  std::unique_ptr<sched::Scheduler> scheduler_;
  vfs::Vfs vfs_;
  std::unique_ptr<kernel::Kernel> kernel_;
  sched::Timer watchdog_;
  int seen_ = -1;
};

}  // namespace

int FuzzCalls(const uint8_t* data, size_t size) {
  static const bool once = [] {
    SetLog(-1, LogLevel::kWarning);
    mm::host_proc::SetDirectory(ScopedFd(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)));
    return true;
  }();
  (void)once;
  CallScript script({data, size});
  Sandbox(script).Run();
  return script.made();
}

}  // namespace msentry::syscalls

#ifdef MSENTRY_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msentry::syscalls::FuzzCalls(data, size);
  return 0;
}
#endif
