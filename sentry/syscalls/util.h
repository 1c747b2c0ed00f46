// What handlers share: paths and descriptors from arguments, and waiting for files.
#pragma once

#include <cstdint>
#include <string>

#include "sentry/abi/file.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/copy.h"
#include "sentry/mm/guest_ptr.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/syscalls/syscall.h"
#include "vfs/file_description.h"
#include "vfs/inode.h"
#include "vfs/path_walk.h"
#include "vfs/user_memory.h"

namespace msentry::syscalls {

using kernel::Task;
using mm::GuestPtr;
using vfs::FileDescription;

// The guest's memory for a device's ioctl.
class TaskMemory : public vfs::UserMemory {
 public:
  explicit TaskMemory(Task& task) : memory_(task.memory()) {}
  Result<> CopyIn(uint64_t address, void* to, size_t n) override {
    return memory_.CopyInBytes(address, {static_cast<std::byte*>(to), n});
  }
  Result<> CopyOut(uint64_t address, const void* from, size_t n) override {
    return memory_.CopyOutBytes(address, {static_cast<const std::byte*>(from), n});
  }

 private:
  const mm::GuestMemory memory_;
};

// The path at `address`. EFAULT, ENAMETOOLONG.
Result<std::string> CopyInPath(Task& task, uint64_t address);

// Everything a path operation needs, on the handler's stack:
//
//   std::string path = TRY(CopyInPath(t, a[1]));
//   Walk walk(t);
//   TRY(walk.StartAt(t, a.Int(0), path));
//   TRY(vfs::Mkdir(walk.context, path, mode));
class Walk {
 public:
  explicit Walk(Task& task);  // starts at the working directory
  // Starts at `dirfd` (AT_FDCWD: the working directory), which does not matter for an absolute
  // path. EBADF.
  Result<> StartAt(Task& task, int dirfd, std::string_view path);

  Walk(const Walk&) = delete;  // `context` refers to the members
  Walk& operator=(const Walk&) = delete;

  vfs::OpContext op;
  vfs::Location root, start;
  const vfs::WalkContext context{op, root, start};
};

// Reads and writes at the file's position, waiting as long as a blocking descriptor waits. Writes
// go on until all is written or something stops them. Errors: the file's, ERESTARTSYS. They raise
// SIGPIPE and SIGXFSZ.
Result<int64_t> ReadBlocking(Task& task, FileDescription& file, mm::IoSequence& to);
Result<int64_t> WriteBlocking(Task& task, FileDescription& file, mm::IoSequence& from,
                              bool no_sigpipe = false);

// Repeats `attempt` while it says EAGAIN and the descriptor blocks.
template <typename Attempt>
auto RetryBlocking(Task& task, FileDescription& file, sched::EventMask events, int64_t timeout_ns,
                   Attempt attempt) -> decltype(attempt()) {
  auto result = attempt();
  if (result.ok() || result.error() != Errno::kEAGAIN || file.is_nonblocking()) return result;
  if (timeout_ns == sched::kNever) {
    return task.BlockOn(file.wait_queue(), events, sched::kNever, attempt);
  }
  auto timed = task.BlockOn(file.wait_queue(), events, sched::NowNs() + timeout_ns, attempt);
  // A wait with a time limit of the file's own is not restarted (signal(7)).
  if (!timed.ok() && timed.error() == Errno::kERESTARTSYS) return Errno::kEINTR;
  return timed;
}

// What a reader or writer waits for.
inline constexpr sched::EventMask kReadEvents =
    sched::kIn | sched::kRdNorm | sched::kErr | sched::kHup | sched::kRdHup;
inline constexpr sched::EventMask kWriteEvents =
    sched::kOut | sched::kWrNorm | sched::kErr | sched::kHup;

// SIGPIPE to the calling thread.
void RaiseSigpipe(Task& task);
// `bytes` were written to `file`: the counts of /proc/PID/io.
void CountWritten(Task& task, const FileDescription& file, size_t bytes);

// sched::NowNs() deadline of a relative timeout in nanoseconds; negative: never.
int64_t DeadlineAfter(int64_t timeout_ns);

// A timespec argument: relative timeout in nanoseconds; kNever for a null pointer. EINVAL.
Result<int64_t> CopyInTimeout(Task& task, uint64_t address);

// sigset_t arguments of ppoll and friends: `size` must be 8 (EINVAL). Installs it as the temporary
// mask; nothing for a null pointer.
Result<> SetSigmaskArgument(Task& task, uint64_t address, uint64_t size);

}  // namespace msentry::syscalls
