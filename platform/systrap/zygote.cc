#include "platform/systrap/zygote.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "platform/systrap/filter.h"
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
  Setup(int pid, Slot* slot) : pid_(pid), slot_(slot) {}

  // The zygote's first or next request; false when it has ended.
  bool Await() {
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

  // One host system call in the zygote.
  int64_t Call(uint64_t number, std::array<uint64_t, 6> a) {
    Op* op = reinterpret_cast<Op*>(SlotFile::Bytes(slot_, kOpsOffset));
    *op = Op{kOpSyscall, 0, {number, a[0], a[1], a[2], a[3], a[4], a[5]}};
    slot_->op_count = 1;
    slot_->after = kReport;
    __atomic_store_n(&slot_->state, kReply, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &slot_->state, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    return Await() ? slot_->value : -ESRCH;
  }

  // Puts bytes where the zygote can point to; its address there.
  template <typename T>
  uint64_t Pass(const T* data, size_t count, size_t at) {
    CHECK(at + count * sizeof(T) <= kBulkMax);
    memcpy(SlotFile::Bytes(slot_, kBulkOffset + at), data, count * sizeof(T));
    return kSlots + kBulkOffset + at;
  }

  // What a file says to the zygote; empty if it cannot be read.
  std::string ReadFile(std::string_view path) {
    constexpr size_t kBuffer = 0x1000, kSize = 0x4000;
    std::string name(path);
    int64_t fd = Call(SYS_openat, {static_cast<uint64_t>(AT_FDCWD),
                                   Pass(name.c_str(), name.size() + 1, 0), O_RDONLY, 0, 0, 0});
    if (fd < 0) return "";
    std::string text;
    for (;;) {
      int64_t n = Call(SYS_read,
                       {static_cast<uint64_t>(fd), kSlots + kBulkOffset + kBuffer, kSize, 0, 0, 0});
      if (n <= 0 || n > static_cast<int64_t>(kSize)) break;
      text.append(reinterpret_cast<char*>(SlotFile::Bytes(slot_, kBulkOffset + kBuffer)),
                  static_cast<size_t>(n));
    }
    Call(SYS_close, {static_cast<uint64_t>(fd), 0, 0, 0, 0, 0});
    return text;
  }

 private:
  const int pid_;
  Slot* const slot_;
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
  bool moved = first < last && last - first <= 0x100000;
  uint64_t target = arch::kTaskSize - arch::kPageSize - (last - first);
  for (const HostMapping& m : mappings) {
    uint64_t size = m.end - m.begin;
    if (m.name.starts_with("[vvar") || m.name == "[vdso]") {
      uint64_t to = target + (m.begin - first);
      if (moved && setup.Call(SYS_mremap, {m.begin, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to,
                                           0}) == static_cast<int64_t>(to)) {
        if (m.name == "[vdso]") {
          vdso.address = to;
          vdso.length = size;
        }
        continue;
      }
      moved = false;
      setup.Call(SYS_munmap, {m.begin, size, 0, 0, 0, 0});
    } else if (!Ours(m) && m.name != "[vsyscall]") {
      setup.Call(SYS_munmap, {m.begin, size, 0, 0, 0, 0});
    }
  }
  if (!moved || vdso.length == 0) {
    // Half of it is worse than nothing.
    setup.Call(SYS_munmap, {target, arch::kTaskSize - target, 0, 0, 0, 0});
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

Result<ScopedFd> Confine(Setup& setup, int pid, bool strict, std::string* why) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  int64_t result =
      setup.Call(SYS_capset, {setup.Pass(&header, 1, 0), setup.Pass(none, 2, 64), 0, 0, 0, 0});
  if (result != 0) {
    *why = "cannot drop the capabilities of the stub processes";
    return FromHost(static_cast<int>(-result));
  }
  std::vector<sock_filter> guest = GuestCallFilter();
  std::vector<sock_filter> stub = TRY(StubCallFilter(strict));
  struct {
    uint64_t length, filter;
  } program;  // sock_fprog with the zygote's pointer
  for (const std::vector<sock_filter>* filter : {&guest, &stub}) {
    program = {filter->size(), setup.Pass(filter->data(), filter->size(), 64)};
    uint64_t flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if (filter == &stub) {
      flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    result = setup.Call(SYS_seccomp,
                        {SECCOMP_SET_MODE_FILTER, flags, setup.Pass(&program, 1, 0), 0, 0, 0});
    if (result < 0) {
      *why = absl::StrCat("the host forbids seccomp filters with user notification (",
                          strerror(static_cast<int>(-result)), "); try --platform=ptrace");
      return FromHost(static_cast<int>(-result));
    }
  }
  ScopedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ScopedFd listener(
      static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), static_cast<int>(result), 0)));
  if (!listener) {
    *why = absl::StrCat("the host forbids access to the stub processes (pidfd_getfd: ",
                        strerror(errno), "); is ptrace restricted?");
    return FromHost(errno);
  }
  setup.Call(SYS_close, {static_cast<uint64_t>(result), 0, 0, 0, 0, 0});
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
    Setup setup(zygote.pid, slots.At(0));
    if (!setup.Await()) {
      *why = "the stub process ended while it was set up (is executing a memfd forbidden?)";
      return Errno::kENOEXEC;
    }
    zygote.vdso = ArrangeMemory(setup);
    control.get()->vdso_clock_gettime = ClockFunction(zygote.vdso);
    zygote.listener = TRY(Confine(setup, zygote.pid, strict, why));
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
