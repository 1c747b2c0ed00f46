// Console: a terminal of the guest whose other end is a host stream: what comes from the stream is
// typed, what the guest writes goes there. The client puts its own terminal in raw mode and copies
// bytes, so that echo, line editing and job control are all this terminal's.
//
//   auto console = TRY(Console::Create(ctx, devpts, scheduler, std::move(stream_fd)));
//   fds 0, 1, 2 = TRY(console->OpenSlave(ctx));     InitArgs.terminal = &console->pty();
//   console->pty().SetWindowSize(size);             // from the client's SIGWINCH, any fiber
//   console->Drain();                               // after the guest's end, before exit
//
// A fiber moves the bytes; it ends when the stream ends (the guest's terminal hangs up).
#pragma once

#include <memory>

#include "fsimpl/devpts/devpts.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"

namespace msentry::devpts {

class Console {
 public:
  // `stream`: a duplex, non-blocking host fd.
  static Result<std::shared_ptr<Console>> Create(const vfs::OpContext& ctx, DevptsFs& devpts,
                                                 sched::Scheduler& scheduler, ScopedFd stream);
  ~Console();

  Pty& pty() { return *pty_; }
  Result<RefPtr<vfs::FileDescription>> OpenSlave(const vfs::OpContext& ctx, int flags);

  // Writes what the guest has written and the stream has not taken yet, waiting at most one second
  // for it. Only when the scheduler has stopped.
  void Drain();

  Console(DevptsFs& devpts, RefPtr<Pty> pty, ScopedFd stream);  // for Create

 private:
  void Pump();
  bool PumpIn();  // true: moved something
  bool PumpOut();

  DevptsFs& devpts_;
  const RefPtr<Pty> pty_;
  const ScopedFd stream_;
  std::atomic<sched::Fiber*> fiber_{nullptr};
  std::string typed_;    // read from the stream, not yet taken by the terminal
  std::string written_;  // taken from the terminal, not yet by the stream
  bool stream_ended_ = false;
  std::unique_ptr<sched::HostFdWatch> watch_;
};

}  // namespace msentry::devpts
