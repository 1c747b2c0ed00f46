// The platform: runs guest code and holds guest memory. Everything above sees only this interface
// and must not know which implementation runs (systrap or ptrace).
//
// A guest address space is a host process (the stub process); a guest thread is one host thread of
// it. Guest memory is that process's native memory: faults, copy-on-write and fork are the host's.
// The sentry keeps the list of mappings (sentry/mm), the platform carries out what it says.
//
//   auto platform = TRY(Platform::Create(scheduler, {.kind = Kind::kSystrap}));
//   auto [space, thread] = TRY(platform->NewProcess());       // an empty address space, one thread
//   MemoryBatch batch; batch.MapFile(...); TRY(thread->Apply(batch));
//   for (;;) {
//     Event event = thread->Switch(registers);                // runs guest code; parks the fiber
//     ...
//   }
//
// Threading: all GuestThread calls but Interrupt(), cpu_time_ns() and the shared-state setters come
// from the fiber that owns the thread. AddressSpace calls come from any fiber.
// Trust: the stub process is hostile. Whatever it writes is read once, copied, validated. A stub
// that breaks the protocol or dies makes Switch return kExited; the sentry kills the guest process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sentry/abi/arg_kind.h"
#include "sentry/arch/registers.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"

namespace msentry::platform {

enum class Kind { kSystrap, kPtrace };

// Host memory operations to be carried out in order in one round trip. On the first failure the
// rest is skipped. Addresses and lengths are page aligned and inside [kMinGuestAddress, kTaskSize):
// the caller (sentry/mm) has checked; the platform CHECKs.
struct MemoryOp {
  enum class Kind : uint8_t { kMapAnonymous, kMapFile, kUnmap, kProtect, kAdvise, kRemap, kSync };
  Kind kind;
  uint64_t address = 0;
  uint64_t length = 0;
  uint64_t new_address =
      0;                    // kRemap: mremap(2) with MREMAP_MAYMOVE | MREMAP_FIXED when they differ
  uint64_t new_length = 0;  // kRemap
  int protection = 0;       // PROT_*; kMapAnonymous, kMapFile, kProtect
  int flags = 0;        // MAP_* to add to MAP_FIXED: MAP_PRIVATE or MAP_SHARED, MAP_NORESERVE...
                        // kAdvise: the advice; kSync: MS_*
  int host_fd = -1;     // kMapFile; borrowed until Apply returns
  uint64_t offset = 0;  // kMapFile, bytes
};

class MemoryBatch {
 public:
  void MapAnonymous(uint64_t address, uint64_t length, int protection, int flags);
  void MapFile(uint64_t address, uint64_t length, int protection, int flags, int host_fd,
               uint64_t offset);
  void Unmap(uint64_t address, uint64_t length);
  void Protect(uint64_t address, uint64_t length, int protection);
  void Advise(uint64_t address, uint64_t length, int advice);
  void Remap(uint64_t address, uint64_t length, uint64_t new_address, uint64_t new_length);
  void Sync(uint64_t address, uint64_t length, int flags);
  void Append(const MemoryBatch& more) {
    ops_.insert(ops_.end(), more.ops_.begin(), more.ops_.end());
  }
  std::span<const MemoryOp> ops() const { return ops_; }
  bool empty() const { return ops_.empty(); }

 private:
  std::vector<MemoryOp> ops_;
};

// What ended a stay in guest code.
struct Event {
  enum class Kind : uint8_t {
    kSyscall,      // registers hold the call; rip is behind the instruction
    kFault,        // signo, code, address: what Linux would put in siginfo
    kInterrupted,  // Interrupt() was called; registers are those of guest code
    kExited,       // the host thread or process is gone (killed, or it broke the protocol)
  };
  Kind kind = Kind::kExited;
  int signo = 0;                             // kFault: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP
  int code = 0;                              // kFault: si_code
  uint64_t address = 0;                      // kFault: si_addr
  uint64_t error_code = 0, trap_number = 0;  // kFault: for the guest's sigcontext (err, trapno)
};

// What the stub may answer by itself, published by the kernel whenever it changes. Only systrap
// uses it; a guest can read it, so it holds nothing the guest may not know.
struct Identity {
  int32_t tgid = 0, tid = 0;
  uint32_t uid = 0, euid = 0, gid = 0, egid = 0;
};

class AddressSpace : public RefCounted<AddressSpace> {
 public:
  virtual ~AddressSpace() = default;

  // Copies from/to guest memory, obeying its page protections. Returns the bytes copied when at
  // least one was, kEFAULT when none (as Linux's copy_{from,to}_user users need). Any fiber.
  virtual Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) = 0;
  virtual Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) = 0;
  // CopyOut that ignores write protection (a debugger's POKETEXT, /proc/PID/mem).
  virtual Result<size_t> ForceCopyOut(uint64_t address, std::span<const std::byte> in) = 0;

  // Host process id (for /proc/PID/statm-like figures the sentry gathers); -1 when gone.
  virtual int host_pid() const = 0;
  // Kills the host process at once. Its threads' Switch return kExited.
  virtual void Kill() = 0;
};

