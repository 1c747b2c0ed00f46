// prctl(2) and arch_prctl(2).
#include <asm/prctl.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_process.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

using auth::Cap;
using auth::Credentials;

constexpr size_t kCommSize = 16;

Result<int64_t> SetName(Task& t, uint64_t address) {
  // The name ends at its NUL or at 15 bytes; what lies behind need not be readable.
  std::array<std::byte, kCommSize> bytes{};
  TRY(t.memory().CopyInSome(address, std::span(bytes).first(kCommSize - 1)));
  t.set_comm(std::string_view(reinterpret_cast<const char*>(bytes.data())));
  return 0;
}

Result<int64_t> GetName(Task& t, uint64_t address) {
  std::array<char, kCommSize> name{};
  const std::string comm = t.comm();
  memcpy(name.data(), comm.data(), std::min(comm.size(), kCommSize - 1));
  TRY(t.memory().CopyOutBytes(address, std::as_bytes(std::span(name))));
  return 0;
}

Result<int64_t> SetSecureBits(Task& t, uint64_t bits) {
  const auth::CredsRef old = t.creds();
  const uint32_t locks = old->securebits & SECURE_ALL_LOCKS;
  if (bits & ~uint64_t{SECURE_ALL_LOCKS | SECURE_ALL_BITS}) return Errno::kEPERM;
  if ((locks >> 1) & (old->securebits ^ bits)) return Errno::kEPERM;  // a locked bit changes
  if (locks & ~bits) return Errno::kEPERM;                            // a lock is opened
  if (!old->HasCap(Cap::kSetpcap)) return Errno::kEPERM;
  RefPtr<Credentials> next = old->Clone();
  next->securebits = static_cast<uint32_t>(bits);
  t.SetCreds(std::move(next));
  return 0;
}

Result<int64_t> SetKeepCaps(Task& t, uint64_t value) {
  if (value > 1) return Errno::kEINVAL;
  const auth::CredsRef old = t.creds();
  if (old->securebits & issecure_mask(SECURE_KEEP_CAPS_LOCKED)) return Errno::kEPERM;
  RefPtr<Credentials> next = old->Clone();
  if (value == 1) {
    next->securebits |= issecure_mask(SECURE_KEEP_CAPS);
  } else {
    next->securebits &= ~static_cast<uint32_t>(issecure_mask(SECURE_KEEP_CAPS));
  }
  t.SetCreds(std::move(next));
  return 0;
}

Result<int64_t> DropBounding(Task& t, uint64_t cap) {
  if (cap > auth::kCapLast) return Errno::kEINVAL;
  const auth::CredsRef old = t.creds();
  if (!old->HasCap(Cap::kSetpcap)) return Errno::kEPERM;
  RefPtr<Credentials> next = old->Clone();
  next->bounding &= ~(auth::CapSet{1} << cap);
  t.SetCreds(std::move(next));
  return 0;
}

Result<int64_t> Ambient(Task& t, const SyscallArgs& a) {
  const auth::CredsRef old = t.creds();
  if (a[1] == PR_CAP_AMBIENT_CLEAR_ALL) {
    if (a[2] != 0 || a[3] != 0 || a[4] != 0) return Errno::kEINVAL;
    RefPtr<Credentials> next = old->Clone();
    next->ambient = 0;
    t.SetCreds(std::move(next));
    return 0;
  }
  if (a[2] > auth::kCapLast || a[3] != 0 || a[4] != 0) return Errno::kEINVAL;
  const auth::CapSet bit = auth::CapSet{1} << a[2];
  if (a[1] == PR_CAP_AMBIENT_IS_SET) return (old->ambient & bit) != 0 ? 1 : 0;
  if (a[1] != PR_CAP_AMBIENT_RAISE && a[1] != PR_CAP_AMBIENT_LOWER) return Errno::kEINVAL;
  RefPtr<Credentials> next = old->Clone();
  if (a[1] == PR_CAP_AMBIENT_RAISE) {
    if (!(old->permitted & bit) || !(old->inheritable & bit) ||
        (old->securebits & issecure_mask(SECURE_NO_CAP_AMBIENT_RAISE))) {
      return Errno::kEPERM;
    }
    next->ambient |= bit;
  } else {
    next->ambient &= ~bit;
  }
  t.SetCreds(std::move(next));
  return 0;
}

