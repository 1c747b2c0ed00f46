// FileLocks: the advisory locks on one inode: POSIX record locks and open-file-description locks
// (fcntl(2), F_SETLK and F_OFD_SETLK) and whole-file locks (flock(2)). As in Linux, the two
// families do not see each other.
//
// Nothing here waits: a conflict is EAGAIN, and the call layer waits on `wait_queue()` and tries
// again. Before a process waits for a POSIX lock it registers with BlockedOn, which finds
// deadlocks (EDEADLK).
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/sched/wait_queue.h"

namespace msentry::vfs {

// Who holds a lock: a process (its FdTable, as files_struct in Linux) or an open file description.
// Compared by identity only.
struct LockOwner {
  const void* key = nullptr;
  int32_t pid = 0;  // F_GETLK's l_pid; -1 for OFD locks
  bool operator==(const LockOwner& o) const { return key == o.key; }
};

enum class LockType : uint8_t { kRead, kWrite, kUnlock };

struct RecordLock {
  LockOwner owner;
  LockType type = LockType::kRead;
  uint64_t start = 0;
  uint64_t end = UINT64_MAX;  // last byte + 1; UINT64_MAX: to the end of the file
};

class FileLocks {
 public:
  FileLocks() = default;
  ~FileLocks();

  // ---- fcntl locks ----
  // Sets or clears. EAGAIN on a conflict, nothing changed.
  Result<> SetRecord(const RecordLock& lock);
  // The first lock that would conflict; type kUnlock when none does.
  RecordLock TestRecord(const RecordLock& lock) const;
  // `waiter` is about to wait for a conflict with `lock` (POSIX locks only). EDEADLK when whoever
  // holds it waits, directly or not, for a lock of `waiter`. Pair with Unblocked.
  Result<> BlockedOn(const RecordLock& lock);
  static void Unblocked(const LockOwner& owner);
  // close(2) of any descriptor drops the process's locks on the file.
  void DropOwner(const LockOwner& owner);

  // ---- flock ----
  // EAGAIN on a conflict (an existing lock is lost during a failed conversion, as in Linux).
  Result<> Flock(const LockOwner& owner, LockType type);
  void DropFlock(const LockOwner& owner);

  // Notified (kIn) whenever a lock went away.
  sched::WaitQueue& wait_queue() { return queue_; }

  struct Listed {
    bool flock = false;
    RecordLock lock;
  };
  std::vector<Listed> List() const;  // /proc/locks

 private:
  bool FindConflict(const RecordLock& lock, RecordLock* conflict) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::vector<RecordLock> records_
      ABSL_GUARDED_BY(mutex_);  // by owner's start; no overlap per owner
  std::map<const void*, RecordLock> flocks_ ABSL_GUARDED_BY(mutex_);
  sched::WaitQueue queue_;
};

}  // namespace msentry::vfs
