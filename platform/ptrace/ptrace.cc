#include "platform/ptrace/ptrace.h"

namespace msentry::platform {

Result<std::unique_ptr<Platform>> CreatePtrace(sched::Scheduler&, const Options&,
                                               std::string* why) {
  *why = "ptrace: this build has no ptrace platform yet";
  return Errno::kENOSYS;
}

}  // namespace msentry::platform
