// Resource limits and usage.
#include <sys/resource.h>

#include "sentry/abi/process.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_rlimit.h"
#include "sentry/syscalls/rusage.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {

abi::Rusage ToRusage(const kernel::Usage& usage) {
  abi::Rusage r{};
  r.utime = abi::ToTimeval(usage.user_ns);
  r.stime = abi::ToTimeval(usage.system_ns);
  r.maxrss = usage.max_rss_kb;
  r.minflt = usage.minor_faults;
  r.majflt = usage.major_faults;
  r.inblock = usage.blocks_in;
  r.oublock = usage.blocks_out;
  r.nvcsw = usage.voluntary_switches;
  r.nivcsw = usage.involuntary_switches;
  return r;
}

namespace {

abi::Rlimit ToAbi(const kernel::Limit& limit) { return {limit.current, limit.maximum}; }

Result<> SetLimit(Task& t, kernel::ThreadGroup& group, int resource, const abi::Rlimit& limit) {
  TRY(group.limits().Set(resource, {limit.cur, limit.max}, t.HasCap(auth::Cap::kSysResource)));
  if (resource == RLIMIT_CPU) group.timers().CheckCpuLimit();
  return Ok();
}

// prlimit(2): the target's ids must all be the caller's, unless CAP_SYS_RESOURCE.
bool MayChangeLimits(Task& t, Task& target) {
  if (&t.group() == &target.group() || t.HasCap(auth::Cap::kSysResource)) return true;
  const auth::CredsRef mine = t.creds(), theirs = target.creds();
  return mine->uid == theirs->uid && mine->uid == theirs->euid && mine->uid == theirs->suid &&
         mine->gid == theirs->gid && mine->gid == theirs->egid && mine->gid == theirs->sgid;
}

}  // namespace

Result<int64_t> SysGetrlimit(Task& t, const SyscallArgs& a) {
  if (a.Uint(0) >= kernel::kLimitCount) return Errno::kEINVAL;
  TRY(t.memory().CopyOut(GuestPtr<abi::Rlimit>(a[1]), ToAbi(t.group().limits().Get(a.Int(0)))));
  return 0;
}

Result<int64_t> SysSetrlimit(Task& t, const SyscallArgs& a) {
  const auto limit = TRY(t.memory().CopyIn(GuestPtr<abi::Rlimit>(a[1])));
  if (a.Uint(0) >= kernel::kLimitCount) return Errno::kEINVAL;
  TRY(SetLimit(t, t.group(), a.Int(0), limit));
  return 0;
}

Result<int64_t> SysPrlimit64(Task& t, const SyscallArgs& a) {
  const int pid = a.Int(0);
  RefPtr<Task> target = pid == 0 ? RefPtr<Task>(&t) : t.kernel().FindTask(pid);
  if (a.Uint(1) >= kernel::kLimitCount) return Errno::kEINVAL;
  if (!target) return Errno::kESRCH;
  if (!MayChangeLimits(t, *target)) return Errno::kEPERM;
  const kernel::Limit old = target->group().limits().Get(a.Int(1));
  if (a[2] != 0) {
    const auto limit = TRY(t.memory().CopyIn(GuestPtr<abi::Rlimit>(a[2])));
    TRY(SetLimit(t, target->group(), a.Int(1), limit));
  }
  if (a[3] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Rlimit>(a[3]), ToAbi(old)));
  return 0;
}

Result<int64_t> SysGetrusage(Task& t, const SyscallArgs& a) {
  kernel::Usage usage;
  switch (a.Int(0)) {
    case RUSAGE_SELF:
      usage = t.group().GetUsage();
      break;
    case RUSAGE_CHILDREN: {
      MutexLock lock(t.kernel().tasks_mutex());
      usage = t.group().waited_children;
      break;
    }
    case RUSAGE_THREAD:
      usage = t.GetUsage();
      usage.max_rss_kb = static_cast<int64_t>(t.mm().Resident().resident * 4);
      break;
    default:
      return Errno::kEINVAL;
  }
  TRY(t.memory().CopyOut(GuestPtr<abi::Rusage>(a[1]), ToRusage(usage)));
  return 0;
}

}  // namespace msentry::syscalls
