#include <linux/mman.h>
#include <sys/mman.h>

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/mm/pages.h"
#include "sentry/syscalls/calls_mm.h"
#include "vfs/mapping.h"

namespace msentry::syscalls {

namespace {

Result<int64_t> Zero(const Result<>& result) {
  if (!result) return result.error();
  return int64_t{0};
}

}  // namespace

Result<int64_t> SysMmap(kernel::Task& t, const SyscallArgs& a) {
  mm::MapArgs args{
      .address = a[0], .length = a[1], .protection = a.Int(2), .flags = a.Int(3), .offset = a[5]};
  if (!mm::IsPageAligned(args.offset)) return Errno::kEINVAL;
  if ((args.flags & MAP_ANONYMOUS) != 0) {
    args.offset = 0;
  } else {
    RefPtr<vfs::FileDescription> file = TRY(t.GetFile(a.Int(4)));
    args.file = vfs::MakeMappedFile(std::move(file), t.fs().root());
    if (!args.file) return Errno::kEACCES;
  }
  return static_cast<int64_t>(
      TRY(t.mm().Map(t.guest_thread(), std::move(args), t.memory_limits())));
}

Result<int64_t> SysMunmap(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Unmap(t.guest_thread(), a[0], a[1]));
}

Result<int64_t> SysMprotect(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Protect(t.guest_thread(), a[0], a[1], a.Int(2), t.memory_limits()));
}

Result<int64_t> SysPkeyMprotect(kernel::Task& t, const SyscallArgs& a) {
  // No protection keys can be allocated, so the only valid one is none.
  if (a.Int(3) != -1) return Errno::kEINVAL;
  return SysMprotect(t, a);
}

Result<int64_t> SysPkeyAlloc(kernel::Task&, const SyscallArgs& a) {
  if (a[0] != 0 || (a[1] & ~uint64_t{3}) != 0) return Errno::kEINVAL;
  return Errno::kENOSPC;  // as on a processor without them
}

Result<int64_t> SysPkeyFree(kernel::Task&, const SyscallArgs&) { return Errno::kEINVAL; }

Result<int64_t> SysBrk(kernel::Task& t, const SyscallArgs& a) {
  return static_cast<int64_t>(t.mm().Brk(t.guest_thread(), a[0], t.memory_limits()));
}

Result<int64_t> SysMremap(kernel::Task& t, const SyscallArgs& a) {
  return static_cast<int64_t>(
      TRY(t.mm().Remap(t.guest_thread(), a[0], a[1], a[2], a.Int(3), a[4], t.memory_limits())));
}

Result<int64_t> SysMsync(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Sync(t.guest_thread(), a[0], a[1], a.Int(2)));
}

Result<int64_t> SysMadvise(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Advise(t.guest_thread(), a[0], a[1], a.Int(2)));
}

Result<int64_t> SysMincore(kernel::Task& t, const SyscallArgs& a) {
  if (!mm::IsPageAligned(a[0])) return Errno::kEINVAL;
  uint64_t pages = mm::PageUp(a[1]) / arch::kPageSize;
  if (a[0] > arch::kTaskSize || pages > (arch::kTaskSize - a[0]) / arch::kPageSize) {
    return Errno::kENOMEM;
  }
  uint8_t part[4096];
  for (uint64_t done = 0; done < pages;) {
    std::span<uint8_t> bytes(part, std::min<uint64_t>(sizeof(part), pages - done));
    TRY(t.mm().Mincore(a[0] + done * arch::kPageSize, bytes));
    TRY(t.memory().CopyOutBytes(a[2] + done, std::as_bytes(bytes)));
    done += bytes.size();
  }
  return int64_t{0};
}

Result<int64_t> SysMlock(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Lock(t.guest_thread(), a[0], a[1], /*on_fault=*/false, t.memory_limits()));
}

Result<int64_t> SysMlock2(kernel::Task& t, const SyscallArgs& a) {
  constexpr int kOnFault = 1;  // MLOCK_ONFAULT
  if ((a.Int(2) & ~kOnFault) != 0) return Errno::kEINVAL;
  bool on_fault = a.Int(2) == kOnFault;
  return Zero(t.mm().Lock(t.guest_thread(), a[0], a[1], on_fault, t.memory_limits()));
}

Result<int64_t> SysMunlock(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().Unlock(a[0], a[1]));
}

Result<int64_t> SysMlockall(kernel::Task& t, const SyscallArgs& a) {
  return Zero(t.mm().LockAll(t.guest_thread(), a.Int(0), t.memory_limits()));
}

Result<int64_t> SysMunlockall(kernel::Task& t, const SyscallArgs&) {
  return Zero(t.mm().UnlockAll());
}

}  // namespace msentry::syscalls
