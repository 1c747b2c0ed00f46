#include "sentry/base/landlock.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace msentry {
namespace {

// Debian bookworm's headers end with version 2.
constexpr int kTruncateAbi = 3, kIoctlAbi = 5, kScopeAbi = 6;
constexpr uint64_t kTruncate = uint64_t{1} << 14;
constexpr uint64_t kIoctlDevice = uint64_t{1} << 15;
constexpr uint64_t kScopeSignal = uint64_t{1} << 1;

struct RulesetAttr {
  uint64_t handled_access_fs = 0;
  uint64_t handled_access_net = 0;
  uint64_t scoped = 0;
};

Result<> Check(long result) {
  if (result < 0) return FromHost(errno);
  return Ok();
}

}  // namespace

int LandlockAbi() {
  long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

uint64_t LandlockFileRights(int abi) {
  uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // version 1: all up to this one
  if (abi >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= kTruncateAbi) rights |= kTruncate;
  if (abi >= kIoctlAbi) rights |= kIoctlDevice;
  return rights;
}

LandlockRules::LandlockRules(int abi, uint64_t rights, bool own_signals) {
  RulesetAttr attr{.handled_access_fs = rights & LandlockFileRights(abi)};
  size_t size = sizeof attr.handled_access_fs;
  if (own_signals && abi >= kScopeAbi) {
    attr.scoped = kScopeSignal;
    size = sizeof attr;
  }
  ruleset_ = ScopedFd(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
  if (!ruleset_) created_ = FromHost(errno);
}

Result<> LandlockRules::Allow(int fd, uint64_t rights) {
  TRY(created_);
  landlock_path_beneath_attr rule = {};
  rule.parent_fd = fd;
  rule.allowed_access = rights;
  return Check(
      syscall(SYS_landlock_add_rule, ruleset_.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
}

Result<> LandlockRules::Enforce() {
  TRY(created_);
  TRY(Check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
  return Check(syscall(SYS_landlock_restrict_self, ruleset_.get(), 0));
}

}  // namespace msentry
