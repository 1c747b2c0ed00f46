// System V semaphores (semget(2), semop(2), semctl(2)).
//
// A set carries out a whole array of operations or none of it. One that must wait stands in the
// set's list with what it wants; whoever changes the set carries out, in the order of arrival, what
// has become possible, on the waiter's behalf, and wakes it.
//
// SEM_UNDO: a list belongs to a process (CLONE_SYSVSEM shares it). The adjustments themselves are
// kept in the set, by list, because SETVAL and IPC_RMID drop them; the list knows which sets it has
// to visit when its last user ends.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/ipc/ipc_object.h"
#include "sentry/sched/scheduler.h"

namespace msentry::kernel {

class SemSet;
class Task;

inline constexpr int kSemMaxValue = 32767;  // SEMVMX, and SEMAEM

class SemUndoList : public RefCounted<SemUndoList> {
 public:
  void AddUser() { users_.fetch_add(1, std::memory_order_relaxed); }
  // The last user's end carries the adjustments out, as process `pid`.
  void RemoveUser(int pid);

 private:
  friend class SemSet;
  void Remember(SemSet& set);  // no lock of a set held

  std::atomic<int> users_{1};
  Mutex mutex_;
  std::vector<RefPtr<SemSet>> sets_ ABSL_GUARDED_BY(mutex_);  // each once
  size_t prune_at_ ABSL_GUARDED_BY(mutex_) = 16;              // then drop those that were removed
};

class SemSet : public IpcObject {
 public:
  SemSet(int key, uint32_t mode, const auth::Credentials& creator, int count, IpcCharge charge);

  // semget(2).
  static Result<int> Get(Task& task, int key, int count, int flags);
  static Result<RefPtr<SemSet>> Find(IpcNamespace& ns, int id);

  // semtimedop(2). EAGAIN once `deadline_ns` has passed, EINTR, EIDRM, EFBIG, ERANGE...
  Result<> Operate(Task& task, std::span<const abi::Sembuf> operations, int64_t deadline_ns);

  // semctl(2), each with its permission check. Numbers outside the set: EINVAL.
  struct Semaphore {
    int value = 0;
    int pid = 0;  // of the last operation
  };
  Result<abi::Semid64Ds> Stat(const auth::Credentials& creds, bool any) const;
  Result<Semaphore> Get(const auth::Credentials& creds, int number) const;
  Result<std::vector<uint16_t>> GetAll(const auth::Credentials& creds) const;
  // Tasks that wait for the value to grow, or to become zero.
  Result<int> Waiting(const auth::Credentials& creds, int number, bool for_zero) const;
  Result<> Set(const auth::Credentials& creds, int number, int value, int pid);
  Result<> SetAll(const auth::Credentials& creds, std::span<const uint16_t> values, int pid);
  Result<> SetPermissions(const auth::Credentials& creds, const abi::Ipc64Perm& to);
  static Result<> Destroy(IpcNamespace& ns, SemSet& set, const auth::Credentials& creds);

  abi::Semid64Ds StatLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  const int count;

 private:
  friend class SemUndoList;
  // What a process owes back: semaphore number → adjustment.
  struct Adjustments {
    std::map<int, int> by_number;
    IpcCharge charge;
  };
  struct Waiter;
  using Operations = std::span<const abi::Sembuf>;

  // Carries out all of `operations`, or nothing: kEAGAIN with `*blocked` the one that has to wait.
  Result<> Try(Operations operations, SemUndoList* undo, int pid, size_t* blocked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  // After a change of values: what can go on now does.
  void Settle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  Result<> ReserveUndo(Operations operations, SemUndoList& undo)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  void CarryOutUndo(SemUndoList& undo, int pid);
  Result<> CheckNumber(int number) const;
  void Unlink(Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());

  std::vector<Semaphore> semaphores_ ABSL_GUARDED_BY(mutex());  // empty once removed
  std::map<SemUndoList*, Adjustments> undo_ ABSL_GUARDED_BY(mutex());
  Waiter* first_ ABSL_GUARDED_BY(mutex()) = nullptr;
  Waiter* last_ ABSL_GUARDED_BY(mutex()) = nullptr;
  int64_t otime_ ABSL_GUARDED_BY(mutex()) = 0;
  IpcCharge charge_ ABSL_GUARDED_BY(mutex());
};

}  // namespace msentry::kernel
