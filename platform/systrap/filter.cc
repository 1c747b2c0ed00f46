#include "platform/systrap/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

#include "platform/systrap/stub/abi.h"
#include "sentry/arch/registers.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::systrap {
namespace {

constexpr uint32_t kIpLow = offsetof(seccomp_data, instruction_pointer);
constexpr uint32_t kIpHigh = kIpLow + 4;
static_assert(static_cast<uint32_t>(kText) == 0,
              "GuestCallFilter compares the low half with a size");

// The advice values that change only how the caller's own memory behaves. Not here: MADV_DOFORK
// (allowed on guest memory only, below: slots must never be inherited), MERGEABLE (a side channel
// between sandboxes), HWPOISON and its kin.
constexpr uint64_t kAdvice[] = {
    MADV_NORMAL,   MADV_RANDOM,        MADV_SEQUENTIAL,    MADV_WILLNEED,   MADV_DONTNEED,
    MADV_FREE,     MADV_REMOVE,        MADV_DONTFORK,      MADV_HUGEPAGE,   MADV_NOHUGEPAGE,
    MADV_DONTDUMP, MADV_DODUMP,        MADV_WIPEONFORK,    MADV_KEEPONFORK, MADV_COLD,
    MADV_PAGEOUT,  MADV_POPULATE_READ, MADV_POPULATE_WRITE};

constexpr uint64_t kMapFlags = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS |
                               MAP_GROWSDOWN | MAP_NORESERVE | MAP_POPULATE | MAP_STACK |
                               MAP_FIXED_NOREPLACE;
constexpr uint64_t kProtections = PROT_READ | PROT_WRITE | PROT_EXEC;

// A libseccomp context being filled; remembers the first failure.
class Rules {
 public:
  Rules() : context_(seccomp_init(SCMP_ACT_TRAP)) {
    if (!context_) failed_ = true;
  }
  ~Rules() {
    if (context_) seccomp_release(context_);
  }
  void Add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
    if (failed_) return;
    int error = seccomp_rule_add_array(context_, action, call,
                                       static_cast<unsigned>(arguments.size()), arguments.begin());
    if (error) failed_ = true;
  }
  void Allow(int call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
    Add(SCMP_ACT_ALLOW, call, arguments);
  }
  void Ask(int call) { Add(SCMP_ACT_NOTIFY, call); }

  Result<std::vector<sock_filter>> Export() {
    if (failed_) return Errno::kEINVAL;
    // A binary tree over the numbers: memory calls must not pay for a long list.
    if (seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2)) return Errno::kEINVAL;
    ScopedFd file(memfd_create("filter", MFD_CLOEXEC));
    if (!file || seccomp_export_bpf(context_, file.get())) return Errno::kEINVAL;
    off_t size = lseek(file.get(), 0, SEEK_END);
    if (size < static_cast<off_t>(sizeof(sock_filter)) || size % sizeof(sock_filter))
      return Errno::kEINVAL;
    std::vector<sock_filter> program(size / sizeof(sock_filter));
    if (program.empty())
      return Errno::kEINVAL;  // (tells g++ -O2 that there is something to read to)
    if (pread(file.get(), program.data(), size, 0) != size) return Errno::kEIO;
    return program;
  }

 private:
  scmp_filter_ctx context_;
  bool failed_ = false;
};

// Bits of argument `i` outside `mask` must be zero.
scmp_arg_cmp OnlyBits(unsigned i, uint64_t mask) {
  return scmp_arg_cmp{i, SCMP_CMP_MASKED_EQ, ~mask, 0};
}
scmp_arg_cmp Is(unsigned i, uint64_t value) { return scmp_arg_cmp{i, SCMP_CMP_EQ, value, 0}; }

void AddMemoryRules(Rules& rules) {
  rules.Allow(SCMP_SYS(mmap), {OnlyBits(2, kProtections), OnlyBits(3, kMapFlags)});
  rules.Allow(SCMP_SYS(munmap));
  rules.Allow(SCMP_SYS(mprotect), {OnlyBits(2, kProtections)});
  rules.Allow(SCMP_SYS(mremap), {OnlyBits(3, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)});
  rules.Allow(SCMP_SYS(msync));
  for (uint64_t advice : kAdvice) rules.Allow(SCMP_SYS(madvise), {Is(2, advice)});
  rules.Allow(SCMP_SYS(madvise),
              {scmp_arg_cmp{0, SCMP_CMP_LT, arch::kTaskSize, 0},
               scmp_arg_cmp{1, SCMP_CMP_LT, kText - arch::kTaskSize, 0}, Is(2, MADV_DOFORK)});
}

}  // namespace

std::vector<sock_filter> GuestCallFilter() {
  // By hand: libseccomp has no rule on the instruction pointer.
  return {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),  // int 0x80: trap
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIpHigh),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kText >> 32, 0, 3),  // above or below: trap
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIpLow),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kTextMax, 1, 0),  // beyond the blob: trap
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
}

Result<std::vector<sock_filter>> StubCallFilter(bool strict) {
  Rules rules;
  if (strict) {
    for (int call : {SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap),
                     SCMP_SYS(madvise), SCMP_SYS(msync)}) {
      rules.Ask(call);
    }
  } else {
    AddMemoryRules(rules);
  }
  // Waiting for the sentry, and waking it. The doorbell is the only fd that can be written.
  rules.Allow(SCMP_SYS(futex), {Is(1, 0 /* FUTEX_WAIT */)});
  rules.Allow(SCMP_SYS(futex), {Is(1, 1 /* FUTEX_WAKE */)});
  rules.Allow(SCMP_SYS(write), {Is(0, kDoorbellFd), Is(2, 8)});
  // Its own signals, stack and segment bases. A guest that forges a frame or blocks our signal only
  // makes itself uninterruptible: SIGKILL still ends it.
  rules.Allow(SCMP_SYS(rt_sigreturn));
  rules.Allow(SCMP_SYS(rt_sigprocmask));
  rules.Allow(SCMP_SYS(sigaltstack));
  rules.Allow(SCMP_SYS(arch_prctl), {Is(0, 0x1001 /* ARCH_SET_GS */)});
  rules.Allow(SCMP_SYS(arch_prctl), {Is(0, 0x1002 /* ARCH_SET_FS */)});
  // Patching code under running threads: their instruction streams must be serialized.
  rules.Allow(SCMP_SYS(membarrier), {Is(0, 64), Is(1, 0)});  // REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
  rules.Allow(SCMP_SYS(membarrier), {Is(0, 32), Is(1, 0)});  // PRIVATE_EXPEDITED_SYNC_CORE
  rules.Allow(SCMP_SYS(close), {scmp_arg_cmp{0, SCMP_CMP_NE, kDoorbellFd, 0}});
  rules.Allow(SCMP_SYS(sched_yield));
  rules.Allow(SCMP_SYS(exit));
  rules.Allow(SCMP_SYS(exit_group));
  // Dying with the sentry may be asked for, nothing else.
  rules.Allow(SCMP_SYS(prctl), {Is(0, 1 /* PR_SET_PDEATHSIG */), Is(1, 9 /* SIGKILL */)});
  // New threads and processes, and descriptors: only as the sentry expects them.
  rules.Ask(SCMP_SYS(clone));
  rules.Ask(kCallGetFd);
  rules.Ask(kCallGetSlots);
  return rules.Export();
}

}  // namespace msentry::systrap
