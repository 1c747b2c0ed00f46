// The file descriptor table of a process (shared by CLONE_FILES).
//
//   RefPtr<vfs::FileDescription> file = TRY(task.fd_table().Get(fd));
//   int fd = TRY(task.fd_table().Install(file, {.close_on_exec = true}));
//
// Any thread. A file description is released (its last reference dropped) after the lock.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"

namespace msentry::vfs {
class FileDescription;
}

namespace msentry::kernel {

class FdTable : public RefCounted<FdTable> {
 public:
  FdTable();
  ~FdTable();

  struct InstallOptions {
    bool close_on_exec = false;
    int lowest = 0;            // F_DUPFD: the first fd to consider
    uint64_t limit = 1 << 20;  // RLIMIT_NOFILE of the caller
  };
  // The lowest free fd; kEMFILE at the limit, kEINVAL when `lowest` is at or over it.
  Result<int> Install(RefPtr<vfs::FileDescription> file, const InstallOptions& options);
  // dup2/dup3: puts `file` at `fd` and returns what was there (null: nothing), which the caller
  // closes. kEBADF when out of range.
  Result<RefPtr<vfs::FileDescription>> Replace(int fd, RefPtr<vfs::FileDescription> file,
                                               bool close_on_exec, uint64_t limit);

  // kEBADF when closed. (O_PATH descriptions are returned too: handlers check.)
  Result<RefPtr<vfs::FileDescription>> Get(int fd) const;
  // Removes and returns it; the caller runs the close (flush, POSIX locks) and drops the reference.
  Result<RefPtr<vfs::FileDescription>> Remove(int fd);

  Result<bool> CloseOnExec(int fd) const;
  Result<> SetCloseOnExec(int fd, bool value);

  using OnClose = absl::FunctionRef<void(RefPtr<vfs::FileDescription>)>;
  // close_range(2): [first, last], closing or only setting close-on-exec. `on_close` gets each
  // removed file, without the lock.
  void CloseRange(uint32_t first, uint32_t last, bool only_set_cloexec, OnClose on_close);
  // execve(2).
  void CloseOnExecFiles(OnClose on_close);
  // Exit of the last user.
  void CloseAll(OnClose on_close);

  RefPtr<FdTable> Copy() const;
  // Tasks that use the table (others only look at it): the last one to go closes the files.
  void AddUser() { users_.fetch_add(1, std::memory_order_relaxed); }
  bool RemoveUser() { return users_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  bool shared() const { return users_.load(std::memory_order_relaxed) > 1; }

  // Open fds in ascending order, for /proc/PID/fd.
  std::vector<int> OpenFds() const;
  int size() const;  // highest slot ever used, rounded up (FDSize of /proc/PID/status)

 private:
  struct Slot {
    RefPtr<vfs::FileDescription> file;
    bool close_on_exec = false;
  };
  // Removes every open slot that `choose` (called with the lock) picks.
  void TakeWhere(absl::FunctionRef<bool(size_t, Slot&)> choose, OnClose on_close);

  std::atomic<int> users_{0};
  mutable Mutex mutex_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);
  size_t first_free_ ABSL_GUARDED_BY(mutex_) = 0;  // no slot below it is free
};

}  // namespace msentry::kernel
