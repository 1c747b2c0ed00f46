// User and group identity (credentials(7)).
#include <linux/capability.h>
#include <linux/securebits.h>

#include "sentry/abi/process.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_cred.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using auth::Cap;
using auth::Credentials;

constexpr uint32_t kKeep = ~uint32_t{0};  // -1: leave this id alone
constexpr auth::CapSet kFileCapabilities =
    uint64_t{1} << CAP_CHOWN | uint64_t{1} << CAP_MKNOD | uint64_t{1} << CAP_DAC_OVERRIDE |
    uint64_t{1} << CAP_DAC_READ_SEARCH | uint64_t{1} << CAP_FOWNER | uint64_t{1} << CAP_FSETID |
    uint64_t{1} << CAP_LINUX_IMMUTABLE;

// What changing user ids does to capabilities (capabilities(7), "Effect of user ID changes").
void FixCapabilities(const Credentials& old, Credentials& next) {
  if (old.securebits & issecure_mask(SECURE_NO_SETUID_FIXUP)) return;
  const bool had_root = old.uid == 0 || old.euid == 0 || old.suid == 0;
  const bool has_root = next.uid == 0 || next.euid == 0 || next.suid == 0;
  if (had_root && !has_root && !(old.securebits & issecure_mask(SECURE_KEEP_CAPS))) {
    next.permitted = next.effective = 0;
    next.ambient = 0;
  }
  if (had_root && !has_root) next.ambient = 0;
  if (old.euid == 0 && next.euid != 0) next.effective = 0;
  if (old.euid != 0 && next.euid == 0) next.effective = next.permitted;
}

void FixFsCapabilities(const Credentials& old, Credentials& next) {
  if (old.securebits & issecure_mask(SECURE_NO_SETUID_FIXUP)) return;
  if (old.fsuid == 0 && next.fsuid != 0) next.effective &= ~kFileCapabilities;
  if (old.fsuid != 0 && next.fsuid == 0) {
    next.effective |= next.permitted & kFileCapabilities;
  }
}

void Publish(Task& t, const Credentials& old, RefPtr<Credentials> next) {
  // Whoever changes identity must not be read by the old one (prctl(2), PR_SET_DUMPABLE).
  if (old.euid != next->euid || old.egid != next->egid || old.fsuid != next->fsuid ||
      old.fsgid != next->fsgid) {
    t.mm().set_dumpable(0);
    t.parent_death_signal = 0;
  }
  t.SetCreds(std::move(next));
}

// The ids of users and those of groups follow the same rules.
struct IdKind {
  uint32_t Credentials::*real;
  uint32_t Credentials::*effective;
  uint32_t Credentials::*saved;
  uint32_t Credentials::*fs;
  Cap any;  // may take any id

  bool Has(const Credentials& c, uint32_t id) const {
    return id == c.*real || id == c.*effective || id == c.*saved;
  }
};
constexpr IdKind kUser{&Credentials::uid, &Credentials::euid, &Credentials::suid,
                       &Credentials::fsuid, Cap::kSetuid};
constexpr IdKind kGroup{&Credentials::gid, &Credentials::egid, &Credentials::sgid,
                        &Credentials::fsgid, Cap::kSetgid};

// setuid(2), setgid(2). The capabilities follow the user ids; a change of group ids leaves them.
Result<int64_t> SetId(Task& t, const IdKind& kind, uint32_t id) {
  if (id == kKeep) return Errno::kEINVAL;
  const auth::CredsRef old = t.creds();
  RefPtr<Credentials> next = old->Clone();
  if (old->HasCap(kind.any)) {
    (*next).*kind.real = (*next).*kind.saved = id;
  } else if (id != (*old).*kind.real && id != (*old).*kind.saved) {
    return Errno::kEPERM;
  }
  (*next).*kind.effective = (*next).*kind.fs = id;
  FixCapabilities(*old, *next);
  Publish(t, *old, std::move(next));
  return 0;
}

// setreuid(2), setregid(2).
Result<int64_t> SetRealEffective(Task& t, const IdKind& kind, uint32_t real, uint32_t effective) {
  const auth::CredsRef old = t.creds();
  RefPtr<Credentials> next = old->Clone();
  const bool any = old->HasCap(kind.any);
  const uint32_t old_real = (*old).*kind.real;
  if (real != kKeep) {
    if (!any && real != old_real && real != (*old).*kind.effective) return Errno::kEPERM;
    (*next).*kind.real = real;
  }
  if (effective != kKeep) {
    if (!any && !kind.Has(*old, effective)) return Errno::kEPERM;
    (*next).*kind.effective = effective;
  }
  if (real != kKeep || (effective != kKeep && effective != old_real)) {
    (*next).*kind.saved = (*next).*kind.effective;
  }
  (*next).*kind.fs = (*next).*kind.effective;
  FixCapabilities(*old, *next);
  Publish(t, *old, std::move(next));
  return 0;
}