class GuestThread {
 public:
  virtual ~GuestThread() = default;  // ends the host thread; last one ends the process

  // Resumes guest code with `registers` and waits (parked) for the next event, whose registers it
  // stores there. The first Switch after a kSyscall event returns registers.rax to the program.
  virtual Event Switch(arch::Registers& registers) = 0;

  // Carries out host memory operations in this thread's address space.
  virtual Result<> Apply(const MemoryBatch& batch) = 0;

  // A copy of the address space with one thread, ready to Switch with a copy of our registers and
  // FPU state. Host fork: copy-on-write, native speed.
  virtual Result<std::pair<RefPtr<AddressSpace>, std::unique_ptr<GuestThread>>> Fork() = 0;
  // Another thread in the same address space; FPU state copied.
  virtual Result<std::unique_ptr<GuestThread>> NewThread() = 0;

  // XSAVE area in the standard (non-compacted) format of the host, as a signal frame holds it.
  virtual Result<> SaveFpu(std::vector<std::byte>& out) = 0;
  // `in` came from the guest: the platform sanitizes it (MXCSR reserved bits, XSTATE_BV).
  virtual Result<> LoadFpu(std::span<const std::byte> in) = 0;
  virtual Result<> ResetFpu() = 0;  // the state execve(2) leaves

  // Guest memory through the fast path when it is there (arguments the stub has already copied in,
  // results it will copy out before it resumes), else as AddressSpace's. A CopyOut that is deferred
  // has been accepted only if the mapping is writable as far as sentry/mm knows: mm checks first.
  // Other threads of the guest see a deferred CopyOut only when this thread resumes: what a thread
  // that we wake must find in memory (a futex word, CLONE_CHILD_SETTID) goes through AddressSpace.
  virtual Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) = 0;
  virtual Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) = 0;
  // A window of host memory for a guest range in a bulk transfer, at most `length` bytes, or an
  // empty span when there is none (then use CopyIn/CopyOut). For kToGuest the bytes written to it
  // reach the guest at FinishBulk(n) or before the thread resumes; for kFromGuest they are the
  // guest's bytes, volatile: the guest can change them meanwhile.
  enum class Direction { kToGuest, kFromGuest };
  virtual std::span<std::byte> BeginBulk(uint64_t address, size_t length, Direction direction) = 0;
  virtual Result<> FinishBulk(size_t bytes) = 0;

  // The current call is about to wait for something: the guest's thread need not keep a CPU busy in
  // expectation of its result.
  virtual void ExpectLongWait() {}

  // Makes the current or next Switch return kInterrupted soon (any thread). Idempotent.
  virtual void Interrupt() = 0;
  // CPU time this thread used in guest code, nanoseconds.
  virtual int64_t cpu_time_ns() = 0;

  // State shared with the stub so that it can answer without us.
  virtual void PublishIdentity(const Identity& identity) = 0;
  // The blocked-signals mask; the stub may change it (rt_sigprocmask) unless shortcuts are off, so
  // the value read is guest-controlled: strip SIGKILL and SIGSTOP. Bit n-1 is signal n.
  virtual uint64_t signal_mask() const = 0;
  virtual void set_signal_mask(uint64_t mask) = 0;
  // Signals pending for this thread: when the stub unblocks one of them it must enter the sentry.
  virtual void PublishPendingSignals(uint64_t pending) = 0;
  // false: every call goes to the sentry (strace, ptrace, seccomp inside the guest).
  virtual void EnableShortcuts(bool enabled) = 0;
};

struct Options {
  Kind kind = Kind::kSystrap;
  bool strict_gate = false;  // every host memory call of a stub passes a user notification
  int pool = 2;              // stub processes kept ready
  // kMaxSyscall entries (static storage), or null: nothing is marshalled, all copies are slow ones.
  const abi::SyscallArgSpecs* arg_specs = nullptr;
};

class Platform {
 public:
  // Must be called before the sentry confines itself, but with its final user and group ids and in
  // its final user namespace (guest memory is reached with process_vm_readv), and by a host thread
  // that lives as long as the platform (its end would kill the stubs: PR_SET_PDEATHSIG). Fails with
  // a text that says what the host forbids (ptrace, seccomp) in `why`.
  static Result<std::unique_ptr<Platform>> Create(sched::Scheduler& scheduler,
                                                  const Options& options, std::string* why);
  virtual ~Platform() = default;

  // An address space with nothing mapped below kTaskSize, and its first thread.
  virtual Result<std::pair<RefPtr<AddressSpace>, std::unique_ptr<GuestThread>>> NewProcess() = 0;

  virtual Kind kind() const = 0;
  // The host's vDSO, mapped into every guest address space at a fixed place below kTaskSize if the
  // platform can provide it (all zero when not): [address, address + length) are its code pages,
  // for AT_SYSINFO_EHDR, and [vvar_address, vvar_address + vvar_length) the data pages before
  // them. sentry/mm lists both as [vdso] and [vvar] and lets nothing be mapped there.
  struct Vdso {
    uint64_t address = 0, length = 0;
    uint64_t vvar_address = 0, vvar_length = 0;
  };
  virtual Vdso vdso() const = 0;
};

}  // namespace msentry::platform
