#include "platform/systrap/zygote.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "platform/systrap/filter.h"
#include "platform/systrap/guest_thread.h"
#include "platform/vdso_image.h"
#include "sentry/arch/registers.h"
#include "sentry/base/log.h"

extern "C" const char msentry_stub_image[], msentry_stub_image_end[];

namespace msentry::systrap {
namespace {

constexpr int64_t kSetupTimeoutMs = 10'000;

Result<ScopedFd> StubExecutable() {
  ScopedFd fd(memfd_create("msentry-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  size_t size = msentry_stub_image_end - msentry_stub_image;
  if (!fd || write(fd.get(), msentry_stub_image, size) != static_cast<ssize_t>(size)) {
    return FromHost(errno);
  }
  fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return fd;
}

// Between vfork and execve: nothing but system calls. Returns only on failure.
void BecomeStub(int executable, const int (&fds)[3]) {
  personality(ADDR_NO_RANDOMIZE);  // the host's own mappings must not lie where ours go
  setsid();                        // a Ctrl-C at the terminal is not for us
  for (int i = 0; i < 3; ++i) {
    if (dup2(fds[i], i) < 0) return;
  }
  syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
  rlimit none = {0, 0}, files = {1024, 1024};
  setrlimit(RLIMIT_CORE, &none);
  setrlimit(RLIMIT_NOFILE, &files);
  char name[] = "msentry-stub";
  char* argv[] = {name, nullptr};
  char* envp[] = {nullptr};
  syscall(SYS_execveat, executable, "", argv, envp, AT_EMPTY_PATH);
}

Result<int> Spawn(const ControlPage& control, const SlotFile& slots, int doorbell_fd) {
  ScopedFd executable = TRY(StubExecutable());
  // Above 2, whatever of 0, 1 and 2 is closed in this process.
  ScopedFd high[3];
  const int given[3] = {doorbell_fd, control.fd(), slots.fd()};
  int fds[3];
  for (int i = 0; i < 3; ++i) {
    high[i].Reset(fcntl(given[i], F_DUPFD_CLOEXEC, 10));
    if (!high[i]) return FromHost(errno);
    fds[i] = high[i].get();
  }
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pid_t pid = vfork();
  if (pid == 0) {
    sigset_t empty;
    sigemptyset(&empty);
    for (int signal = 1; signal < 32; ++signal) {
      // Handlers run in our memory until execve: none may. Ignored signals would stay ignored.
      if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &empty, nullptr);
    BecomeStub(executable.get(), fds);
    _exit(127);
  }
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) return FromHost(error);
  return pid;
}

// Talks with the zygote before there is a scheduler: waits on the slot's state word itself.
class Setup {
 public:
  Setup(int pid, Slot* slot, bool spin) : pid_(pid), slot_(slot), spin_(spin) {}

  // The zygote's first or next request; false when it has ended.
  bool Await() {
    // A call takes it less time than to wake us.
    constexpr int kSpin = 2000;
    for (int i = 0; spin_ && i < kSpin; ++i) {
      if (__atomic_load_n(&slot_->state, __ATOMIC_ACQUIRE) == kRequest) return true;
      __builtin_ia32_pause();
    }
    for (int64_t waited = 0; waited < kSetupTimeoutMs; waited += 20) {
      uint32_t state = __atomic_load_n(&slot_->state, __ATOMIC_ACQUIRE);
      if (state == kRequest) return true;
      timespec timeout{0, 20'000'000};
      syscall(SYS_futex, &slot_->state, FUTEX_WAIT, state, &timeout, nullptr, 0);
      siginfo_t info{};
      if (waitid(P_PID, pid_, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid) {
        return false;
      }
    }
    return false;
  }

  // Host system calls in the zygote, in order, up to the first that fails: how many succeeded, and
  // what the last one returned. (A list is one round trip: the two wake each other each time.)
  struct Results {
    size_t done;
    int64_t value;
  };
  Results Calls(std::span<const Op> ops) {
    CHECK(ops.size() <= kMaxOps);
    memcpy(SlotFile::Bytes(slot_, kOpsOffset), ops.data(), ops.size_bytes());
    slot_->op_count = static_cast<uint32_t>(ops.size());
    slot_->after = kReport;
    __atomic_store_n(&slot_->state, kReply, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&slot_->sleeping, __ATOMIC_SEQ_CST)) {
      syscall(SYS_futex, &slot_->state, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
    if (!Await()) return {0, -ESRCH};
    return {std::min<size_t>(slot_->done, ops.size()), slot_->value};
  }
  int64_t Call(const Op& op) { return Calls(std::span(&op, 1)).value; }

  // Puts bytes where the zygote can point to; its address there.
  template <typename T>
  uint64_t Pass(const T* data, size_t count, size_t at) {
    CHECK(at + count * sizeof(T) <= kBulkMax);
    memcpy(SlotFile::Bytes(slot_, kBulkOffset + at), data, count * sizeof(T));
    return kSlots + kBulkOffset + at;
  }

  // The beginning of what a text file says to the zygote; empty if it cannot be read.
  std::string ReadFile(std::string_view path) {
    constexpr size_t kBuffer = 0x1000, kSize = 0x4000;
    std::string name(path);
    int64_t fd = Call(HostCall(SYS_openat, static_cast<uint64_t>(AT_FDCWD),
                               Pass(name.c_str(), name.size() + 1, 0), O_RDONLY));
    if (fd < 0) return "";
    const Op ops[] = {
        HostCall(SYS_read, static_cast<uint64_t>(fd), kSlots + kBulkOffset + kBuffer, kSize),
        HostCall(SYS_close, static_cast<uint64_t>(fd))};
    char* text = reinterpret_cast<char*>(SlotFile::Bytes(slot_, kBulkOffset + kBuffer));
    memset(text, 0, kSize);
    if (Calls(ops).done != 2) return "";
    return std::string(text, strnlen(text, kSize));
  }

 private:
  const int pid_;
  Slot* const slot_;
  const bool spin_;
};

struct HostMapping {
  uint64_t begin, end;
  std::string name;
};

// The zygote looks itself: the /proc we see may be of another pid namespace than ours, where its
// pid means nothing (or another process), but "self" is right everywhere.
std::vector<HostMapping> HostMappings(Setup& setup) {
  std::vector<HostMapping> mappings;
  const std::string text = setup.ReadFile("/proc/self/maps");
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    HostMapping m;
    char* end = nullptr;
    m.begin = strtoull(line.c_str(), &end, 16);
    m.end = strtoull(end + 1, &end, 16);
    size_t name = line.find('[');
    if (name != std::string::npos) m.name = line.substr(name);
    mappings.push_back(std::move(m));
  }
  return mappings;
}

bool Ours(const HostMapping& m) {
  return m.begin >= arch::kStubBase && m.begin < kPrivate + kPrivateSize;
}

// Moves [vvar] and [vdso] to the end of the guest's range, keeping their distances, and unmaps what
// else execve has left (the initial stack).
platform::Platform::Vdso ArrangeMemory(Setup& setup) {
  platform::Platform::Vdso vdso;
  const std::vector<HostMapping> mappings = HostMappings(setup);
  uint64_t first = UINT64_MAX, last = 0;
  for (const HostMapping& m : mappings) {
    if (m.name.starts_with("[vvar") || m.name == "[vdso]") {
      first = std::min(first, m.begin);
      last = std::max(last, m.end);
    }
  }
  const uint64_t target = arch::kTaskSize - arch::kPageSize - (last - first);
  std::vector<Op> move, remove;  // with the vDSO; without it
  for (const HostMapping& m : mappings) {
    const uint64_t size = m.end - m.begin;
    if (Ours(m) || m.name == "[vsyscall]") continue;
    remove.push_back(HostCall(SYS_munmap, m.begin, size));
    if (m.name.starts_with("[vvar") || m.name == "[vdso]") {
      const uint64_t to = target + (m.begin - first);
      move.push_back(HostCall(SYS_mremap, m.begin, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
      if (m.name == "[vdso]") {
        vdso.address = to;
        vdso.length = size;
      }
    } else {
      move.push_back(remove.back());
    }
  }
  if (vdso.length == 0 || last - first > 0x100000 || move.size() > kMaxOps ||
      setup.Calls(move).done != move.size()) {
    // Half of it is worse than nothing. (What is moved or gone already is not there to be unmapped:
    // that is no error.)
    if (first < last && last - first <= 0x100000) {
      remove.push_back(HostCall(SYS_munmap, target, arch::kTaskSize - target));
    }
    for (const Op& op : remove) setup.Call(op);
    return {};
  }
  vdso.vvar_address = target;
  vdso.vvar_length = vdso.address - target;
  return vdso;
}

// Where the stubs find the vDSO's clock_gettime. Ours is the same image: it is the kernel's.
uint64_t ClockFunction(const platform::Platform::Vdso& vdso) {
  const auto* ours = reinterpret_cast<const std::byte*>(getauxval(AT_SYSINFO_EHDR));
  if (vdso.length == 0 || ours == nullptr) return 0;
  std::optional<uint64_t> at =
      platform::FindVdsoSymbol(std::span(ours, vdso.length), "__vdso_clock_gettime");
  return at ? vdso.address + *at : 0;
}

// `stub`: StubCallFilter's.
Result<ScopedFd> Confine(Setup& setup, int pid, const std::vector<sock_filter>& stub,
                         std::string* why) {
  const __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  const std::vector<sock_filter> guest = GuestCallFilter();
  struct Program {  // sock_fprog with the zygote's pointer
    uint64_t length, filter;
  };
  constexpr size_t kGuestFilterAt = 0x100, kStubFilterAt = 0x1000;
  const Program programs[2] = {
      {guest.size(), setup.Pass(guest.data(), guest.size(), kGuestFilterAt)},
      {stub.size(), setup.Pass(stub.data(), stub.size(), kStubFilterAt)}};
  const uint64_t at = setup.Pass(programs, 2, 0x80);
  const uint64_t flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const Op ops[] = {
      HostCall(SYS_capset, setup.Pass(&header, 1, 0), setup.Pass(none, 2, 0x40)),
      HostCall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, at),
      HostCall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
               flags | SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
               at + sizeof(Program))};
  const auto [done, result] = setup.Calls(ops);
  if (done == 0) {
    *why = "cannot drop the capabilities of the stub processes";
    return FromHost(static_cast<int>(-result));
  }
  if (done < 3) {
    *why = absl::StrCat("the host forbids seccomp filters with user notification (",
                        strerror(static_cast<int>(-result)), "); try --platform=ptrace");
    return FromHost(static_cast<int>(-result));
  }
  ScopedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ScopedFd listener(
      static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), static_cast<int>(result), 0)));
  if (!listener) {
    *why = absl::StrCat("the host forbids access to the stub processes (pidfd_getfd: ",
                        strerror(errno), "); is ptrace restricted?");
    return FromHost(errno);
  }
  setup.Call(HostCall(SYS_close, static_cast<uint64_t>(result)));
  // Whoever asks sleeps until the keeper has answered: better on the same CPU than to wake an idle
  // one (Linux 6.6; without it all is as well, and slower).
  constexpr unsigned long kSetFlags = SECCOMP_IOW(4, uint64_t);
  (void)ioctl(listener.get(), kSetFlags, 1 /* SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP */);
  return listener;
}

}  // namespace

