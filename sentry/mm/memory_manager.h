// MemoryManager: the mappings of one guest address space, shared by the tasks that share it
// (CLONE_VM). It decides everything mmap(2) and its family decide; the pages themselves are the
// host's (platform.h), which carries out what was decided as one batch a call.
//
//   uint64_t address = TRY(mm->Map(thread, {.length = n, .protection = ..., .flags = ...},
//   limits));
//
// Callers: fibers of tasks of this address space, with their own GuestThread; the const queries
// come from any fiber (procfs).
// Locks: operations that change mappings are serialized by `change_mutex_` (a FiberMutex, held
// while the host works); the list itself is under `list_mutex_`, held for moments, so that the
// checks of copies never wait for the host. Order: change_mutex_ → list_mutex_.
// The host changes first, then the list. A copy that races with a change may be checked against the
// old list: the host then refuses it, or the stub's fault fix-up swallows it, as if it had come
// later.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "platform/platform.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/mm/access_cache.h"
#include "sentry/mm/copy.h"
#include "sentry/mm/host_proc.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/mm/mapped_file.h"
#include "sentry/mm/vma.h"
#include "sentry/mm/vma_set.h"
#include "sentry/sched/scheduler.h"

namespace msentry::mm {

// The limits of the calling task that mm obeys (getrlimit(2)); kUnlimited is RLIM_INFINITY.
inline constexpr uint64_t kUnlimited = ~uint64_t{0};
struct MemoryLimits {
  uint64_t address_space = kUnlimited;  // RLIMIT_AS
  uint64_t data = kUnlimited;           // RLIMIT_DATA
  uint64_t stack = 8 << 20;             // RLIMIT_STACK
  uint64_t locked = 64 << 10;           // RLIMIT_MEMLOCK
  bool may_lock_any = false;            // CAP_IPC_LOCK
};

// Where things are placed in a new address space; chosen once, at exec.
struct Layout {
  uint64_t mmap_top = 0;   // mappings are placed downwards from here
  uint64_t stack_top = 0;  // end of the stack's mapping
  bool randomize = true;   // false: personality(2) has ADDR_NO_RANDOMIZE
  // Random addresses as Linux picks them, from the sentry's own randomness.
  static Layout Choose(bool randomize, uint64_t stack_limit);
};

struct MapArgs {
  uint64_t address = 0;  // hint, or the place with MAP_FIXED
  uint64_t length = 0;
  int protection = 0;
  int flags = 0;            // MAP_*
  RefPtr<MappedFile> file;  // null with MAP_ANONYMOUS
  uint64_t offset = 0;
  VmaLabel label = VmaLabel::kNone;
};

// What execve(2) leaves for /proc/PID/{stat,cmdline,environ,auxv} and prctl(PR_SET_MM).
struct ImageInfo {
  uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0;
  uint64_t start_stack = 0;
  uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  std::vector<std::pair<uint64_t, uint64_t>> auxv;  // AT_NULL included
  RefPtr<MappedFile> executable;                    // /proc/PID/exe
};

// vm.max_map_count: mappings an address space may have.
inline std::atomic<size_t> max_map_count{65530};

// 64 random bits of the host's (getrandom(2)), for addresses and AT_RANDOM.
uint64_t RandomBits();

class MemoryManager : public RefCounted<MemoryManager> {
 public:
  static RefPtr<MemoryManager> Create(RefPtr<platform::AddressSpace> space, const Layout& layout);
  ~MemoryManager();

  platform::AddressSpace& address_space() const { return *space_; }
  const Layout& layout() const { return layout_; }

  // Loading a program makes many mappings before the guest runs: from BeginLoad() to FinishLoad()
  // host operations are collected and carried out as one batch by FinishLoad. Only while one fiber
  // knows the object; copies to the new mappings must wait for FinishLoad.
  void BeginLoad();
  Result<> FinishLoad(platform::GuestThread& thread);

  // ---- The system calls. Addresses and lengths are the guest's, unchecked. ----

  Result<uint64_t> Map(platform::GuestThread& thread, MapArgs args, const MemoryLimits& limits);
  Result<> Unmap(platform::GuestThread& thread, uint64_t address, uint64_t length);
  Result<> Protect(platform::GuestThread& thread, uint64_t address, uint64_t length, int protection,
                   const MemoryLimits& limits);
  Result<uint64_t> Remap(platform::GuestThread& thread, uint64_t old_address, uint64_t old_length,
                         uint64_t new_length, int flags, uint64_t new_address,
                         const MemoryLimits& limits);
  // The new break, or the old one when it cannot be moved there, as brk(2) returns.
  uint64_t Brk(platform::GuestThread& thread, uint64_t address, const MemoryLimits& limits);
  Result<> Advise(platform::GuestThread& thread, uint64_t address, uint64_t length, int advice);
  Result<> Sync(platform::GuestThread& thread, uint64_t address, uint64_t length, int flags);
  Result<> Lock(platform::GuestThread& thread, uint64_t address, uint64_t length, bool on_fault,
                const MemoryLimits& limits);
  Result<> Unlock(uint64_t address, uint64_t length);
  Result<> LockAll(platform::GuestThread& thread, int mcl_flags, const MemoryLimits& limits);
  Result<> UnlockAll();
  // One byte a page into `out` (at most out.size() pages): bit 0 is residency.
  Result<> Mincore(uint64_t address, std::span<uint8_t> out) const;

  // ---- Used by the kernel ----

  struct Forked {
    RefPtr<MemoryManager> mm;
    std::unique_ptr<platform::GuestThread> thread;
  };
  // fork(2): a copy of the address space, host process and list of mappings, with one thread.
  Result<Forked> Fork(platform::GuestThread& thread);

