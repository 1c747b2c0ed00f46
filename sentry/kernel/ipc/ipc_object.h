// What the three kinds of System V IPC objects share (sysvipc(7)): a key, an id, an owner, and the
// table of an ipc namespace that finds them.
//
// Locks: the table's mutex, then an object's. Neither is held across a park or a copy.
#pragma once

#include <sys/ipc.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sentry/abi/ipc.h"
#include "sentry/auth/credentials.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"

namespace msentry::kernel {

// Identifiers are sequence * kIpcMaxIds + index, so that one of a removed object is not soon
// another object's.
inline constexpr int kIpcMaxIds = 32768;

// Seconds since 1970, for the times that stat calls tell.
int64_t IpcNow();

// Sentry memory that the guests' IPC objects take, over all namespaces: messages, semaphores and
// their undo entries. Bounded; a charge is given back when the token dies.
class IpcCharge {
 public:
  IpcCharge() = default;
  IpcCharge(IpcCharge&& o) noexcept : bytes_(std::exchange(o.bytes_, 0)) {}
  IpcCharge& operator=(IpcCharge o) noexcept {
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~IpcCharge();
  static Result<IpcCharge> Take(uint64_t bytes);  // ENOMEM
  void Add(IpcCharge more) { bytes_ += std::exchange(more.bytes_, 0); }

 private:
  explicit IpcCharge(uint64_t bytes) : bytes_(bytes) {}
  uint64_t bytes_ = 0;
};

class IpcObject : public RefCounted<IpcObject> {
 public:
  IpcObject(int key, uint32_t mode, const auth::Credentials& creator);
  virtual ~IpcObject() = default;

  int id() const { return id_; }
  Mutex& mutex() const ABSL_LOCK_RETURNED(mutex_) { return mutex_; }

  // --- mutex() held ---
  // The permissions `flags` ask for (as in a mode; the three places are one): EACCES.
  Result<> CheckAccess(const auth::Credentials& creds, int flags) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // IPC_SET and IPC_RMID are for the owner, the creator and CAP_SYS_ADMIN: EPERM.
  Result<> CheckOwner(const auth::Credentials& creds) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // IPC_SET's part of the owner and mode; EINVAL for an id of -1.
  Result<> SetOwner(const abi::Ipc64Perm& to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  abi::Ipc64Perm Permissions() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool removed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return removed_; }
  Result<> CheckAlive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (removed_) return Errno::kEIDRM;
    return Ok();
  }
  int64_t ctime ABSL_GUARDED_BY(mutex_) = IpcNow();

 protected:
  // Bits of the mode above the permissions (SHM_DEST, SHM_LOCKED).
  uint32_t mode_bits_ ABSL_GUARDED_BY(mutex_) = 0;
  void MarkRemovedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { removed_ = true; }

 private:
  friend class IpcTable;
  mutable Mutex mutex_;
  int key_;      // the table's lock; IPC_PRIVATE once it cannot be found any more
  int id_ = -1;  // set once, before anybody else knows the object
  uint32_t uid_ ABSL_GUARDED_BY(mutex_), gid_ ABSL_GUARDED_BY(mutex_);
  const uint32_t cuid_, cgid_;
  uint32_t mode_ ABSL_GUARDED_BY(mutex_);
  bool removed_ ABSL_GUARDED_BY(mutex_) = false;
};

// The objects of one kind in one namespace, by id and by key.
class IpcTable {
 public:
  // The object that an id, or a place in the table (SHM_STAT and its like), means. EINVAL.
  Result<RefPtr<IpcObject>> Find(int id) const;
  Result<RefPtr<IpcObject>> FindIndex(int index) const;
  std::vector<RefPtr<IpcObject>> All() const;  // ascending places
  int count() const;
  int last_index() const;  // of the highest used place; 0 when there is none

  // shmget(2) and its like: the id of the object with `key`, or of the one that make() returns (a
  // Result<RefPtr<IpcObject>>). check(object) says whether an existing one will do.
  template <typename Make, typename Check>
  Result<int> Get(const auth::Credentials& creds, int key, int flags, int limit, Make make,
                  Check check);

  // Takes the object out; nothing happens when it is out already.
  void Remove(IpcObject& object);
  // Nobody finds it by its key any more.
  void ForgetKey(IpcObject& object);
  int KeyOf(const IpcObject& object) const;

 private:
  int AddLocked(RefPtr<IpcObject> object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetKeyLocked(IpcObject& object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<int, RefPtr<IpcObject>> objects_ ABSL_GUARDED_BY(mutex_);  // by place
  std::map<int, IpcObject*> by_key_ ABSL_GUARDED_BY(mutex_);          // without IPC_PRIVATE
  int last_place_ ABSL_GUARDED_BY(mutex_) = -1;
  int sequence_ ABSL_GUARDED_BY(mutex_) = 0;
};

template <typename Make, typename Check>
Result<int> IpcTable::Get(const auth::Credentials& creds, int key, int flags, int limit, Make make,
                          Check check) {
  MutexLock lock(mutex_);
  if (key != IPC_PRIVATE) {
    auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      IpcObject& object = *found->second;
      if ((flags & IPC_CREAT) && (flags & IPC_EXCL)) return Errno::kEEXIST;
      TRY(check(object));
      MutexLock object_lock(object.mutex());
      TRY(object.CheckAccess(creds, flags));
      return object.id();
    }
    if (!(flags & IPC_CREAT)) return Errno::kENOENT;
  }
  if (static_cast<int>(objects_.size()) >= std::min(limit, kIpcMaxIds)) return Errno::kENOSPC;
  return AddLocked(TRY(make()));
}

}  // namespace msentry::kernel
