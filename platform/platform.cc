#include "platform/platform.h"

#include "platform/ptrace/ptrace.h"
#include "platform/systrap/systrap.h"

namespace msentry::platform {

Result<std::unique_ptr<Platform>> Platform::Create(sched::Scheduler& scheduler,
                                                   const Options& options, std::string* why) {
  switch (options.kind) {
    case Kind::kSystrap:
      return CreateSystrap(scheduler, options, why);
    case Kind::kPtrace:
      return CreatePtrace(scheduler, options, why);
  }
  return Errno::kEINVAL;
}

}  // namespace msentry::platform
