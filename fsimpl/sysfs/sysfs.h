// /sys as a machine without devices shows it: the processors, and the directories that programs
// expect to find.
#pragma once

#include "sentry/base/ref_ptr.h"
#include "vfs/file_system.h"

namespace msentry::sysfs {

// `cpus`: how many the guest has.
RefPtr<vfs::FileSystem> Create(int cpus);

}  // namespace msentry::sysfs