  // A guest fault at `address`: true when a mapping has been grown to hold it (a stack), and the
  // guest can go on where it was; false: it gets the signal.
  bool HandleFault(platform::GuestThread& thread, uint64_t address, const MemoryLimits& limits);

  // RLIMIT_STACK for stacks that grow because the sentry touches them; setrlimit(2) tells us.
  void set_stack_limit(uint64_t bytes) { stack_limit_.store(bytes, std::memory_order_relaxed); }

  // Where the heap begins; the loader sets it.
  void SetBrkStart(uint64_t address);
  void SetImage(ImageInfo image);
  ImageInfo image() const;

  // PR_SET_DUMPABLE: 1 when the memory may be inspected by its own user.
  int dumpable() const { return dumpable_.load(std::memory_order_relaxed); }
  void set_dumpable(int v) { dumpable_.store(v, std::memory_order_relaxed); }

  // The identity of the futex word at `address` when it lies in shared memory: two addresses with
  // equal keys are the same word. nullopt: private memory, the key is (mm, address).
  struct SharedKey {
    uint64_t device = 0, object = 0, offset = 0;
    bool operator==(const SharedKey&) const = default;
  };
  std::optional<SharedKey> SharedKeyAt(uint64_t address) const;

  // ---- Copies (mm/copy.h and mm/io_sequence.h are how others reach them) ----

  // Bytes from `address` on, at most `length`, that lie in mappings with `protection` (PROT_*); 0
  // when the first does not. Grows a stack to reach them when `thread` is given.
  size_t Accessible(platform::GuestThread* thread, uint64_t address, size_t length, int protection);

  // ---- Queries for procfs and limits; any fiber ----

  void ForEach(absl::FunctionRef<void(const Vma&)> visit) const;  // in address order; copies first
  std::optional<Vma> Find(uint64_t address) const;
  uint64_t total_bytes() const;   // VmSize
  uint64_t data_bytes() const;    // VmData: private writable
  uint64_t stack_bytes() const;   // VmStk
  uint64_t exec_bytes() const;    // VmExe + VmLib
  uint64_t locked_bytes() const;  // VmLck
  uint64_t peak_bytes() const;    // VmPeak
  uint64_t brk_start() const;
  uint64_t brk_end() const;
  // Asked of the host; zeros once the stub process is gone.
  ResidentUsage Resident() const;
  HostFigures Figures() const;
  HostMemory HostStatus() const;

 private:
  MemoryManager(RefPtr<platform::AddressSpace> space, const Layout& layout);

  // Carries out `batch` on the host, or keeps it for FinishLoad().
  Result<> Run(platform::GuestThread& thread, const platform::MemoryBatch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // To be called after every change of vmas_.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(list_mutex_);

  // Where a mapping of `length` bytes goes (mmap's rules for hints, MAP_FIXED..., MAP_32BIT).
  Result<uint64_t> Place(uint64_t address, uint64_t length, int flags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(list_mutex_);
  // kENOMEM when `added` more bytes (of them `data` private writable) exceed a limit.
  Result<> CheckLimits(uint64_t added, uint64_t data, const MemoryLimits& limits) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(list_mutex_);
  Result<> CheckLockLimit(uint64_t added, const MemoryLimits& limits, Errno over) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(list_mutex_);

  Result<> UnmapRange(platform::GuestThread& thread, uint64_t start, uint64_t end,
                      DroppedFiles& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  Result<uint64_t> RemapInPlace(platform::GuestThread& thread, const Vma& vma, uint64_t old_address,
                                uint64_t old_length, uint64_t new_length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  Result<uint64_t> RemapTo(platform::GuestThread& thread, const Vma& vma, uint64_t old_address,
                           uint64_t old_length, uint64_t new_address, uint64_t new_length,
                           bool keep_old, DroppedFiles& dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  Result<> MovePages(platform::GuestThread& thread, uint64_t from, uint64_t length, uint64_t to)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // Grows the stack above `address` to hold it.
  bool GrowStack(platform::GuestThread& thread, uint64_t address, uint64_t stack_limit);
  // Touches the pages of [start, end) so that they are resident; kENOMEM where that is forbidden.
  Result<> Populate(platform::GuestThread& thread, uint64_t start, uint64_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  const RefPtr<platform::AddressSpace> space_;
  const Layout layout_;
  std::atomic<int> dumpable_{1};
  std::atomic<uint64_t> stack_limit_{8 << 20};

  mutable sched::FiberMutex change_mutex_ ABSL_ACQUIRED_BEFORE(list_mutex_);
  bool loading_ ABSL_GUARDED_BY(change_mutex_) = false;
  platform::MemoryBatch load_batch_ ABSL_GUARDED_BY(change_mutex_);

  mutable Mutex list_mutex_;
  VmaSet vmas_ ABSL_GUARDED_BY(list_mutex_);
  uint64_t peak_ ABSL_GUARDED_BY(list_mutex_) = 0;
  uint64_t brk_start_ ABSL_GUARDED_BY(list_mutex_) = 0;
  uint64_t brk_end_ ABSL_GUARDED_BY(list_mutex_) = 0;
  bool lock_future_ ABSL_GUARDED_BY(list_mutex_) = false;  // mlockall(MCL_FUTURE)
  ImageInfo image_ ABSL_GUARDED_BY(list_mutex_);

  mutable Mutex figures_mutex_;
  mutable host_proc::KeptFd stat_ ABSL_GUARDED_BY(figures_mutex_);
  mutable host_proc::KeptFd statm_ ABSL_GUARDED_BY(figures_mutex_);
  mutable host_proc::KeptFd status_ ABSL_GUARDED_BY(figures_mutex_);

  AccessCache access_cache_;  // written under list_mutex_, read without
};

}  // namespace msentry::mm
