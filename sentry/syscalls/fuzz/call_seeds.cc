// Seeds of the call fuzzer, written as calls. See call_fuzz.h for the encoding.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sentry/syscalls/fuzz/call_fuzz.h"
#include "sentry/syscalls/fuzz/guest_image.h"
#include "sentry/syscalls/table.h"

namespace msentry::syscalls {
namespace {

// One argument, encoded.
using Arg = std::vector<uint8_t>;
Arg N(uint64_t value) {
  if (value < 64) return {static_cast<uint8_t>(value)};
  Arg bytes{252};
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(value >> 8 * i));
  return bytes;
}
Arg Path(uint8_t index) { return {static_cast<uint8_t>(64 + index)}; }
Arg Struct(StructIndex index) { return {static_cast<uint8_t>(96 + index)}; }
Arg Scratch(uint8_t index) { return {static_cast<uint8_t>(128 + index)}; }
// What the n-th call of the input returned, from 1.
Arg ResultOf(uint8_t n) { return {static_cast<uint8_t>(192 + n)}; }

class Input {
 public:
  Input& Call(uint64_t number, std::vector<Arg> args = {}) {
    size_t index = 0;
    for (uint64_t n = 0; n < number; ++n) {
      const SyscallEntry* entry = FindSyscall(n);
      if (entry != nullptr && entry->handler != nullptr) ++index;
    }
    seed_.bytes.push_back(static_cast<uint8_t>((index >> 8) << 1));
    seed_.bytes.push_back(static_cast<uint8_t>(index));
    const SyscallEntry* entry = FindSyscall(number);
    for (size_t i = 0; i < 6; ++i) {
      if (entry->args.arg[i].kind == abi::ArgKind::kNone) continue;
      const Arg arg = i < args.size() ? args[i] : N(0);
      seed_.bytes.insert(seed_.bytes.end(), arg.begin(), arg.end());
    }
    ++seed_.calls;
    return *this;
  }
  CallSeed Take() { return std::move(seed_); }

 private:
  CallSeed seed_;
};

}  // namespace

