// Landlock (landlock(7)): what a process takes from itself without any privilege. Rules hold for
// the calling thread and what it starts from then on, so this comes before the first thread or
// child.
//
//   LandlockRules rules(abi, LANDLOCK_ACCESS_FS_READ_FILE | ...);   // handled: refused unless
//   allowed TRY(rules.Allow(directory_fd, LANDLOCK_ACCESS_FS_READ_FILE)); TRY(rules.Enforce());
#pragma once

#include <linux/landlock.h>

#include <cstdint>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry {

// The host's Landlock version, 0 where there is none.
int LandlockAbi();

// Every right over files that version `abi` knows.
uint64_t LandlockFileRights(int abi);

class LandlockRules {
 public:
  // Handles `rights` over files. With `own_signals` (where the host can, from version 6 on) signals
  // reach only processes that are under these rules too.
  LandlockRules(int abi, uint64_t rights, bool own_signals = false);

  // Allows `rights` beneath the directory, or on the file, that `fd` stands for.
  Result<> Allow(int fd, uint64_t rights);
  // From here on. Sets no_new_privs.
  Result<> Enforce();

 private:
  Result<> created_ = Ok();
  ScopedFd ruleset_;
};

}  // namespace msentry
