#include "vfs/locks.h"

#include <algorithm>

namespace msentry::vfs {

namespace {

// Which process waits for which: the graph that BlockedOn searches for cycles. Waits are rare, so
// one table does for all files.
struct WaitGraph {
  Mutex mutex;
  std::map<const void*, const void*> waits_for ABSL_GUARDED_BY(mutex);
};
WaitGraph& Graph() {
  static WaitGraph* graph = new WaitGraph;
  return *graph;
}

constexpr size_t kMaxRecords = 16384;  // on one file: a guest must not grow us without bound

bool Overlap(const RecordLock& a, const RecordLock& b) {
  return a.start < b.end && b.start < a.end;
}

bool Conflict(const RecordLock& have, const RecordLock& want) {
  return !(have.owner == want.owner) && Overlap(have, want) &&
         (have.type == LockType::kWrite || want.type == LockType::kWrite);
}

}  // namespace

FileLocks::~FileLocks() = default;

bool FileLocks::FindConflict(const RecordLock& lock, RecordLock* conflict) const {
  for (const RecordLock& have : records_) {
    if (Conflict(have, lock)) {
      *conflict = have;
      return true;
    }
  }
  return false;
}

Result<> FileLocks::SetRecord(const RecordLock& lock) {
  bool released = false;
  {
    MutexLock hold(mutex_);
    RecordLock conflict;
    if (lock.type != LockType::kUnlock && FindConflict(lock, &conflict)) return Errno::kEAGAIN;
    if (records_.size() >= kMaxRecords && lock.type != LockType::kUnlock) return Errno::kENOLCK;
    // Cut the range out of what the owner has, then add it, then join equal neighbours.
    std::vector<RecordLock> next;
    next.reserve(records_.size() + 2);
    for (const RecordLock& have : records_) {
      if (!(have.owner == lock.owner) || !Overlap(have, lock)) {
        next.push_back(have);
        continue;
      }
      if (have.type != lock.type) released = true;
      if (have.start < lock.start) {
        next.push_back(have);
        next.back().end = lock.start;
      }
      if (have.end > lock.end) {
        next.push_back(have);
        next.back().start = lock.end;
      }
    }
    if (lock.type != LockType::kUnlock) {
      RecordLock merged = lock;
      std::erase_if(next, [&](const RecordLock& have) {
        if (!(have.owner == lock.owner) || have.type != lock.type) return false;
        if (have.end < merged.start || merged.end < have.start) return false;
        merged.start = std::min(merged.start, have.start);
        merged.end = std::max(merged.end, have.end);
        return true;
      });
      next.push_back(merged);
    }
    std::stable_sort(next.begin(), next.end(),
                     [](const RecordLock& a, const RecordLock& b) { return a.start < b.start; });
    records_ = std::move(next);
  }
  if (released) queue_.Notify(sched::kIn);
  return Ok();
}

RecordLock FileLocks::TestRecord(const RecordLock& lock) const {
  MutexLock hold(mutex_);
  RecordLock conflict = lock;
  if (!FindConflict(lock, &conflict)) conflict.type = LockType::kUnlock;
  return conflict;
}

Result<> FileLocks::BlockedOn(const RecordLock& lock) {
  RecordLock conflict;
  {
    MutexLock hold(mutex_);
    if (!FindConflict(lock, &conflict)) return Ok();  // free by now
  }
  WaitGraph& graph = Graph();
  MutexLock hold(graph.mutex);
  const void* at = conflict.owner.key;
  for (size_t steps = 0; steps <= graph.waits_for.size(); ++steps) {
    if (at == lock.owner.key) return Errno::kEDEADLK;
    auto it = graph.waits_for.find(at);
    if (it == graph.waits_for.end()) break;
    at = it->second;
  }
  graph.waits_for[lock.owner.key] = conflict.owner.key;
  return Ok();
}

void FileLocks::Unblocked(const LockOwner& owner) {
  WaitGraph& graph = Graph();
  MutexLock hold(graph.mutex);
  graph.waits_for.erase(owner.key);
}

void FileLocks::DropOwner(const LockOwner& owner) {
  size_t dropped;
  {
    MutexLock hold(mutex_);
    dropped = std::erase_if(records_, [&](const RecordLock& l) { return l.owner == owner; });
  }
  if (dropped) queue_.Notify(sched::kIn);
}

Result<> FileLocks::Flock(const LockOwner& owner, LockType type) {
  bool released = false;
  Result<> result = Ok();
  {
    MutexLock hold(mutex_);
    auto mine = flocks_.find(owner.key);
    if (mine != flocks_.end()) {
      if (mine->second.type == type) return Ok();
      // A conversion is a release and a new request (flock(2)).
      flocks_.erase(mine);
      released = true;
    }
    if (type != LockType::kUnlock) {
      for (const auto& [key, have] : flocks_) {
        if (have.type == LockType::kWrite || type == LockType::kWrite) result = Errno::kEAGAIN;
      }
      if (result.ok()) flocks_[owner.key] = RecordLock{owner, type, 0, UINT64_MAX};
    }
  }
  if (released) queue_.Notify(sched::kIn);
  return result;
}

void FileLocks::DropFlock(const LockOwner& owner) {
  bool dropped;
  {
    MutexLock hold(mutex_);
    dropped = flocks_.erase(owner.key) != 0;
  }
  if (dropped) queue_.Notify(sched::kIn);
}

std::vector<FileLocks::Listed> FileLocks::List() const {
  MutexLock hold(mutex_);
  std::vector<Listed> out;
  for (const RecordLock& l : records_) out.push_back({false, l});
  for (const auto& [key, l] : flocks_) out.push_back({true, l});
  return out;
}

}  // namespace msentry::vfs
