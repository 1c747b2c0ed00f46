// The sentry's end of the control socket: requests come in on a fiber, events go out from anywhere.
#pragma once

#include <memory>
#include <string>

#include "sentry/base/scoped_fd.h"
#include "sentry/control/control.pb.h"
#include "sentry/sched/scheduler.h"

namespace msentry::boot {

class ClientChannel {
 public:
  using Handler = absl::AnyInvocable<void(const control::Request&)>;
  explicit ClientChannel(ScopedFd socket) : socket_(std::move(socket)) {}

  // Any thread, also before Serve(). A client that is gone does not hear it.
  void SendFailed(const std::string& message, int exit_code);
  void SendStarted();
  // `out_of_memory`: the sandbox's memory limit ended a process.
  void SendExited(int wait_status, bool out_of_memory);

  // Starts a fiber that hands every request to `handler`, and calls `gone` once when the client
  // closes or talks nonsense.
  Result<> Serve(sched::Scheduler& scheduler, Handler handler, absl::AnyInvocable<void()> gone);

 private:
  void Send(const control::Event& event);
  void Run();

  const ScopedFd socket_;
  Handler handler_;
  absl::AnyInvocable<void()> gone_;
  sched::Fiber* fiber_ = nullptr;
  std::unique_ptr<sched::HostFdWatch> watch_;
};

}  // namespace msentry::boot
