// Credentials of a task (credentials(7), capabilities(7)): an immutable value, shared by reference.
// Changing them makes a copy. vfs and fsimpl get them as an argument and never see a task.
#pragma once

#include <cstdint>
#include <vector>

#include "sentry/base/ref_ptr.h"

namespace msentry::auth {

using Uid = uint32_t;
using Gid = uint32_t;

// Bit n is capability n of capabilities(7).
using CapSet = uint64_t;
inline constexpr int kCapLast = 37;  // CAP_AUDIT_READ: the last one of Linux 4.4
inline constexpr CapSet kAllCaps = (CapSet{1} << (kCapLast + 1)) - 1;

enum class Cap : uint8_t {
  kChown = 0,
  kDacOverride = 1,
  kDacReadSearch = 2,
  kFowner = 3,
  kFsetid = 4,
  kKill = 5,
  kSetgid = 6,
  kSetuid = 7,
  kSetpcap = 8,
  kLinuxImmutable = 9,
  kNetBindService = 10,
  kNetBroadcast = 11,
  kNetAdmin = 12,
  kNetRaw = 13,
  kIpcLock = 14,
  kIpcOwner = 15,
  kSysModule = 16,
  kSysRawio = 17,
  kSysChroot = 18,
  kSysPtrace = 19,
  kSysPacct = 20,
  kSysAdmin = 21,
  kSysBoot = 22,
  kSysNice = 23,
  kSysResource = 24,
  kSysTime = 25,
  kSysTtyConfig = 26,
  kMknod = 27,
  kLease = 28,
  kAuditWrite = 29,
  kAuditControl = 30,
  kSetfcap = 31,
  kMacOverride = 32,
  kMacAdmin = 33,
  kSyslog = 34,
  kWakeAlarm = 35,
  kBlockSuspend = 36,
  kAuditRead = 37,
};

struct Credentials : RefCounted<Credentials> {
  Uid uid = 0, euid = 0, suid = 0, fsuid = 0;
  Gid gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<Gid> groups;  // sorted
  CapSet permitted = 0, effective = 0, inheritable = 0, ambient = 0, bounding = kAllCaps;
  uint32_t securebits = 0;
  bool no_new_privs = false;

  Credentials() = default;
  // A private copy to change and then publish.
  RefPtr<Credentials> Clone() const;

  bool HasCap(Cap cap) const { return effective >> static_cast<int>(cap) & 1; }
  // gid is the file-system group or a supplementary one.
  bool InGroup(Gid gid) const;
};

using CredsRef = RefPtr<const Credentials>;

}  // namespace msentry::auth