// setresuid(2), setresgid(2).
Result<int64_t> SetAllThree(Task& t, const IdKind& kind, const SyscallArgs& a) {
  const auth::CredsRef old = t.creds();
  RefPtr<Credentials> next = old->Clone();
  const bool any = old->HasCap(kind.any);
  uint32_t Credentials::*const fields[] = {kind.real, kind.effective, kind.saved};
  for (int i = 0; i < 3; ++i) {
    const uint32_t id = a.Uint(i);
    if (id == kKeep) continue;
    if (!any && !kind.Has(*old, id)) return Errno::kEPERM;
    (*next).*fields[i] = id;
  }
  (*next).*kind.fs = (*next).*kind.effective;
  FixCapabilities(*old, *next);
  Publish(t, *old, std::move(next));
  return 0;
}

Result<int64_t> GetAllThree(Task& t, const IdKind& kind, const SyscallArgs& a) {
  const auth::CredsRef c = t.creds();
  TRY(t.memory().CopyOut(GuestPtr<uint32_t>(a[0]), (*c).*kind.real));
  TRY(t.memory().CopyOut(GuestPtr<uint32_t>(a[1]), (*c).*kind.effective));
  TRY(t.memory().CopyOut(GuestPtr<uint32_t>(a[2]), (*c).*kind.saved));
  return 0;
}

// setfsuid(2), setfsgid(2): these answer the old id whatever happens, errors included.
Result<int64_t> SetFsId(Task& t, const IdKind& kind, uint32_t id) {
  const auth::CredsRef old = t.creds();
  const int64_t before = (*old).*kind.fs;
  if (id == kKeep) return before;
  if (id != before && !kind.Has(*old, id) && !old->HasCap(kind.any)) return before;
  RefPtr<Credentials> next = old->Clone();
  (*next).*kind.fs = id;
  FixFsCapabilities(*old, *next);
  Publish(t, *old, std::move(next));
  return before;
}

}  // namespace

Result<int64_t> SysGetuid(Task& t, const SyscallArgs&) { return t.creds()->uid; }
Result<int64_t> SysGeteuid(Task& t, const SyscallArgs&) { return t.creds()->euid; }
Result<int64_t> SysGetgid(Task& t, const SyscallArgs&) { return t.creds()->gid; }
Result<int64_t> SysGetegid(Task& t, const SyscallArgs&) { return t.creds()->egid; }

Result<int64_t> SysSetuid(Task& t, const SyscallArgs& a) { return SetId(t, kUser, a.Uint(0)); }
Result<int64_t> SysSetgid(Task& t, const SyscallArgs& a) { return SetId(t, kGroup, a.Uint(0)); }
Result<int64_t> SysSetreuid(Task& t, const SyscallArgs& a) {
  return SetRealEffective(t, kUser, a.Uint(0), a.Uint(1));
}
Result<int64_t> SysSetregid(Task& t, const SyscallArgs& a) {
  return SetRealEffective(t, kGroup, a.Uint(0), a.Uint(1));
}
Result<int64_t> SysSetresuid(Task& t, const SyscallArgs& a) { return SetAllThree(t, kUser, a); }
Result<int64_t> SysSetresgid(Task& t, const SyscallArgs& a) { return SetAllThree(t, kGroup, a); }
Result<int64_t> SysGetresuid(Task& t, const SyscallArgs& a) { return GetAllThree(t, kUser, a); }
Result<int64_t> SysGetresgid(Task& t, const SyscallArgs& a) { return GetAllThree(t, kGroup, a); }
Result<int64_t> SysSetfsuid(Task& t, const SyscallArgs& a) { return SetFsId(t, kUser, a.Uint(0)); }
Result<int64_t> SysSetfsgid(Task& t, const SyscallArgs& a) { return SetFsId(t, kGroup, a.Uint(0)); }

Result<int64_t> SysGetgroups(Task& t, const SyscallArgs& a) {
  const auth::CredsRef c = t.creds();
  const int64_t count = static_cast<int64_t>(c->groups.size());
  if (a.Int(0) < 0) return Errno::kEINVAL;
  if (a.Int(0) == 0) return count;
  if (a.Int(0) < count) return Errno::kEINVAL;
  TRY(t.memory().CopyOutArray(GuestPtr<uint32_t>(a[1]), std::span<const uint32_t>(c->groups)));
  return count;
}

