// The first stub process: execve of the blob, set up by the sentry step by step while it is not yet
// under the filter, then confined. Every guest process is a fork of it.
#pragma once

#include <string>

#include "platform/platform.h"
#include "platform/systrap/slot_file.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::systrap {

// The page the sentry writes and all stubs read.
class ControlPage {
 public:
  static Result<std::unique_ptr<ControlPage>> Create();
  ~ControlPage();
  Control* get() const { return control_; }
  int fd() const { return fd_.get(); }

 private:
  ControlPage(ScopedFd fd, Control* control) : fd_(std::move(fd)), control_(control) {}
  const ScopedFd fd_;  // sealed: a stub can map it for reading only
  Control* const control_;
};

struct Zygote {
  int pid = -1;
  ScopedFd listener;  // seccomp notifications of all stubs
  platform::Platform::Vdso vdso;
};

// `slots`: the zygote's, with slot 0 allocated. Blocks. `why` says what the host forbids.
Result<Zygote> StartZygote(const ControlPage& control, const SlotFile& slots, int doorbell_fd,
                           bool strict, std::string* why);

}  // namespace msentry::systrap
