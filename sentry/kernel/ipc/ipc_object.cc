#include "sentry/kernel/ipc/ipc_object.h"

#include <time.h>

#include <algorithm>
#include <atomic>

namespace msentry::kernel {
namespace {

constexpr uint64_t kMaxMemory = 64 << 20;
std::atomic<uint64_t> memory_used{0};

// Places are handed out in turn, in a range half again as large as what is used.
constexpr int kMinimumCycle = 64;

}  // namespace

int64_t IpcNow() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec;
}

Result<IpcCharge> IpcCharge::Take(uint64_t bytes) {
  uint64_t used = memory_used.load(std::memory_order_relaxed);
  do {
    if (bytes > kMaxMemory - used) return Errno::kENOMEM;
  } while (!memory_used.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return IpcCharge(bytes);
}

IpcCharge::~IpcCharge() {
  if (bytes_ != 0) memory_used.fetch_sub(bytes_, std::memory_order_relaxed);
}

IpcObject::IpcObject(int key, uint32_t mode, const auth::Credentials& creator)
    : key_(key),
      uid_(creator.euid),
      gid_(creator.egid),
      cuid_(creator.euid),
      cgid_(creator.egid),
      mode_(mode & 0777) {}

Result<> IpcObject::CheckAccess(const auth::Credentials& creds, int flags) const {
  const uint32_t f = static_cast<uint32_t>(flags);
  const uint32_t wanted = (f >> 6 | f >> 3 | f) & 7;
  uint32_t granted = mode_;
  if (creds.euid == cuid_ || creds.euid == uid_) {
    granted >>= 6;
  } else if (creds.InGroup(cgid_) || creds.InGroup(gid_)) {
    granted >>= 3;
  }
  if ((wanted & ~granted) && !creds.HasCap(auth::Cap::kIpcOwner)) return Errno::kEACCES;
  return Ok();
}

Result<> IpcObject::CheckOwner(const auth::Credentials& creds) const {
  if (creds.euid == cuid_ || creds.euid == uid_ || creds.HasCap(auth::Cap::kSysAdmin)) return Ok();
  return Errno::kEPERM;
}

Result<> IpcObject::SetOwner(const abi::Ipc64Perm& to) {
  constexpr uint32_t kNoId = 0xffffffff;
  if (to.uid == kNoId || to.gid == kNoId) return Errno::kEINVAL;
  uid_ = to.uid;
  gid_ = to.gid;
  mode_ = to.mode & 0777;
  return Ok();
}

abi::Ipc64Perm IpcObject::Permissions() const {
  abi::Ipc64Perm perm{};
  perm.uid = uid_;
  perm.gid = gid_;
  perm.cuid = cuid_;
  perm.cgid = cgid_;
  perm.mode = mode_ | mode_bits_;
  perm.seq = static_cast<uint16_t>(id_ / kIpcMaxIds);
  return perm;
}

Result<RefPtr<IpcObject>> IpcTable::Find(int id) const {
  if (id < 0) return Errno::kEINVAL;
  MutexLock lock(mutex_);
  auto found = objects_.find(id % kIpcMaxIds);
  if (found == objects_.end() || found->second->id() != id) return Errno::kEINVAL;
  return found->second;
}

Result<RefPtr<IpcObject>> IpcTable::FindIndex(int index) const {
  MutexLock lock(mutex_);
  auto found = objects_.find(index);
  if (found == objects_.end()) return Errno::kEINVAL;
  return found->second;
}

std::vector<RefPtr<IpcObject>> IpcTable::All() const {
  MutexLock lock(mutex_);
  std::vector<RefPtr<IpcObject>> all;
  all.reserve(objects_.size());
  for (const auto& [place, object] : objects_) all.push_back(object);
  return all;
}

int IpcTable::count() const {
  MutexLock lock(mutex_);
  return static_cast<int>(objects_.size());
}

int IpcTable::last_index() const {
  MutexLock lock(mutex_);
  return objects_.empty() ? 0 : objects_.rbegin()->first;
}

int IpcTable::AddLocked(RefPtr<IpcObject> object) {
  const int used = static_cast<int>(objects_.size());
  const int range = std::min(std::max(used + used / 2 + 1, kMinimumCycle), kIpcMaxIds);
  int place = last_place_;
  do {
    place = place + 1 < range ? place + 1 : 0;
  } while (objects_.contains(place));
  if (place <= last_place_ && ++sequence_ > INT32_MAX / kIpcMaxIds) sequence_ = 0;
  last_place_ = place;
  object->id_ = sequence_ * kIpcMaxIds + place;
  if (object->key_ != IPC_PRIVATE) by_key_[object->key_] = object.get();
  const int id = object->id_;
  objects_[place] = std::move(object);
  return id;
}

void IpcTable::ForgetKeyLocked(IpcObject& object) {
  if (object.key_ == IPC_PRIVATE) return;
  by_key_.erase(object.key_);
  object.key_ = IPC_PRIVATE;
}

void IpcTable::ForgetKey(IpcObject& object) {
  MutexLock lock(mutex_);
  ForgetKeyLocked(object);
}

int IpcTable::KeyOf(const IpcObject& object) const {
  MutexLock lock(mutex_);
  return object.key_;
}

void IpcTable::Remove(IpcObject& object) {
  RefPtr<IpcObject> last;  // dropped after the lock
  MutexLock lock(mutex_);
  auto found = objects_.find(object.id_ % kIpcMaxIds);
  if (found == objects_.end() || found->second.get() != &object) return;
  ForgetKeyLocked(object);
  last = std::move(found->second);
  objects_.erase(found);
}

}  // namespace msentry::kernel