Result<int64_t> SetNoNewPrivs(Task& t, const SyscallArgs& a) {
  if (a[1] != 1 || a[2] != 0 || a[3] != 0 || a[4] != 0) return Errno::kEINVAL;
  RefPtr<Credentials> next = t.creds()->Clone();
  next->no_new_privs = true;
  t.SetCreds(std::move(next));
  return 0;
}

}  // namespace

Result<int64_t> SysPrctl(Task& t, const SyscallArgs& a) {
  switch (a.Int(0)) {
    case PR_SET_NAME:
      return SetName(t, a[1]);
    case PR_GET_NAME:
      return GetName(t, a[1]);
    case PR_SET_PDEATHSIG:
      if (a[1] > static_cast<uint64_t>(kernel::kMaxSignal)) return Errno::kEINVAL;
      t.parent_death_signal = static_cast<int>(a[1]);
      return 0;
    case PR_GET_PDEATHSIG:
      TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[1]), t.parent_death_signal));
      return 0;
    case PR_SET_DUMPABLE:
      if (a[1] > 1) return Errno::kEINVAL;
      t.mm().set_dumpable(static_cast<int>(a[1]));
      return 0;
    case PR_GET_DUMPABLE:
      return t.mm().dumpable();
    case PR_SET_KEEPCAPS:
      return SetKeepCaps(t, a[1]);
    case PR_GET_KEEPCAPS:
      return (t.creds()->securebits & issecure_mask(SECURE_KEEP_CAPS)) != 0 ? 1 : 0;
    case PR_SET_SECUREBITS:
      return SetSecureBits(t, a[1]);
    case PR_GET_SECUREBITS:
      return t.creds()->securebits;
    case PR_SET_NO_NEW_PRIVS:
      return SetNoNewPrivs(t, a);
    case PR_GET_NO_NEW_PRIVS:
      if (a[1] != 0 || a[2] != 0 || a[3] != 0 || a[4] != 0) return Errno::kEINVAL;
      return t.creds()->no_new_privs ? 1 : 0;
    case PR_CAPBSET_READ:
      if (a[1] > auth::kCapLast) return Errno::kEINVAL;
      return static_cast<int64_t>(t.creds()->bounding >> a[1] & 1);
    case PR_CAPBSET_DROP:
      return DropBounding(t, a[1]);
    case PR_CAP_AMBIENT:
      return Ambient(t, a);
    case PR_SET_CHILD_SUBREAPER: {
      MutexLock lock(t.kernel().tasks_mutex());
      t.group().child_subreaper = a[1] != 0;
      return 0;
    }
    case PR_GET_CHILD_SUBREAPER: {
      int32_t value = 0;
      {
        MutexLock lock(t.kernel().tasks_mutex());
        value = t.group().child_subreaper ? 1 : 0;
      }
      TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[1]), value));
      return 0;
    }
    case PR_SET_TIMERSLACK:
      t.timer_slack_ns = static_cast<int64_t>(a[1]) <= 0 ? Task::kDefaultTimerSlack : a[1];
      return 0;
    case PR_GET_TIMERSLACK:
      return static_cast<int64_t>(t.timer_slack_ns.load());
    case PR_SET_TIMING:
      if (a[1] != PR_TIMING_STATISTICAL) return Errno::kEINVAL;
      return 0;
    case PR_GET_TIMING:
      return PR_TIMING_STATISTICAL;
    case PR_GET_TSC:
      TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[1]), PR_TSC_ENABLE));
      return 0;
    case PR_GET_SECCOMP:
      return 0;
    default:
      return Errno::kEINVAL;
  }
}

Result<int64_t> SysArchPrctl(Task& t, const SyscallArgs& a) {
  arch::Registers& regs = t.registers();
  switch (a.Int(0)) {
    case ARCH_SET_FS:
      if (a[1] >= arch::kTaskSize) return Errno::kEPERM;
      regs.fs_base = a[1];
      return 0;
    case ARCH_SET_GS:
      if (a[1] >= arch::kTaskSize) return Errno::kEPERM;
      regs.gs_base = a[1];
      return 0;
    case ARCH_GET_FS:
      TRY(t.memory().CopyOut(GuestPtr<uint64_t>(a[1]), regs.fs_base));
      return 0;
    case ARCH_GET_GS:
      TRY(t.memory().CopyOut(GuestPtr<uint64_t>(a[1]), regs.gs_base));
      return 0;
    default:
      return Errno::kEINVAL;
  }
}

}  // namespace msentry::syscalls
