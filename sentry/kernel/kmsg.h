// The kernel log as files: /dev/kmsg (Documentation/ABI/testing/dev-kmsg) and /proc/kmsg (proc(5)).
#pragma once

#include "sentry/kernel/dmesg.h"
#include "vfs/file_description.h"
#include "vfs/inode.h"

namespace msentry::vfs {
class Vfs;
}

namespace msentry::kernel {

class Kernel;

// May `creds` do the syslog(2) action? EPERM. The actions that only look are free unless
// kernel.dmesg_restrict is set.
Result<> CheckLogAccess(const Dmesg& log, const auth::Credentials& creds, bool only_looks);

// Makes 1:11 open the log of `kernel`, which outlives `vfs`.
void RegisterKmsg(vfs::Vfs& vfs, Kernel& kernel);
// An open /proc/kmsg: reading consumes, as syslog(2) action 2.
Result<RefPtr<vfs::FileDescription>> OpenProcKmsg(Kernel& kernel, const vfs::OpContext& ctx,
                                                  const vfs::OpenArgs& args);

}  // namespace msentry::kernel
