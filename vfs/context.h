// OpContext: on whose behalf a file operation runs. The task builds one on its stack for each
// system call (kernel::Task::FileContext()); vfs and file systems take it by reference and keep
// nothing of it. This is how vfs learns credentials and limits without knowing tasks.
#pragma once

#include <cstdint>

#include "sentry/auth/credentials.h"

namespace msentry::vfs {

class Vfs;

struct OpContext {
  OpContext(Vfs& v, const auth::Credentials& c) : vfs(v), creds(c) {}

  Vfs& vfs;
  const auth::Credentials& creds;  // fsuid, fsgid and effective capabilities decide
  uint32_t umask = 0;
  uint64_t fsize_limit = UINT64_MAX;  // RLIMIT_FSIZE
  int32_t tgid = 0, tid = 0;          // ids in the root pid namespace; 0: the sentry itself
  void* task = nullptr;               // kernel::Task; only the kernel, procfs and devices cast it

  // Set by file_io when RLIMIT_FSIZE stopped a write (EFBIG): the call layer owes a SIGXFSZ.
  mutable bool fsize_exceeded = false;
};

}  // namespace msentry::vfs
