// pidfd_open(2): a file descriptor that names a process and becomes readable when it ends.
#pragma once

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/kernel/thread_group.h"

namespace msentry::vfs {
class FileDescription;
}

namespace msentry::kernel {

class Task;

// flags: O_NONBLOCK (PIDFD_NONBLOCK).
RefPtr<vfs::FileDescription> MakePidFd(Task& task, RefPtr<ThreadGroup> group, int flags);
// The process behind a pidfd; kEBADF for another kind of file.
Result<RefPtr<ThreadGroup>> GroupOfPidFd(Task& task, int fd);

// The process that an open /proc/PID directory names: pidfd_send_signal(2) takes those too.
Result<RefPtr<ThreadGroup>> GroupOfProcDirectory(Task& task, int fd);

}  // namespace msentry::kernel
