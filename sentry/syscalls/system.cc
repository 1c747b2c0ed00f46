// The machine: names, log, uptime, randomness.
#include <linux/random.h>
#include <sys/random.h>

#include "sentry/abi/process.h"
#include "sentry/base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/kmsg.h"
#include "sentry/syscalls/calls_system.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

constexpr size_t kNameMax = 64;

template <size_t N>
void Fill(char (&field)[N], std::string_view text) {
  memset(field, 0, N);
  memcpy(field, text.data(), std::min(text.size(), N - 1));
}

Result<std::string> CopyInName(Task& t, uint64_t address, int length) {
  if (!t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  if (length < 0 || static_cast<size_t>(length) > kNameMax) return Errno::kEINVAL;
  std::string name(static_cast<size_t>(length), '\0');
  TRY(t.memory().CopyInBytes(address, std::as_writable_bytes(std::span(name))));
  return name.substr(0, name.find('\0'));
}

// syslog(2) actions.
enum Action {
  kClose,
  kOpen,
  kRead,
  kReadAll,
  kReadClear,
  kClear,
  kConsoleOff,
  kConsoleOn,
  kConsoleLevel,
  kSizeUnread,
  kSizeBuffer
};

}  // namespace

Result<int64_t> SysUname(Task& t, const SyscallArgs& a) {
  abi::Utsname name;
  Fill(name.sysname, "Linux");
  Fill(name.nodename, t.namespaces()->uts->hostname());
  Fill(name.release, kernel::Kernel::kRelease);
  Fill(name.version, kernel::Kernel::kVersion);
  Fill(name.machine, "x86_64");
  Fill(name.domainname, t.namespaces()->uts->domainname());
  TRY(t.memory().CopyOut(GuestPtr<abi::Utsname>(a[0]), name));
  return 0;
}

Result<int64_t> SysSethostname(Task& t, const SyscallArgs& a) {
  t.namespaces()->uts->set_hostname(TRY(CopyInName(t, a[0], a.Int(1))));
  return 0;
}

Result<int64_t> SysSetdomainname(Task& t, const SyscallArgs& a) {
  t.namespaces()->uts->set_domainname(TRY(CopyInName(t, a[0], a.Int(1))));
  return 0;
}

Result<int64_t> SysSysinfo(Task& t, const SyscallArgs& a) {
  kernel::Kernel& kernel = t.kernel();
  const kernel::Kernel::MemoryFigures memory = kernel.memory_figures();
  const kernel::Kernel::LoadAverage load = kernel.load_average();
  abi::Sysinfo info{};
  info.uptime = (kernel.uptime_ns() + abi::kNsPerSec - 1) / abi::kNsPerSec;
  // 1/2048 to 1/65536.
  info.loads[0] = load.one << 5;
  info.loads[1] = load.five << 5;
  info.loads[2] = load.fifteen << 5;
  info.totalram = memory.total;
  info.freeram = memory.free;
  info.sharedram = memory.shared;
  {
    MutexLock lock(kernel.tasks_mutex());
    info.procs = static_cast<uint16_t>(std::min(kernel.pids().tasks(), UINT16_MAX));
  }
  info.mem_unit = 1;
  TRY(t.memory().CopyOut(GuestPtr<abi::Sysinfo>(a[0]), info));
  return 0;
}

Result<int64_t> SysSyslog(Task& t, const SyscallArgs& a) {
  kernel::Dmesg& log = t.kernel().dmesg();
  const int action = a.Int(0);
  TRY(kernel::CheckLogAccess(log, *t.creds(), action == kReadAll || action == kSizeBuffer));
  switch (action) {
    case kClose:
    case kOpen:
      return 0;
    case kRead:
    case kReadAll:
    case kReadClear: {
      if (a[1] == 0 || a.Int(2) < 0) return Errno::kEINVAL;
      if (a.Int(2) == 0) return 0;
      const size_t max = static_cast<size_t>(a.Int(2));
      std::string text;
      if (action == kRead) {
        TRY(t.BlockOn(log.arrivals(), sched::kIn, sched::kNever, [&]() -> Result<> {
          text = log.Consume(max);
          if (text.empty()) return Errno::kEAGAIN;
          return Ok();
        }));
      } else {
        text = log.ReadAll(max, action == kReadClear);
      }
      TRY(t.memory().CopyOutBytes(a[1], std::as_bytes(std::span(text))));
      return static_cast<int64_t>(text.size());
    }
    case kClear:
      log.Clear();
      return 0;
    case kConsoleOff:
      log.SilenceConsole(true);
      return 0;
    case kConsoleOn:
      log.SilenceConsole(false);
      return 0;
    case kConsoleLevel:
      if (a.Int(2) < 1 || a.Int(2) > 8) return Errno::kEINVAL;
      log.console_level.store(a.Int(2), std::memory_order_relaxed);
      return 0;
    case kSizeUnread:
      return static_cast<int64_t>(log.unread_bytes());
    case kSizeBuffer:
      return kernel::Dmesg::kRingBytes;
    default:
      return Errno::kEINVAL;
  }
}

Result<int64_t> SysGetrandom(Task& t, const SyscallArgs& a) {
  const uint32_t flags = a.Uint(2);
  if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) return Errno::kEINVAL;
  if ((flags & GRND_RANDOM) && (flags & GRND_INSECURE)) return Errno::kEINVAL;
  size_t left = std::min<uint64_t>(a[1], INT32_MAX);
  uint64_t address = a[0];
  int64_t done = 0;
  std::array<std::byte, 4096> buffer;
  while (left > 0) {
    const size_t n = std::min(left, buffer.size());
    if (getrandom(buffer.data(), n, 0) != static_cast<ssize_t>(n)) return Errno::kEIO;
    const Result<size_t> copied = t.memory().CopyOutSome(address, std::span(buffer).first(n));
    if (!copied.ok()) {
      if (done == 0) return copied.error();
      return done;
    }
    done += static_cast<int64_t>(*copied);
    if (*copied < n) return done;
    if (t.Interrupted()) return done;
    address += n;
    left -= n;
  }
  return done;
}

// The sandbox ends as its machine would.
Result<int64_t> SysReboot(Task& t, const SyscallArgs& a) {
  if (!t.HasCap(auth::Cap::kSysBoot)) return Errno::kEPERM;
  constexpr uint32_t kMagic1 = 0xfee1dead;
  constexpr uint32_t kMagic2[] = {672274793, 85072278, 369367448, 537993216};
  constexpr uint32_t kRestart = 0x01234567, kHalt = 0xcdef0123, kPowerOff = 0x4321fedc;
  if (a.Uint(0) != kMagic1 ||
      std::find(std::begin(kMagic2), std::end(kMagic2), a.Uint(1)) == std::end(kMagic2)) {
    return Errno::kEINVAL;
  }
  switch (a.Uint(2)) {
    case 0:           // Ctrl-Alt-Del off
    case 0x89abcdef:  // and on
      return 0;
    case kRestart:
      // What a container's init sees: it dies of SIGHUP for a restart, of SIGINT for a halt.
      t.kernel().KillAll(SIGHUP);
      return 0;
    case kHalt:
    case kPowerOff:
      t.kernel().KillAll(SIGINT);
      return 0;
    default:
      return Errno::kEINVAL;
  }
}

Result<int64_t> SysIopl(Task&, const SyscallArgs&) { return Errno::kEPERM; }
Result<int64_t> SysIoperm(Task&, const SyscallArgs&) { return Errno::kEPERM; }

}  // namespace msentry::syscalls
