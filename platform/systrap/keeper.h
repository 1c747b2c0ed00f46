// Keeper: the host thread that answers the stubs' seccomp user notifications and notices the end of
// guest processes.
//
// Only calls that the sentry has announced are let through, each once and in order: a clone with
// the very flags of a fork or a thread start, the descriptor of a file mapping, the slots of a
// forked child (by a nonce that only its parent knew). In strict mode memory calls as well. All
// else is refused with EPERM: guest code that jumps into the stub gets nothing it was not given.
//
// Locks: mutex_ -> Platform's run mutex. No call here blocks for long.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"

struct seccomp_notif;

namespace msentry::systrap {

class SlotStore;
class Space;
class Thread;

// One announced call: its number, the arguments that must match, and the answer.
struct Expected {
  enum class Answer { kContinue, kSendFd };
  Answer answer = Answer::kContinue;
  int number = 0;
  uint64_t arguments[6] = {};
  uint8_t check = 0;  // bit i: argument i must be arguments[i]
  int fd = -1;        // kSendFd; borrowed
};

class Keeper {
 public:
  // `listener`: the notification fd. Starts the thread, which also tends `store`.
  static Result<std::unique_ptr<Keeper>> Start(ScopedFd listener, SlotStore* store);
  // Kills and reaps every guest process still there, then ends the thread.
  ~Keeper();

  // Announces the calls of the operations about to be posted; Forget() withdraws what is left.
  void Expect(Thread* thread, std::deque<Expected> calls);
  void Forget(Thread* thread);

  // A fork is about to be posted: whoever presents `nonce` becomes `child`, a thread of a new
  // space, and may make the calls `first` to begin with.
  void ExpectChild(uint64_t nonce, Thread* child, std::deque<Expected> first);
  void ForgetChild(uint64_t nonce);

  // Host thread `tid` is `thread` from now on. False if another has that number.
  bool AddThread(int tid, Thread* thread);
  void RemoveThread(int tid, Thread* thread);

  // The end of process `pid` makes the keeper call space->MarkDead(). Children that present a nonce
  // are watched by themselves.
  Result<> Watch(int pid, Space* space);
  // The space is going away: kills the process if it lives and reaps it when it has ended.
  void Release(int pid, Space* space, bool killed);

 private:
  struct Process {
    ScopedFd pidfd;
    Space* space = nullptr;  // null: only to be reaped
    bool dead = false;
  };

  Keeper(ScopedFd listener, ScopedFd epoll, ScopedFd stop, SlotStore* store);
  void Run();
  void Answer();
  // The reply to one notification: continue, a descriptor, or an error.
  void Decide(const seccomp_notif& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AdmitChild(const seccomp_notif& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendFd(uint64_t id, int fd);
  void SendContinue(uint64_t id);
  void SendError(uint64_t id, int error);
  void ProcessEnded(int pid);
  Result<> WatchLocked(int pid, Space* space) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Reap(const Process& process);

  const ScopedFd listener_, epoll_, stop_;
  SlotStore* const store_;
  Mutex mutex_;
  absl::flat_hash_map<int, Thread*> threads_ ABSL_GUARDED_BY(mutex_);  // by host tid
  absl::flat_hash_map<Thread*, std::deque<Expected>> expected_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Thread*> children_ ABSL_GUARDED_BY(mutex_);  // by nonce
  absl::flat_hash_map<int, Process> processes_ ABSL_GUARDED_BY(mutex_);      // by host pid
  std::thread thread_;
};

}  // namespace msentry::systrap
