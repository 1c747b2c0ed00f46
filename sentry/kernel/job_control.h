// vfs::JobControl as the kernel implements it: terminals, sessions and foreground groups
// (tty_ioctl(4)). Locks: Kernel::tasks_mutex() inside each call; no terminal lock may be held.
#pragma once

#include "sentry/kernel/kernel.h"
#include "vfs/job_control.h"

namespace msentry::kernel {

class Kernel::JobControlImpl : public vfs::JobControl {
 public:
  explicit JobControlImpl(Kernel& kernel) : kernel_(kernel) {}

  void OpenedTerminal(vfs::Terminal& terminal) override;
  Result<> SetControlling(vfs::Terminal& terminal, bool steal) override;
  Result<> GiveUpControlling(vfs::Terminal& terminal) override;
  Result<int> ForegroundGroup(vfs::Terminal& terminal, bool master) override;
  Result<> SetForegroundGroup(vfs::Terminal& terminal, int group) override;
  Result<int> SessionOf(vfs::Terminal& terminal, bool master) override;
  Result<> CheckBackground(vfs::Terminal& terminal, int signo) override;
  void SignalForeground(vfs::Terminal& terminal, int signo) override;
  void Hangup(vfs::Terminal& terminal) override;
  vfs::Terminal* ControllingTerminal() override;

  // tasks_mutex() held.
  void AttachLocked(ThreadGroup& leader, vfs::Terminal& terminal);

 private:
  Kernel& kernel_;
};

}  // namespace msentry::kernel
