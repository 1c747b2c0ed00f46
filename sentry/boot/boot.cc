#include "sentry/boot/boot.h"

#include <sys/socket.h>

#include "sentry/control/control.pb.h"

namespace msentry::boot {

int Main(Handoff handoff) {
  control::Event event;
  event.mutable_failed()->set_message("this build has no kernel yet");
  event.mutable_failed()->set_exit_code(125);
  std::string bytes = event.SerializeAsString();
  send(handoff.control.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return 0;
}

}  // namespace msentry::boot
