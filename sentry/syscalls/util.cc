#include "sentry/syscalls/util.h"

#include "sentry/abi/file.h"
#include "sentry/abi/time.h"
#include "vfs/file_io.h"
#include "vfs/file_system.h"

namespace msentry::syscalls {

Result<std::string> CopyInPath(Task& task, uint64_t address) {
  return task.memory().CopyInString(GuestPtr<char>(address), abi::kPathMax);
}

Walk::Walk(Task& task) : op(task.FileContext()), root(task.fs().root()), start(task.fs().cwd()) {}

Result<> Walk::StartAt(Task& task, int dirfd, std::string_view path) {
  if (dirfd == AT_FDCWD || path.starts_with('/')) return Ok();
  RefPtr<FileDescription> directory = TRY(task.GetFile(dirfd, /*path_only_too=*/true));
  if (!directory->inode().IsDir() && !path.empty()) return Errno::kENOTDIR;
  start = directory->location();
  return Ok();
}

int64_t DeadlineAfter(int64_t timeout_ns) {
  if (timeout_ns < 0 || timeout_ns == sched::kNever) return sched::kNever;
  const int64_t now = sched::NowNs();
  return timeout_ns > sched::kNever - now ? sched::kNever : now + timeout_ns;
}

Result<int64_t> CopyInTimeout(Task& task, uint64_t address) {
  if (address == 0) return sched::kNever;
  const auto ts = TRY(task.memory().CopyIn(GuestPtr<abi::Timespec>(address)));
  if (!abi::IsValid(ts)) return Errno::kEINVAL;
  return abi::ToNs(ts);
}

Result<> SetSigmaskArgument(Task& task, uint64_t address, uint64_t size) {
  if (address == 0) return Ok();
  if (size != sizeof(uint64_t)) return Errno::kEINVAL;
  task.SetTemporarySignalMask(TRY(task.memory().CopyIn(GuestPtr<uint64_t>(address))));
  return Ok();
}

void CountWritten(Task& task, const FileDescription& file, size_t bytes) {
  kernel::IoCounters& io = task.group().io;
  io.written_bytes.fetch_add(bytes, std::memory_order_relaxed);
  const std::string& type = file.inode().fs().type();
  if (type == "overlay" || type == "9p") {  // what lies on a disk
    io.storage_written.fetch_add(bytes, std::memory_order_relaxed);
  }
}

void RaiseSigpipe(Task& task) {
  (void)task.SendSignal(kernel::UserSignal(SIGPIPE, SI_USER, task.tgid(), task.creds()->uid));
}

Result<int64_t> ReadBlocking(Task& task, FileDescription& file, mm::IoSequence& to) {
  const vfs::OpContext ctx = task.FileContext();
  Result<size_t> n = vfs::ReadFile(ctx, file, to);
  if (!n.ok() && n.error() == Errno::kEAGAIN && !file.is_nonblocking()) [[unlikely]] {
    const int64_t timeout = file.ReadTimeoutNs();
    n = RetryBlocking(task, file, kReadEvents, timeout,
                      [&] { return vfs::ReadFile(ctx, file, to); });
    if (!n.ok() && n.error() == Errno::kEAGAIN) n = file.ReadAfterTimeout();
  }
  if (!n.ok()) return n.error();
  task.group().io.read_bytes.fetch_add(*n, std::memory_order_relaxed);
  return static_cast<int64_t>(*n);
}

namespace {

// The rest of a write that went on only in part, or could not begin, on a blocking descriptor.
Result<size_t> FinishWrite(Task& task, const vfs::OpContext& ctx, FileDescription& file,
                           mm::IoSequence& from, size_t done) {
  const int64_t timeout = file.WriteTimeoutNs();
  for (;;) {
    Result<size_t> n = RetryBlocking(task, file, kWriteEvents, timeout,
                                     [&] { return vfs::WriteFile(ctx, file, from); });
    if (!n.ok()) {
      if (done == 0) return n.error();
      return done;
    }
    done += *n;
    if (*n == 0 || from.empty()) return done;
  }
}

}  // namespace

Result<int64_t> WriteBlocking(Task& task, FileDescription& file, mm::IoSequence& from,
                              bool no_sigpipe) {
  const vfs::OpContext ctx = task.FileContext();
  Result<size_t> n = vfs::WriteFile(ctx, file, from);
  if (n.ok() ? *n > 0 && !from.empty() && !file.is_nonblocking()
             : n.error() == Errno::kEAGAIN && !file.is_nonblocking()) [[unlikely]] {
    n = FinishWrite(task, ctx, file, from, n.ok() ? *n : 0);
  }
  if (!n.ok()) [[unlikely]] {
    if (n.error() == Errno::kEPIPE && !no_sigpipe) RaiseSigpipe(task);
    if (ctx.fsize_exceeded) {
      (void)task.SendSignal(kernel::UserSignal(SIGXFSZ, SI_USER, task.tgid(), task.creds()->uid));
    }
    return n.error();
  }
  CountWritten(task, file, *n);
  return static_cast<int64_t>(*n);
}

}  // namespace msentry::syscalls
