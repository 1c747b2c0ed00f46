// Tracer: the first stub process, from which all others are cloned. It is a fork of the sentry that
// gives up everything it got: memory, descriptors, privileges.
#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "platform/ptrace/ptrace_calls.h"
#include "platform/ptrace/tracer.h"
#include "platform/ptrace/xstate.h"

namespace msentry::platform::pt {
namespace {

constexpr uint64_t kHostTaskEnd = 0x7ffffffff000;

// Defence in depth: guest code cannot make host calls (SYSEMU), and if it could, only these, and
// only at the stub's instruction, where it meets the int3 behind it.
constexpr uint32_t kAllowed[] = {SYS_mmap,  SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise,
                                 SYS_msync, SYS_clone,  SYS_recvmsg,  SYS_close,  SYS_exit};
constexpr size_t kAllowedCount = sizeof(kAllowed) / sizeof(kAllowed[0]);
constexpr size_t kFilterLength = 7 + kAllowedCount + 2;

struct Filter {
  sock_filter code[kFilterLength];
};

// Hand-made: libseccomp cannot look at the instruction pointer.
constexpr Filter MakeFilter() {
  auto load = [](uint32_t offset) { return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, offset}; };
  // Equal: on to the next, else `miss` further.
  auto need = [](uint32_t value, uint8_t miss) {
    return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, miss, value};
  };
  constexpr uint8_t kKill = kFilterLength - 2, kAllow = kFilterLength - 1;
  constexpr uint32_t kIp = offsetof(seccomp_data, instruction_pointer);
  Filter filter = {};
  size_t n = 0;
  auto add = [&](sock_filter instruction) { filter.code[n++] = instruction; };
  auto miss = [&] { return static_cast<uint8_t>(kKill - n - 1); };
  add(load(offsetof(seccomp_data, arch)));
  add(need(AUDIT_ARCH_X86_64, miss()));
  add(load(kIp));
  add(need(static_cast<uint32_t>(kAfterSyscall), miss()));
  add(load(kIp + 4));
  add(need(static_cast<uint32_t>(kAfterSyscall >> 32), miss()));
  add(load(offsetof(seccomp_data, nr)));
  for (uint32_t number : kAllowed) {
    uint8_t hit = static_cast<uint8_t>(kAllow - n - 1);
    add(sock_filter{BPF_JMP | BPF_JEQ | BPF_K, hit, 0, number});
  }
  add(sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS});
  add(sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
  return filter;
}

#ifdef __clang__
#define UNINSTRUMENTED \
  [[clang::no_sanitize("address", "thread", "undefined", "coverage"), gnu::noinline]]
#else
#define UNINSTRUMENTED [[gnu::no_sanitize("address", "thread", "undefined"), gnu::noinline]]
#endif

// The child of fork, which may have left locks of other threads behind: host calls only. Ends in an
// int3, where the tracer takes over; exits when a step fails.
UNINSTRUMENTED [[noreturn]] void ZygoteMain(int socket, const sock_fprog* filter) {
  // The kernel writes to the restartable-sequence area of this thread, which is about to go.
  auto area = reinterpret_cast<uintptr_t>(__builtin_thread_pointer()) + __rseq_offset;
  if (syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) != 0) {
    syscall(SYS_rseq, area, __rseq_size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
  }
  char go;
  if (syscall(SYS_read, socket, &go, 1) != 1) syscall(SYS_exit_group, 1);
  syscall(SYS_setsid);  // not the terminal's
  syscall(SYS_dup2, socket, 0);
  syscall(SYS_close_range, 1, ~0u, 0);
  const rlimit64 no_core = {0, 0};
  syscall(SYS_prlimit64, 0, RLIMIT_CORE, &no_core, nullptr);
  syscall(SYS_prctl, PR_SET_NAME, "msentry-stub");
  const uint64_t no_signals = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, sizeof(no_signals));
  long mapped = syscall(SYS_mmap, kStubCode, 2 * arch::kPageSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapped != static_cast<long>(kStubCode)) syscall(SYS_exit_group, 2);
  auto* code = reinterpret_cast<volatile uint8_t*>(kStubCode);
  code[0] = 0x0f;  // syscall
  code[1] = 0x05;
  code[2] = 0xcc;  // int3
  syscall(SYS_mprotect, kStubCode, arch::kPageSize, PROT_READ | PROT_EXEC);
  // The sentry keeps its capabilities for a while yet; a stub never has any, and could not be
  // looked into later by a sentry with fewer.
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  syscall(SYS_capset, &header, none);
  syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // Without the filter SYSEMU still holds; a host that forbids filters is no reason to fail.
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter);
  asm volatile("int3");
  __builtin_unreachable();
}

std::string Explain(const char* what, int error) {
  return absl::StrCat("ptrace: ", what, ": ", ErrnoName(FromHost(error)),
                      " (the host forbids it: kernel.yama.ptrace_scope above 1, a container's "
                      "seccomp profile, or the process table's limit)");
}

struct Area {
  uint64_t start = 0, length = 0;
  bool code = false;
};

