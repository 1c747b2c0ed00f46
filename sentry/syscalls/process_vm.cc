// process_vm_readv(2), process_vm_writev(2): copies between two processes.
#include <algorithm>

#include "procfs/access.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/syscalls/calls_process.h"

namespace msentry::syscalls {

namespace {

// Moves what both sides hold, at most a buffer at a time. Short at the first bad address of either;
// EFAULT when nothing was moved.
Result<int64_t> Move(mm::IoSequence& from, mm::IoSequence& to) {
  constexpr size_t kBuffer = 64 << 10;
  size_t total = std::min(from.size(), to.size());
  from.Truncate(total);
  if (total == 0) return int64_t{0};
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(std::min(total, kBuffer));
  size_t done = 0;
  while (done < total) {
    std::span<std::byte> part(buffer.get(), std::min(total - done, kBuffer));
    Result<size_t> have = from.CopyIn(part);
    if (!have) break;
    Result<size_t> put = to.CopyOut(part.first(*have));
    if (!put) break;
    done += *put;
    if (*put < part.size()) break;
  }
  if (done == 0) return Errno::kEFAULT;
  return static_cast<int64_t>(done);
}

struct Transfer {
  RefPtr<mm::MemoryManager> target;
  mm::IoSequence local, remote;
};

// The other side's ranges: addresses that mean nothing in our own memory.
Result<mm::IoSequence::Ranges> CopyInRemote(kernel::Task& t, uint64_t iovec, uint64_t count) {
  constexpr uint64_t kMaxIovecs = 1024;  // UIO_MAXIOV
  struct GuestIovec {
    uint64_t base, length;
  };
  if (count > kMaxIovecs) return Errno::kEINVAL;
  std::vector<GuestIovec> vectors(count);
  if (count > 0) TRY(t.memory().CopyInArray(mm::GuestPtr<GuestIovec>(iovec), std::span(vectors)));
  mm::IoSequence::Ranges ranges;
  size_t total = 0;
  for (const GuestIovec& v : vectors) {
    if (static_cast<int64_t>(v.length) < 0) return Errno::kEINVAL;
    size_t length = std::min<size_t>(v.length, mm::kMaxRwCount - total);
    total += length;
    if (length > 0) ranges.push_back({v.base, length});
  }
  return ranges;
}

Result<Transfer> Prepare(kernel::Task& t, const SyscallArgs& a) {
  if (a[5] != 0) return Errno::kEINVAL;
  Transfer transfer;
  transfer.local = TRY(t.memory().CopyInIovec(a[1], a[2]));
  mm::IoSequence::Ranges ranges = TRY(CopyInRemote(t, a[3], a[4]));
  RefPtr<kernel::Task> target = t.kernel().FindTask(a.Int(0));
  transfer.target = target ? target->mm_ref() : nullptr;
  if (!transfer.target) return Errno::kESRCH;
  if (!procfs::CheckInspect(*t.creds(), t.tgid(), *target, procfs::WhichIds::kReal)) {
    return Errno::kEPERM;
  }
  transfer.remote =
      mm::IoSequence(mm::GuestMemory(transfer.target.get(), nullptr), std::move(ranges));
  return transfer;
}

}  // namespace

Result<int64_t> SysProcessVmReadv(kernel::Task& t, const SyscallArgs& a) {
  Transfer transfer = TRY(Prepare(t, a));
  return Move(transfer.remote, transfer.local);
}

Result<int64_t> SysProcessVmWritev(kernel::Task& t, const SyscallArgs& a) {
  Transfer transfer = TRY(Prepare(t, a));
  return Move(transfer.local, transfer.remote);
}

}  // namespace msentry::syscalls
