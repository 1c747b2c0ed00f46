#include "platform/systrap/systrap.h"

namespace msentry::platform {

Result<std::unique_ptr<Platform>> CreateSystrap(sched::Scheduler&, const Options&,
                                                std::string* why) {
  *why = "systrap: this build has no stub blob yet; use --platform=ptrace";
  return Errno::kENOSYS;
}

}  // namespace msentry::platform