std::vector<CallSeed> CallSeeds() {
  std::vector<CallSeed> seeds;
  const Arg at_cwd{177}, minus_one{176};
  // Files.
  seeds.push_back(Input()
                      .Call(SYS_openat, {at_cwd, Path(6), N(O_CREAT | O_RDWR), N(0644)})
                      .Call(SYS_write, {ResultOf(1), Scratch(0), N(100)})
                      .Call(SYS_pread64, {ResultOf(1), Scratch(1), N(50), N(10)})
                      .Call(SYS_fallocate, {ResultOf(1), N(0), N(0), N(10000)})
                      .Call(SYS_fcntl, {ResultOf(1), N(F_SETLK), Struct(kFlock)})
                      .Call(SYS_rename, {Path(6), Path(8)})
                      .Call(SYS_getdents64, {ResultOf(1), Scratch(0), N(1000)})
                      .Take());
  // Memory.
  seeds.push_back(
      Input()
          .Call(SYS_mmap, {N(0), N(0x10000), N(3), N(MAP_PRIVATE | MAP_ANONYMOUS), minus_one})
          .Call(SYS_mprotect, {ResultOf(1), N(0x1000), N(1)})
          .Call(SYS_mremap, {ResultOf(1), N(0x10000), N(0x20000), N(MREMAP_MAYMOVE)})
          .Call(SYS_madvise, {ResultOf(3), N(0x2000), N(MADV_DONTNEED)})
          .Call(SYS_munmap, {ResultOf(3), N(0x8000)})
          .Call(SYS_brk, {N(0x500000)})
          .Take());
  // Sockets: fds 3 and 4 (the table is empty at the start: 0 and 1).
  seeds.push_back(Input()
                      .Call(SYS_socketpair, {N(AF_UNIX), N(SOCK_STREAM), N(0), Scratch(0)})
                      .Call(SYS_sendmsg, {N(0), Struct(kMessage), N(0)})
                      .Call(SYS_recvmsg, {N(1), Struct(kMessage), N(MSG_DONTWAIT)})
                      .Call(SYS_shutdown, {N(0), N(SHUT_WR)})
                      .Call(SYS_getsockopt, {N(0), N(SOL_SOCKET), N(SO_ERROR), Scratch(1)})
                      .Take());
  seeds.push_back(Input()
                      .Call(SYS_socket, {N(AF_INET), N(SOCK_STREAM), N(0)})
                      .Call(SYS_bind, {ResultOf(1), Struct(kInetAddress), N(16)})
                      .Call(SYS_listen, {ResultOf(1), N(5)})
                      .Call(SYS_socket, {N(AF_INET), N(SOCK_STREAM), N(0)})
                      .Call(SYS_connect, {ResultOf(4), Struct(kInetAddress), N(16)})
                      .Call(SYS_accept4, {ResultOf(1), N(0), N(0), N(SOCK_NONBLOCK)})
                      .Call(SYS_sendto, {ResultOf(4), Scratch(0), N(60)})
                      .Call(SYS_recvfrom, {ResultOf(6), Scratch(1), N(60), N(MSG_DONTWAIT)})
                      .Take());
  // Events.
  seeds.push_back(
      Input()
          .Call(SYS_epoll_create1, {N(0)})
          .Call(SYS_eventfd2, {N(3), N(0)})
          .Call(SYS_epoll_ctl, {ResultOf(1), N(EPOLL_CTL_ADD), ResultOf(2), Struct(kEpoll)})
          .Call(SYS_epoll_wait, {ResultOf(1), Scratch(0), N(4), N(1)})
          .Call(SYS_pipe2, {Scratch(1), N(O_NONBLOCK)})
          .Call(SYS_tee, {N(2), N(3), N(60), N(0)})
          .Call(SYS_splice, {N(2), N(0), N(3), N(0), N(60)})
          .Call(SYS_inotify_init1, {N(O_NONBLOCK)})
          .Call(SYS_inotify_add_watch, {ResultOf(8), Path(0), N(0xfff)})
          .Take());
  // Signals and time.
  seeds.push_back(Input()
                      .Call(SYS_rt_sigaction, {N(10), Struct(kAction), N(0), N(8)})
                      .Call(SYS_sigaltstack, {Struct(kStack), N(0)})
                      .Call(SYS_kill, {N(1), N(10)})
                      .Call(SYS_rt_sigreturn)
                      .Call(SYS_timer_create, {N(1), Struct(kSigevent), Scratch(0)})
                      .Call(SYS_timer_settime, {N(0), N(0), Struct(kIntervals), N(0)})
                      .Call(SYS_nanosleep, {Struct(kTimespec), N(0)})
                      .Call(SYS_signalfd4, {minus_one, Struct(kSignalSet), N(8), N(O_NONBLOCK)})
                      .Call(SYS_read, {ResultOf(8), Scratch(0), N(128)})
                      .Take());
  // Processes.
  seeds.push_back(Input()
                      .Call(SYS_fork)
                      .Call(SYS_clone, {N(0x3d0f00), Scratch(10)})
                      .Call(SYS_setpgid, {N(0), N(0)})
                      .Call(SYS_wait4, {minus_one, Scratch(0), N(1), N(0)})
                      .Call(SYS_execve, {Path(5), Struct(kArgv), N(0)})
                      .Call(SYS_futex, {Scratch(0), N(1), N(1)})
                      .Call(SYS_prctl, {N(15), Path(8)})
                      .Take());
  // Terminals, mounts, /proc.
  seeds.push_back(Input()
                      .Call(SYS_openat, {at_cwd, Path(15), N(O_RDWR)})
                      .Call(SYS_ioctl, {ResultOf(1), N(0x40045431), Scratch(0)})  // TIOCSPTLCK
                      .Call(SYS_openat, {at_cwd, Path(17), N(O_RDWR)})
                      .Call(SYS_ioctl, {ResultOf(3), N(0x5401), Scratch(0)})  // TCGETS
                      .Call(SYS_write, {ResultOf(1), Scratch(8), N(20)})
                      .Call(SYS_mount, {Path(30), Path(2), Path(30), N(0), N(0)})
                      .Call(SYS_openat, {at_cwd, Path(20), N(0)})
                      .Call(SYS_read, {ResultOf(7), Scratch(0), N(1000)})
                      .Call(SYS_umount2, {Path(2), N(2)})
                      .Take());
  return seeds;
}

}  // namespace msentry::syscalls
