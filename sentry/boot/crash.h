// What happens when the sentry itself breaks (CHECK, a bad access, a host call outside the filter):
// one report in the log, one line to the client, and the end of the sandbox. Guests never cause
// this; a report is a bug of ours.
#pragma once

namespace msentry::boot {

// Installs the handlers, on a stack of their own for the calling thread. `log_fd` and `control_fd`
// stay open for ever.
void InstallCrashReport(int log_fd, int control_fd);

}  // namespace msentry::boot
