#include "platform/systrap/guest_thread.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "platform/systrap/platform_impl.h"
#include "platform/systrap/xstate.h"
#include "sentry/base/log.h"
#include "sentry/sched/spin_hint.h"

namespace msentry::systrap {
namespace {

// SlotRegs is arch::Registers under another name: the stub includes nothing of the sentry.
static_assert(sizeof(SlotRegs) == sizeof(arch::Registers));
static_assert(offsetof(SlotRegs, rax) == offsetof(arch::Registers, rax));
static_assert(offsetof(SlotRegs, rip) == offsetof(arch::Registers, rip));
static_assert(offsetof(SlotRegs, gs) == offsetof(arch::Registers, gs));
constexpr size_t kLiveRegs = offsetof(SlotRegs, fs_base) / 8;  // those the stub saves and loads

// Flags a program can set, and those that are always on.
constexpr uint64_t kUserFlags = 0x250dd5, kFixedFlags = 0x202;
constexpr uint64_t kUserCs = 0x33, kUserSs = 0x2b;
constexpr uint64_t kUnblockable = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1);

uint64_t Tsc() { return __builtin_ia32_rdtsc(); }

// What the run of a thread's life costs the process, in nanoseconds (user and system).
int64_t ProcessCpuTime(int pid) {
  // clock_getcpuclockid(3), without its system call that looks whether the process is there.
  const clockid_t clock = static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | 2);
  timespec time;
  if (pid <= 0 || clock_gettime(clock, &time) != 0) return -1;
  return time.tv_sec * 1'000'000'000ll + time.tv_nsec;
}

Op MakeOp(const platform::MemoryOp& op) {
  using Kind = platform::MemoryOp::Kind;
  uint64_t protection = static_cast<uint64_t>(op.protection);
  uint64_t flags = static_cast<uint64_t>(op.flags);
  switch (op.kind) {
    case Kind::kMapAnonymous:
      return HostCall(SYS_mmap, op.address, op.length, protection,
                      flags | MAP_FIXED | MAP_ANONYMOUS, ~0ull, 0);
    case Kind::kMapFile:
      return Op{
          kOpMapFile, 0, {op.address, op.length, protection, flags | MAP_FIXED, 0, op.offset, 0}};
    case Kind::kUnmap:
      return HostCall(SYS_munmap, op.address, op.length);
    case Kind::kProtect:
      return HostCall(SYS_mprotect, op.address, op.length, protection);
    case Kind::kAdvise:
      return HostCall(SYS_madvise, op.address, op.length, flags);
    case Kind::kRemap:
      return HostCall(SYS_mremap, op.address, op.length, op.new_length,
                      op.address == op.new_address ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED,
                      op.new_address);
    case Kind::kSync:
      return HostCall(SYS_msync, op.address, op.length, flags);
  }
  CHECK(false);
}

bool InGuest(uint64_t address, uint64_t length) {
  return address >= arch::kMinGuestAddress && address < arch::kTaskSize &&
         length <= arch::kTaskSize - address && address % arch::kPageSize == 0;
}

}  // namespace

// The calls of `op` that the keeper has to let through.
void Thread::Announce(const Op& op, int host_fd, std::deque<Expected>& calls) {
  const bool strict = platform_.strict();
  if (op.code == kOpMapFile) {
    if (!(op.a[4] & kMapFileSame)) {
      calls.push_back({.answer = Expected::Answer::kSendFd, .number = kCallGetFd, .fd = host_fd});
    }
    if (strict) {
      calls.push_back({.number = SYS_mmap,
                       .arguments = {op.a[0], op.a[1], op.a[2], op.a[3], 0, op.a[5]},
                       .check = 0b101111});
    }
  } else if (strict && op.code == kOpSyscall) {
    calls.push_back({.number = static_cast<int>(op.a[0]),
                     .arguments = {op.a[1], op.a[2], op.a[3], op.a[4], op.a[5], op.a[6]},
                     .check = 0b111111});
  }
}

Thread::Thread(SystrapPlatform& platform, RefPtr<Space> space, uint32_t index, uint64_t fs_base)
    : platform_(platform),
      space_(std::move(space)),
      index_(index),
      slot_(space_->slot(index)),
      fs_base_(fs_base) {
  space_->AddThread(this);
}

