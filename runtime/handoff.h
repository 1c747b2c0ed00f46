// The descriptors that the client leaves for the supervisor, by number; absent ones are closed.
// Everything else it had open stays behind.
#pragma once

namespace msentry::runtime {

enum HandoffFd : int {
  kConfigFd = 3,   // memfd: a serialized control::Config
  kControlFd = 4,  // SOCK_SEQPACKET: requests to the sentry, its events back
  kReportFd =
      5,  // SOCK_SEQPACKET: the supervisor's events; its end of file means the client is gone
  kStateFd = 6,    // the state directory, locked with flock(2) through this open file description
  kConsoleFd = 7,  // stream of the sandbox's terminal
  kLogFd = 8,
  kTerminalFd =
      9,  // the client's own terminal, only to restore its settings when the client was killed
  kGuestFd = 10,  // 10, 11, 12: the guest's 0, 1, 2
  kHandoffEnd = 13,
};

}  // namespace msentry::runtime
