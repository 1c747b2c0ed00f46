// The ptrace platform's GuestThread.
#pragma once

#include <memory>

#include "platform/platform.h"
#include "platform/ptrace/tracee.h"

namespace msentry::platform::pt {

std::unique_ptr<GuestThread> MakeThread(Tracer& tracer, RefPtr<Tracee> tracee);

}  // namespace msentry::platform::pt