Result<int64_t> SysSetgroups(Task& t, const SyscallArgs& a) {
  constexpr int kMaxGroups = 65536;
  if (!t.HasCap(Cap::kSetgid)) return Errno::kEPERM;
  if (a.Int(0) < 0 || a.Int(0) > kMaxGroups) return Errno::kEINVAL;
  std::vector<uint32_t> groups(static_cast<size_t>(a.Int(0)));
  TRY(t.memory().CopyInArray(GuestPtr<uint32_t>(a[1]), std::span<uint32_t>(groups)));
  std::sort(groups.begin(), groups.end());
  const auth::CredsRef old = t.creds();
  RefPtr<Credentials> next = old->Clone();
  next->groups = std::move(groups);
  t.SetCreds(std::move(next));
  return 0;
}

// ---- capget(2), capset(2) ----

namespace {

// Words of each set in the ABI's version; 0: unknown (the kernel answers with its own version).
int CapWords(uint32_t version) {
  switch (version) {
    case _LINUX_CAPABILITY_VERSION_1:
      return 1;
    case _LINUX_CAPABILITY_VERSION_2:
      return 2;
    case _LINUX_CAPABILITY_VERSION_3:
      return 2;
    default:
      return 0;
  }
}

}  // namespace

Result<int64_t> SysCapget(Task& t, const SyscallArgs& a) {
  const GuestPtr<abi::CapHeader> header_at(a[0]);
  abi::CapHeader header = TRY(t.memory().CopyIn(header_at));
  const int words = CapWords(header.version);
  if (words == 0) {
    header.version = _LINUX_CAPABILITY_VERSION_3;
    TRY(t.memory().CopyOut(header_at, header));
    // Asking with a null pointer is how programs learn the version.
    if (a[1] == 0) return 0;
    return Errno::kEINVAL;
  }
  if (header.pid < 0) return Errno::kEINVAL;
  RefPtr<Task> target = header.pid == 0 ? RefPtr<Task>(&t) : t.kernel().FindTask(header.pid);
  if (!target) return Errno::kESRCH;
  if (a[1] == 0) return 0;
  const auth::CredsRef c = target->creds();
  for (int i = 0; i < words; ++i) {
    const auto word = [&](auth::CapSet set) { return static_cast<uint32_t>(set >> 32 * i); };
    const abi::CapData data{word(c->effective), word(c->permitted), word(c->inheritable)};
    TRY(t.memory().CopyOut(GuestPtr<abi::CapData>(a[1]) + static_cast<uint64_t>(i), data));
  }
  return 0;
}

Result<int64_t> SysCapset(Task& t, const SyscallArgs& a) {
  const GuestPtr<abi::CapHeader> header_at(a[0]);
  abi::CapHeader header = TRY(t.memory().CopyIn(header_at));
  const int words = CapWords(header.version);
  if (words == 0) {
    header.version = _LINUX_CAPABILITY_VERSION_3;
    TRY(t.memory().CopyOut(header_at, header));
    return Errno::kEINVAL;
  }
  if (header.pid != 0 && header.pid != t.tid()) return Errno::kEPERM;
  auth::CapSet effective = 0, permitted = 0, inheritable = 0;
  for (int i = 0; i < words; ++i) {
    const auto data =
        TRY(t.memory().CopyIn(GuestPtr<abi::CapData>(a[1]) + static_cast<uint64_t>(i)));
    effective |= auth::CapSet{data.effective} << 32 * i;
    permitted |= auth::CapSet{data.permitted} << 32 * i;
    inheritable |= auth::CapSet{data.inheritable} << 32 * i;
  }
  effective &= auth::kAllCaps;
  permitted &= auth::kAllCaps;
  inheritable &= auth::kAllCaps;
  const auth::CredsRef old = t.creds();
  if (!old->HasCap(Cap::kSetpcap) && (inheritable & ~(old->inheritable | old->permitted))) {
    return Errno::kEPERM;
  }
  if (inheritable & ~(old->inheritable | old->bounding)) return Errno::kEPERM;
  if (permitted & ~old->permitted) return Errno::kEPERM;
  if (effective & ~permitted) return Errno::kEPERM;
  RefPtr<Credentials> next = old->Clone();
  next->effective = effective;
  next->permitted = permitted;
  next->inheritable = inheritable;
  next->ambient &= permitted & inheritable;
  t.SetCreds(std::move(next));
  return 0;
}

}  // namespace msentry::syscalls
