// wait4(2) and waitid(2): one implementation for both.
#pragma once

#include "sentry/base/result.h"
#include "sentry/kernel/thread_group.h"

namespace msentry::kernel {

class Task;

struct WaitArgs {
  enum class Which { kAny, kPid, kGroup } which = Which::kAny;
  int id = 0;
  int options =
      0;  // WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE, __WNOTHREAD
};

struct WaitStatus {
  int pid = 0;  // 0: WNOHANG and nothing to report
  auth::Uid uid = 0;
  int code = 0;        // CLD_*
  int status = 0;      // si_status: exit code or signal
  int raw_status = 0;  // wait4's status word
  Usage usage;
};

// kECHILD without a matching child; kERESTARTSYS on a signal.
Result<WaitStatus> Wait(Task& task, const WaitArgs& args);

}  // namespace msentry::kernel
