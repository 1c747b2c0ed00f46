#include "sentry/boot/client_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

namespace msentry::boot {
namespace {
constexpr size_t kMaxRequest = 4096;
}  // namespace

void ClientChannel::Send(const control::Event& event) {
  std::string bytes = event.SerializeAsString();
  ssize_t n;
  do {
    n = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
}

void ClientChannel::SendFailed(const std::string& message, int exit_code) {
  control::Event event;
  event.mutable_failed()->set_message(message);
  event.mutable_failed()->set_exit_code(exit_code);
  Send(event);
}

void ClientChannel::SendStarted() {
  control::Event event;
  event.set_started(true);
  Send(event);
}

void ClientChannel::SendExited(int wait_status, bool out_of_memory) {
  control::Event event;
  event.mutable_exited()->set_wait_status(wait_status);
  event.mutable_exited()->set_out_of_memory(out_of_memory);
  Send(event);
}

Result<> ClientChannel::Serve(sched::Scheduler& scheduler, Handler handler,
                              absl::AnyInvocable<void()> gone) {
  handler_ = std::move(handler);
  gone_ = std::move(gone);
  fiber_ = scheduler.Spawn("client", [this] { Run(); });
  watch_ = TRY(sched::HostFdWatch::Create(scheduler, socket_.get(), EPOLLIN,
                                          [this](uint32_t) { sched::Unpark(fiber_); }));
  return Ok();
}

// Lives as long as the sandbox: nobody unparks a fiber that has ended.
void ClientChannel::Run() {
  bool open = true;
  for (;;) {
    while (open) {
      char bytes[kMaxRequest];
      ssize_t n = recv(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      control::Request request;
      open = n > 0 && request.ParseFromArray(bytes, static_cast<int>(n));
      if (open) {
        handler_(request);
      } else {
        gone_();
      }
    }
    sched::Park();
  }
}

}  // namespace msentry::boot