void Thread::Prepare(uint32_t count, After after) {
  slot_->op_count = count;
  slot_->after = after;
}

void Thread::GiveBall() { __atomic_store_n(&slot_->state, kReply, __ATOMIC_SEQ_CST); }

void Thread::WakeStub() {
  if (__atomic_load_n(&slot_->sleeping, __ATOMIC_SEQ_CST)) {
    sched::NoteWake(static_cast<int>(__atomic_load_n(&slot_->cpu, __ATOMIC_RELAXED)));
    syscall(SYS_futex, &slot_->state, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
}

bool Thread::Run(uint32_t count, After after) {
  Prepare(count, after);
  platform_.BeginRun(this);
  WakeStub();
  if (platform_.AwaitRun(this, come() ? sched::kNever : sched::NowNs() + kStartTimeoutNs)) {
    return true;
  }
  gone_ = true;
  space_->Kill();
  return false;
}

// Run() for operations in the middle of a call. Whatever else the fiber is told meanwhile (a futex
// it has queued for was woken) took its token from Park(): it is left again, and the caller, who
// looks at its condition in a loop, looks once too often.
bool Thread::RunOps(uint32_t count) {
  const bool there = Run(count, kReport);
  if (sched::Fiber* fiber = sched::CurrentFiber()) sched::Unpark(fiber);
  return there;
}

platform::Event Thread::Broken(const char* what) {
  LogWarning("systrap: guest process %d killed: %s", space_->host_pid(), what);
  gone_ = true;
  space_->Kill();
  return {.kind = platform::Event::Kind::kExited};
}

void Thread::WriteRegisters(const arch::Registers& registers, uint64_t rip) {
  arch::Registers clean = registers;
  if (clean.rcx == clean.rip) clean.rcx = rip;  // a call's return: the quick way out stays possible
  clean.rip = rip;
  clean.cs = kUserCs;
  clean.ss = kUserSs;
  clean.eflags = (clean.eflags & kUserFlags) | kFixedFlags;
  // Only what differs: each cache line we write must travel to the other core.
  uint64_t values[sizeof(SlotRegs) / 8], old[sizeof(SlotRegs) / 8];
  memcpy(values, &clean, sizeof(values));
  memcpy(old, &shadow_, sizeof(old));
  uint64_t* to = &slot_->regs.r15;
  for (size_t i = 0; i < kLiveRegs; ++i) {
    if (values[i] != old[i]) __atomic_store_n(to + i, values[i], __ATOMIC_RELAXED);
  }
  memcpy(&shadow_, values, sizeof(values));
}

platform::Event Thread::Switch(arch::Registers& registers) {
  using Kind = platform::Event::Kind;
  if (gone_) return {.kind = Kind::kExited};
  if (interrupt_.load(std::memory_order_relaxed)) {
    __atomic_store_n(&slot_->interrupt, 0, __ATOMIC_SEQ_CST);
    interrupt_.store(false, std::memory_order_seq_cst);
    return {.kind = Kind::kInterrupted};
  }
  if (registers.fs_base != fs_base_) {
    pending_.push_back(Op{kOpSetFs, 0, {registers.fs_base}});
    fs_base_ = registers.fs_base;
  }
  if (registers.gs_base != gs_base_) {
    gs_base_ = registers.gs_base;
    slot_->guest_gs = gs_base_;
    space_->gs_used.store(true, std::memory_order_relaxed);
    Undo(0, ~uint64_t{0});
  }
  while (pending_.size() > kMaxOps) {
    if (!Flush() && gone_) return {.kind = Kind::kExited};
  }
  Patcher& patcher = space_->patcher();
  uint64_t rip = registers.rip == guest_rip_ && rip_generation_ == patcher.generation()
                     ? host_rip_
                     : patcher.ToHost(registers.rip);
  for (;;) {
    WriteRegisters(registers, rip);
    const uint64_t resumed_in = patcher.generation();
    platform::Event event = RunGuest(registers);
    if (event.kind == Kind::kExited) return event;
    host_rip_ = registers.rip;
    if (event.kind == Kind::kFault) {
      if (std::optional<uint64_t> to = patcher.FixFault(event.signo, host_rip_, resumed_in)) {
        rip = *to;
        continue;
      }
    }
    rip_generation_ = patcher.generation();  // before the answer
    guest_rip_ = patcher.ToGuest(host_rip_);
    if (registers.rcx == registers.rip) registers.rcx = guest_rip_;
    registers.rip = guest_rip_;
    if (event.kind == Kind::kSyscall && by_signal_) {
      ConsiderPatch(registers);
      if (gone_) return {.kind = Kind::kExited};
    }
    return event;
  }
}

// One stay in guest code, from the reply to the next request. Seized until that has been read: a
// borrower's operations overwrite it.
platform::Event Thread::RunGuest(arch::Registers& registers) {
  Seize();
  if (!pending_.empty()) {
    memcpy(SlotFile::Bytes(slot_, kOpsOffset), pending_.data(), pending_.size() * sizeof(Op));
  }
  uint64_t start = Tsc();
  tsc_since_.store(start, std::memory_order_relaxed);
  in_guest_.store(true, std::memory_order_seq_cst);
  uint32_t count = static_cast<uint32_t>(pending_.size());
  Flushed();
  marshalled_ = false;
  bool there = Run(count, kResume);
  in_guest_.store(false, std::memory_order_seq_cst);
  uint64_t used = Tsc() - start;
  tsc_since_.store(0, std::memory_order_relaxed);
  tsc_used_.store(tsc_used_.load(std::memory_order_relaxed) + used, std::memory_order_relaxed);
  space_->tsc_total.fetch_add(used, std::memory_order_relaxed);
  platform::Event event;  // kExited
  if (there) event = ReadEvent(registers);
  Unseize();
  return event;
}

platform::Event Thread::ReadEvent(arch::Registers& registers) {
  using Kind = platform::Event::Kind;
  // Everything is read once; the values are the guest's own affair.
  uint32_t kind = __atomic_load_n(&slot_->kind, __ATOMIC_RELAXED);
  uint64_t values[sizeof(SlotRegs) / 8] = {};
  const uint64_t* from = &slot_->regs.r15;
  for (size_t i = 0; i < kLiveRegs; ++i) values[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
  memcpy(&shadow_, values, sizeof(shadow_));
  memcpy(&registers, values, kLiveRegs * 8);
  registers.cs = kUserCs;
  registers.ss = kUserSs;
  registers.eflags = (registers.eflags & kUserFlags) | kFixedFlags;
  registers.fs_base = fs_base_;
  registers.gs_base = gs_base_;
  registers.ds = registers.es = registers.fs = registers.gs = 0;
  platform::Event event;
  switch (kind) {
    case kSyscall:
      event.kind = Kind::kSyscall;
      by_signal_ = __atomic_load_n(&slot_->by_signal, __ATOMIC_RELAXED) != 0;
      ReadMarshalled(registers);
      return event;
    case kFault:
      registers.orig_rax = ~0ull;
      event.kind = Kind::kFault;
      event.signo = static_cast<int>(__atomic_load_n(&slot_->fault_signo, __ATOMIC_RELAXED));
      event.code = __atomic_load_n(&slot_->fault_code, __ATOMIC_RELAXED);
      event.address = __atomic_load_n(&slot_->fault_address, __ATOMIC_RELAXED);
      event.error_code = __atomic_load_n(&slot_->fault_error, __ATOMIC_RELAXED);
      event.trap_number = __atomic_load_n(&slot_->fault_trap, __ATOMIC_RELAXED);
      switch (event.signo) {
        case SIGSEGV:
        case SIGBUS:
        case SIGILL:
        case SIGFPE:
        case SIGTRAP:
          return event;
        default:
          return Broken("a fault that is none");
      }
    case kInterrupted:
      registers.orig_rax = ~0ull;
      event.kind = Kind::kInterrupted;
      // In this order: an Interrupt() that comes between finds itself still pending and is reported
      // by this return; one that comes later sets the slot's word again.
      __atomic_store_n(&slot_->interrupt, 0, __ATOMIC_SEQ_CST);
      interrupt_.store(false, std::memory_order_seq_cst);
      return event;
    case kDone:
      return Broken("an operation that was to precede its return failed");
    default:
      return Broken("an unknown request");
  }
}

void Thread::Seize() {
  // Held for the length of a few operations at most.
  while (busy_.exchange(true, std::memory_order_acquire)) {
    if (sched::CurrentFiber()) sched::Yield();
  }
}

bool Thread::TrySeize() {
  if (gone_ || busy_.exchange(true, std::memory_order_acquire)) return false;
  return true;
}

Result<> Thread::ExecuteSeized(const Op& op) {
  *reinterpret_cast<Op*>(SlotFile::Bytes(slot_, kOpsOffset)) = op;
  std::deque<Expected> calls;
  Announce(op, -1, calls);
  bool announced = !calls.empty();
  if (announced) platform_.keeper().Expect(this, std::move(calls));
  bool there = RunOps(1);
  if (announced) platform_.keeper().Forget(this);
  if (!there) return Errno::kESRCH;
  TRY(ReadDone());
  return Ok();
}

Result<int64_t> Thread::ReadDone() {
  if (__atomic_load_n(&slot_->kind, __ATOMIC_RELAXED) != kDone) {
    Broken("a request while operations were due");
    return Errno::kESRCH;
  }
  int64_t value = __atomic_load_n(&slot_->value, __ATOMIC_RELAXED);
  if (value < 0 && value >= -4095) return FromHost(static_cast<int>(-value));
  return value;
}

Result<int64_t> Thread::ExecuteSome(std::span<const Op> ops) {
  // What was deferred goes first, in order.
  size_t count = 0;
  Op* out = reinterpret_cast<Op*>(SlotFile::Bytes(slot_, kOpsOffset));
  size_t deferred = std::min<size_t>(pending_.size(), kMaxOps);
  for (size_t i = 0; i < deferred; ++i) out[count++] = pending_[i];
  if (deferred == pending_.size()) {
    Flushed();
  } else {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(deferred));
  }
  CHECK(count + ops.size() <= kMaxOps);
  for (const Op& op : ops) out[count++] = op;
  if (!RunOps(static_cast<uint32_t>(count))) return Errno::kESRCH;
  return ReadDone();
}

Result<int64_t> Thread::Execute(std::span<const Op> ops, std::deque<Expected> calls) {
  if (gone_) return Errno::kESRCH;
  Seize();
  Result<int64_t> result = ExecuteHeld(ops, std::move(calls));
  Unseize();
  return result;
}

Result<int64_t> Thread::ExecuteHeld(std::span<const Op> ops, std::deque<Expected> calls) {
  bool announced = !calls.empty();
  if (announced) platform_.keeper().Expect(this, std::move(calls));
  Result<int64_t> result = int64_t{0};
  while (!ops.empty()) {
    if (pending_.size() >= kMaxOps) {
      result = ExecuteSome({});
    } else {
      size_t n = std::min(ops.size(), kMaxOps - pending_.size());
      result = ExecuteSome(ops.first(n));
      ops = ops.subspan(n);
    }
    if (!result.ok()) break;
  }
  if (announced) platform_.keeper().Forget(this);
  return result;
}

Result<> Thread::Apply(const platform::MemoryBatch& batch) {
  std::vector<Op> ops;
  std::deque<Expected> calls;
  sched::FiberMutexLock lock(space_->layout_mutex());
  int last_fd = -1;  // of the operation before, if the stub can keep it: in one list with this one
  const bool one_list = pending_.size() + batch.ops().size() <= kMaxOps;
  for (const platform::MemoryOp& op : batch.ops()) {
    CHECK(InGuest(op.address, op.length));
    if (op.kind == platform::MemoryOp::Kind::kRemap) CHECK(InGuest(op.new_address, op.new_length));
    std::vector<PatchPlan> undo = space_->patcher().Before(op);
    if (!undo.empty()) {
      TRY(Execute(ops, std::move(calls)));
      ops.clear();
      calls.clear();
      last_fd = -1;
      for (const PatchPlan& plan : undo) CarryOut(plan);
    }
    ops.push_back(MakeOp(op));
    if (op.kind != platform::MemoryOp::Kind::kMapFile) {
      last_fd = -1;
    } else if (op.host_fd == last_fd) {
      ops[ops.size() - 2].a[4] |= kMapFileMore;
      ops.back().a[4] |= kMapFileSame;
    } else if (one_list) {
      last_fd = op.host_fd;
    }
    Announce(ops.back(), op.host_fd, calls);
  }
  TRY(Execute(ops, std::move(calls)));
  return Ok();
}

Result<> Thread::SaveFpu(std::vector<std::byte>& out) {
  const Op op{kOpSaveFpu, 0, {}};
  TRY(Execute(std::span(&op, 1)));
  const std::byte* area = SlotFile::Bytes(slot_, kFpuOffset);
  out.assign(area, area + HostXstate().size);
  return Ok();
}

void Thread::PutFpu(std::span<const std::byte> image) {
  // A load that is still pending would read the new bytes: it is the same load then.
  memcpy(SlotFile::Bytes(slot_, kFpuOffset), image.data(), image.size());
  pending_.push_back(Op{kOpLoadFpu, 0, {}});
}

Result<> Thread::LoadFpu(std::span<const std::byte> in) {
  if (gone_) return Errno::kESRCH;
  PutFpu(SanitizeXstate(in));
  return Ok();
}

Result<> Thread::ResetFpu() {
  if (gone_) return Errno::kESRCH;
  PutFpu(InitialXstate());
  return Ok();
}

void Thread::ExpectLongWait() { __atomic_store_n(&slot_->doze, 1u, __ATOMIC_RELAXED); }

void Thread::Interrupt() {
  if (interrupt_.exchange(true, std::memory_order_seq_cst)) return;
  __atomic_store_n(&slot_->interrupt, 1, __ATOMIC_SEQ_CST);
  if (in_guest_.load(std::memory_order_seq_cst)) {
    space_->Signal(tid_.load(std::memory_order_acquire), kInterruptSignal);
  }
}

int64_t Thread::cpu_time_ns() {
  int64_t process = ProcessCpuTime(space_->host_pid());
  int64_t seen = cpu_time_seen_.load(std::memory_order_relaxed);
  if (process < 0) return seen;
  int64_t mine = process;
  if (space_->multi_threaded.load(std::memory_order_relaxed)) {
    // The host tells a process's time only; the threads' shares are by time spent in guest code.
    uint64_t since = tsc_since_.load(std::memory_order_relaxed);
    uint64_t running = since ? Tsc() - since : 0;
    double used = static_cast<double>(tsc_used_.load(std::memory_order_relaxed) + running);
    double total = static_cast<double>(space_->tsc_total.load(std::memory_order_relaxed) + running);
    mine = total > 0 ? static_cast<int64_t>(static_cast<double>(process) * (used / total)) : 0;
  }
  while (mine > seen &&
         !cpu_time_seen_.compare_exchange_weak(seen, mine, std::memory_order_relaxed)) {
  }
  return std::max(mine, seen);
}

void Thread::PublishIdentity(const platform::Identity& identity) {
  slot_->tgid = identity.tgid;
  slot_->tid = identity.tid;
  slot_->uid = identity.uid;
  slot_->euid = identity.euid;
  slot_->gid = identity.gid;
  slot_->egid = identity.egid;
}

uint64_t Thread::signal_mask() const {
  return __atomic_load_n(&slot_->signal_mask, __ATOMIC_RELAXED) & ~kUnblockable;
}

void Thread::set_signal_mask(uint64_t mask) {
  __atomic_store_n(&slot_->signal_mask, mask & ~kUnblockable, __ATOMIC_RELAXED);
}

void Thread::PublishPendingSignals(uint64_t pending) {
  __atomic_store_n(&slot_->signals_pending, pending, __ATOMIC_SEQ_CST);
}

void Thread::EnableShortcuts(bool enabled) {
  __atomic_store_n(&slot_->shortcuts, enabled ? 1u : 0u, __ATOMIC_SEQ_CST);
}

}  // namespace msentry::systrap