// The vDSO and its data, in the order of their addresses.
std::vector<Area> FindVdso() {
  std::vector<Area> areas;
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return areas;
  char line[512];
  while (fgets(line, sizeof(line), maps) != nullptr) {
    bool code = strstr(line, "[vdso]") != nullptr;
    if (!code && strstr(line, "[vvar") == nullptr) continue;
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx", &start, &end) == 2) areas.push_back({start, end - start, code});
  }
  fclose(maps);
  return areas;
}

}  // namespace

Result<> Tracer::StartZygote(std::string* why) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return FromHost(errno);
  fd_sender_.Reset(sockets[0]);
  fd_receiver_.Reset(sockets[1]);
  static constexpr Filter kFilter = MakeFilter();
  const sock_fprog program = {kFilterLength, const_cast<sock_filter*>(kFilter.code)};
  // No exit signal: nobody else's wait() or SIGCHLD handler is to notice the stubs.
  // Dumpable is inherited, and needed by ptrace and process_vm_readv when the sentry has changed
  // its ids. By the time guest code runs nothing of the sentry's is left in there.
  int dumpable = prctl(PR_GET_DUMPABLE);
  prctl(PR_SET_DUMPABLE, 1);
  long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (pid == 0) ZygoteMain(sockets[1], &program);
  if (dumpable != 1) prctl(PR_SET_DUMPABLE, 0);
  if (pid < 0) {
    *why = Explain("fork", errno);
    return FromHost(errno);
  }
  pid_t tid = static_cast<pid_t>(pid);
  auto fail = [&](const char* what, int error) -> Result<> {
    *why = Explain(what, error);
    kill(tid, SIGKILL);
    siginfo_t info;
    syscall(SYS_waitid, P_PID, tid, &info, WEXITED | __WALL, nullptr);
    tracees_.clear();
    return FromHost(error);
  };
  if (Ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) != 0) {
    return fail("PTRACE_SEIZE", errno);
  }
  if (write(fd_sender_.get(), "g", 1) != 1) return fail("start", errno);
  zygote_ = MakeRef<Tracee>(tid, MakeRef<Space>(*this, tid));
  ++zygote_->space->threads;
  tracees_[tid] = zygote_;
  int status;
  if (!WaitForStop(*zygote_, &status) || status != SIGTRAP) return fail("first stop", EIO);
  if (Result<> emptied = EmptyZygote(); !emptied.ok()) {
    return fail("emptying the first stub", static_cast<int>(emptied.error()));
  }
  // The sentry's register contents end here.
  std::vector<std::byte> fpu(16384);
  iovec vector = {fpu.data(), fpu.size()};
  if (Ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, reinterpret_cast<uintptr_t>(&vector)) != 0) {
    return fail("PTRACE_GETREGSET", errno);
  }
  fpu_size_ = vector.iov_len;
  fpu = InitialXstate(fpu_size_);
  vector = {fpu.data(), fpu.size()};
  if (Ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, reinterpret_cast<uintptr_t>(&vector)) != 0) {
    return fail("PTRACE_SETREGSET", errno);
  }
  return Ok();
}

// Leaves the stub's pages and the vDSO, which is moved to its place below the end of guest memory.
Result<> Tracer::EmptyZygote() {
  auto unmap = [&](uint64_t from, uint64_t to) -> Result<> {
    if (from >= to) return Ok();
    int64_t result = Inject(*zygote_, SYS_munmap, {{from, to - from}});
    if (result != 0) return FromHost(static_cast<int>(-result));
    return Ok();
  };
  std::vector<Area> areas = FindVdso();
  // One piece, its code last, as every kernel so far has it; else guests do without.
  bool usable = !areas.empty() && areas.back().code;
  for (size_t i = 1; i < areas.size(); ++i) {
    usable = usable && areas[i].start == areas[i - 1].start + areas[i - 1].length;
  }
  if (!usable) {
    TRY(unmap(0, kStubCode));
    return unmap(kStubEnd, kHostTaskEnd);
  }
  uint64_t start = areas.front().start, end = areas.back().start + areas.back().length;
  // [0, start) [start, end) [end, kHostTaskEnd), with the stub's pages somewhere in between.
  TRY(unmap(0, std::min(start, kStubCode)));
  TRY(unmap(kStubEnd, start));
  TRY(unmap(end, kStubCode));
  TRY(unmap(std::max(end, kStubEnd), kHostTaskEnd));
  constexpr uint64_t kAlign = 0x10000;
  uint64_t base = arch::kTaskSize - (end - start + kAlign - 1) / kAlign * kAlign;
  for (const Area& area : areas) {
    uint64_t to = base + (area.start - start);
    if (Inject(*zygote_, SYS_mremap,
               {{area.start, area.length, area.length, MREMAP_MAYMOVE | MREMAP_FIXED, to}}) !=
        static_cast<int64_t>(to)) {
      TRY(unmap(start, end));
      return unmap(base, arch::kTaskSize);
    }
  }
  vdso_.vvar_address = base;
  vdso_.vvar_length = areas.back().start - start;
  vdso_.address = base + vdso_.vvar_length;
  vdso_.length = areas.back().length;
  return Ok();
}

}  // namespace msentry::platform::pt