Result<std::unique_ptr<ControlPage>> ControlPage::Create() {
  ScopedFd fd(memfd_create("msentry-control", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), kControlSize) != 0) return FromHost(errno);
  void* page = mmap(nullptr, kControlSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (page == MAP_FAILED) return FromHost(errno);
  if (fcntl(fd.get(), F_ADD_SEALS,
            F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    Errno error = FromHost(errno);
    munmap(page, kControlSize);
    return error;
  }
  return std::unique_ptr<ControlPage>(new ControlPage(std::move(fd), static_cast<Control*>(page)));
}

ControlPage::~ControlPage() { munmap(control_, kControlSize); }

Result<Zygote> StartZygote(const ControlPage& control, const SlotFile& slots, int doorbell_fd,
                           bool strict, std::string* why) {
  Zygote zygote;
  control.get()->wake_futex = 1;
  Result<int> pid = Spawn(control, slots, doorbell_fd);
  if (!pid.ok()) {
    *why = "cannot start a stub process";
    return pid.error();
  }
  zygote.pid = *pid;
  auto finish = [&]() -> Result<> {
    // While the other starts.
    const std::vector<sock_filter> filter = TRY(StubCallFilter(strict));
    Setup setup(zygote.pid, slots.At(0), control.get()->spin > 0);
    if (!setup.Await()) {
      *why = "the stub process ended while it was set up (is executing a memfd forbidden?)";
      return Errno::kENOEXEC;
    }
    zygote.vdso = ArrangeMemory(setup);
    control.get()->vdso_clock_gettime = ClockFunction(zygote.vdso);
    zygote.listener = TRY(Confine(setup, zygote.pid, filter, why));
    return Ok();
  };
  Result<> done = finish();
  control.get()->wake_futex = 0;
  if (!done.ok()) {
    kill(zygote.pid, SIGKILL);
    waitpid(zygote.pid, nullptr, __WALL);
    if (why->empty()) *why = "cannot set up the stub process";
    return done.error();
  }
  return zygote;
}

}  // namespace msentry::systrap
