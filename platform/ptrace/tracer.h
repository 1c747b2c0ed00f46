// Tracer: the one host thread that makes the ptrace calls (the kernel wants all calls on a tracee
// from the same thread). Fibers hand it work and park; it also waits for the tracees.
//
// What must happen in a stub process is *injected*: the stopped thread is sent to the `syscall`
// instruction in the stub's code page with the arguments in its registers and stops at the int3
// behind it. Nothing the guest can write takes part, except in receiving a file descriptor, where
// all it can do is make its own mmap fail.
//
// A zombie is looked at before it is reaped, so that its number stays its own until Space::MarkGone
// has turned away everybody who uses it.
#pragma once

#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "platform/platform.h"
#include "platform/ptrace/tracee.h"
#include "platform/ptrace/wait_or_kick.h"
#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::platform::pt {

class Tracer {
 public:
  // Starts the thread and the first, empty stub process.
  static Result<std::unique_ptr<Tracer>> Create(std::string* why);
  // Kills all stub processes.
  ~Tracer();

  // For any thread; each waits until the tracer has done it.
  Result<RefPtr<Tracee>> NewProcess() { return Fork(*zygote_); }
  Result<RefPtr<Tracee>> Fork(Tracee& tracee);
  Result<RefPtr<Tracee>> NewThread(Tracee& tracee);
  Result<> Apply(Tracee& tracee, const MemoryBatch& batch);
  Result<> GetFpu(Tracee& tracee, std::vector<std::byte>& out);
  Result<> SetFpu(Tracee& tracee, std::span<const std::byte> in);
  void Destroy(Tracee& tracee);
  // Writes whatever the protection; the bytes written.
  size_t Poke(Space& space, uint64_t address, std::span<const std::byte> in);

  // Resumes; `state.done` is signalled at the next event.
  void Switch(Tracee& tracee, SwitchState& state);
  // Does not wait. Pre: interrupt_pending is set.
  void Interrupt(RefPtr<Tracee> tracee);

  Platform::Vdso vdso() const { return vdso_; }

 private:
  struct Job {
    // Exactly one of `fn` (with `done`) and `tracee`; with `state` a switch, without an interrupt.
    absl::FunctionRef<void()>* fn = nullptr;
    sched::Completion* done = nullptr;
    RefPtr<Tracee> tracee;
    SwitchState* state = nullptr;
  };
  // A change of a tracee's state, not yet dealt with.
  struct Change {
    pid_t tid;
    bool exited;
    int status;  // of a stop: signal | event << 8
  };

  Tracer() = default;
  Result<> StartZygote(std::string* why);  // zygote.cc
  Result<> EmptyZygote();                  // zygote.cc

  void Post(Job job);
  // Runs `fn` on the tracer thread and waits for it.
  void Run(absl::FunctionRef<void()> fn);

  // Everything below: the tracer thread only.
  void Loop();
  void RunJobs();
  void StartSwitch(Job& job);
  void Resume(Tracee& tracee);
  void Finish(Tracee& tracee, Event event);
  // The next change; nothing when kicked (or, without `block`, when there is none).
  std::optional<Change> NextChange(bool block, bool kickable);
  void Handle(const Change& change);
  void HandleStop(Tracee& tracee, int status);
  void HandleFault(Tracee& tracee, const siginfo_t& info);
  void HandleExit(pid_t tid);

  struct Args {
    uint64_t arg[6] = {};
  };
  // Has the stopped thread make a host call. The call's result (-errno), or -ESRCH when it died.
  int64_t Inject(Tracee& tracee, long number, Args args);
  // Waits until the tracee stops; false when it is gone. Other tracees' changes are kept for later.
  bool WaitForStop(Tracee& tracee, int* status);
  Result<RefPtr<Tracee>> InjectClone(Tracee& tracee, uint64_t flags, bool new_space);
  Result<> ApplyOne(Tracee& tracee, const MemoryOp& op, int* fd_in_stub);
  Result<> PassFd(Tracee& tracee, int fd);
  void DestroyNow(Tracee& tracee);
  size_t PokeNow(Space& space, uint64_t address, std::span<const std::byte> in);

  std::thread thread_;
  Kick kick_;
  Mutex mutex_;
  std::vector<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> have_jobs_{false};

  // The tracer thread's.
  bool stopping_ = false;
  absl::flat_hash_map<pid_t, RefPtr<Tracee>> tracees_;
  std::deque<Change> later_;                  // seen while waiting for something else
  absl::flat_hash_map<pid_t, bool> newborn_;  // first stop of a child nobody has claimed yet
  RefPtr<Tracee> zygote_;
  ScopedFd fd_sender_, fd_receiver_;  // the socket pair that carries fds into the stubs
  size_t fpu_size_ = 0;
  Platform::Vdso vdso_;
};

}  // namespace msentry::platform::pt
