// Who may look into a process: __ptrace_may_access of Linux (ptrace(2), "Ptrace access mode
// checking"). Also used by process_vm_readv(2) and kcmp(2).
#pragma once

#include "sentry/auth/credentials.h"
#include "sentry/base/result.h"
#include "sentry/kernel/task.h"

namespace msentry::procfs {

// Which ids of the reader count: PTRACE_MODE_FSCREDS (files) or PTRACE_MODE_REALCREDS (calls).
enum class WhichIds { kFileSystem, kReal };

// EACCES unless `reader` (a task of thread group `reader_tgid`) may read `target`'s state.
Result<> CheckInspect(const auth::Credentials& reader, int reader_tgid, kernel::Task& target,
                      WhichIds which = WhichIds::kFileSystem);

}  // namespace msentry::procfs
