// Sessions and process groups.
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_session.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {

Result<int64_t> SysSetpgid(Task& t, const SyscallArgs& a) {
  if (a.Int(0) < 0) return Errno::kESRCH;
  TRY(t.kernel().SetPgid(t, a.Int(0), a.Int(1)));
  return 0;
}

Result<int64_t> SysGetpgrp(Task& t, const SyscallArgs&) { return t.kernel().GetPgid(t, 0); }
Result<int64_t> SysGetpgid(Task& t, const SyscallArgs& a) {
  return t.kernel().GetPgid(t, a.Int(0));
}
Result<int64_t> SysSetsid(Task& t, const SyscallArgs&) { return t.kernel().SetSid(t); }
Result<int64_t> SysGetsid(Task& t, const SyscallArgs& a) { return t.kernel().GetSid(t, a.Int(0)); }

Result<int64_t> SysVhangup(Task& t, const SyscallArgs&) {
  if (!t.HasCap(auth::Cap::kSysTtyConfig)) return Errno::kEPERM;
  vfs::JobControl& jobs = t.kernel().job_control();
  if (vfs::Terminal* terminal = jobs.ControllingTerminal()) {
    jobs.Hangup(*terminal);
    terminal->UnrefTerminal();
  }
  return 0;
}

}  // namespace msentry::syscalls
