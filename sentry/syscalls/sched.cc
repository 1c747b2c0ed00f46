// Scheduling policy, priority, affinity. Parameters are stored, inherited and reported; the
// sentry's scheduler treats all tasks alike, and guest code runs where the host puts it.
#include <sched.h>
#include <sys/resource.h>

#include "sentry/abi/process.h"
#include "sentry/abi/time.h"
#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_sched.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

constexpr int kIdle = 5, kDeadline = 6, kResetOnFork = 0x40000000;
constexpr int kMaxRealtime = 99;

bool IsRealtime(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

Result<RefPtr<Task>> Target(Task& t, int pid) {
  if (pid < 0) return Errno::kEINVAL;
  RefPtr<Task> target = pid == 0 ? RefPtr<Task>(&t) : t.kernel().FindTask(pid);
  if (!target) return Errno::kESRCH;
  return target;
}

// The affinity calls look a negative id up like any other.
Result<RefPtr<Task>> AffinityTarget(Task& t, int pid) {
  if (pid < 0) return Errno::kESRCH;
  return Target(t, pid);
}

bool MayChange(Task& t, Task& target) {
  const auth::CredsRef mine = t.creds(), theirs = target.creds();
  return mine->euid == theirs->euid || mine->euid == theirs->uid ||
         mine->HasCap(auth::Cap::kSysNice);
}

Result<> SetPolicy(Task& t, Task& target, int policy, int priority) {
  const bool reset = (policy & kResetOnFork) != 0;
  policy &= ~kResetOnFork;
  if (IsRealtime(policy)) {
    if (priority < 1 || priority > kMaxRealtime) return Errno::kEINVAL;
  } else if (policy == SCHED_OTHER || policy == SCHED_BATCH || policy == kIdle) {
    if (priority != 0) return Errno::kEINVAL;
  } else {
    return Errno::kEINVAL;
  }
  if (!MayChange(t, target)) return Errno::kEPERM;
  if (IsRealtime(policy) && !t.HasCap(auth::Cap::kSysNice) &&
      static_cast<uint64_t>(priority) > target.group().limits().Soft(RLIMIT_RTPRIO)) {
    return Errno::kEPERM;
  }
  Task::Scheduling s = target.scheduling();
  s.policy = policy;
  s.priority = priority;
  s.reset_on_fork = reset;
  target.SetScheduling(std::move(s));
  return Ok();
}

// The leaders that getpriority and setpriority mean.
Result<std::vector<RefPtr<Task>>> PriorityTargets(Task& t, int which, int who) {
  std::vector<RefPtr<Task>> out;
  switch (which) {
    case PRIO_PROCESS:
      out.push_back(TRY(Target(t, who)));
      return out;
    case PRIO_PGRP: {
      if (who < 0) return Errno::kEINVAL;
      MutexLock lock(t.kernel().tasks_mutex());
      const int pgid = who == 0 ? t.group().process_group->id : who;
      if (const kernel::ProcessGroup* group = t.kernel().pids().FindGroup(pgid)) {
        for (kernel::ThreadGroup* member : group->members) {
          if (!member->zombie) out.push_back(RefPtr<Task>(member->leader));
        }
      }
      break;
    }
    case PRIO_USER: {
      const auth::Uid uid = who == 0 ? t.creds()->uid : static_cast<auth::Uid>(who);
      for (int id : t.kernel().ThreadGroupIds()) {
        RefPtr<Task> task = t.kernel().FindTask(id);
        if (task && task->creds()->uid == uid) out.push_back(std::move(task));
      }
      break;
    }
    default:
      return Errno::kEINVAL;
  }
  if (out.empty()) return Errno::kESRCH;
  return out;
}

}  // namespace

Result<int64_t> SysSchedYield(Task&, const SyscallArgs&) {
  sched::Yield();
  return 0;
}

// The call shows 40..1 for nice -20..19, so that it is never negative.
Result<int64_t> SysGetpriority(Task& t, const SyscallArgs& a) {
  int64_t best = 0;
  for (const RefPtr<Task>& task : TRY(PriorityTargets(t, a.Int(0), a.Int(1)))) {
    best = std::max<int64_t>(best, 20 - task->scheduling().nice);
  }
  return best;
}

Result<int64_t> SysSetpriority(Task& t, const SyscallArgs& a) {
  const int nice = std::clamp(a.Int(2), -20, 19);
  for (const RefPtr<Task>& task : TRY(PriorityTargets(t, a.Int(0), a.Int(1)))) {
    if (!MayChange(t, *task)) return Errno::kEPERM;
    Task::Scheduling s = task->scheduling();
    const uint64_t allowed = task->group().limits().Soft(RLIMIT_NICE);
    if (nice<s.nice&& static_cast<uint64_t>(20 - nice)> allowed && !t.HasCap(auth::Cap::kSysNice)) {
      return Errno::kEACCES;
    }
    s.nice = nice;
    task->SetScheduling(std::move(s));
  }
  return 0;
}

Result<int64_t> SysSchedSetparam(Task& t, const SyscallArgs& a) {
  const auto param = TRY(t.memory().CopyIn(GuestPtr<abi::SchedParam>(a[1])));
  RefPtr<Task> target = TRY(Target(t, a.Int(0)));
  const Task::Scheduling s = target->scheduling();
  TRY(SetPolicy(t, *target, s.policy | (s.reset_on_fork ? kResetOnFork : 0), param.priority));
  return 0;
}

Result<int64_t> SysSchedGetparam(Task& t, const SyscallArgs& a) {
  RefPtr<Task> target = TRY(Target(t, a.Int(0)));
  TRY(t.memory().CopyOut(GuestPtr<abi::SchedParam>(a[1]), {target->scheduling().priority}));
  return 0;
}

Result<int64_t> SysSchedSetscheduler(Task& t, const SyscallArgs& a) {
  if (a.Int(1) < 0) return Errno::kEINVAL;
  const auto param = TRY(t.memory().CopyIn(GuestPtr<abi::SchedParam>(a[2])));
  RefPtr<Task> target = TRY(Target(t, a.Int(0)));
  TRY(SetPolicy(t, *target, a.Int(1), param.priority));
  return 0;
}

Result<int64_t> SysSchedGetscheduler(Task& t, const SyscallArgs& a) {
  const Task::Scheduling s = TRY(Target(t, a.Int(0)))->scheduling();
  return s.policy | (s.reset_on_fork ? kResetOnFork : 0);
}

Result<int64_t> SysSchedGetPriorityMax(Task&, const SyscallArgs& a) {
  if (IsRealtime(a.Int(0))) return kMaxRealtime;
  if (a.Int(0) < 0 || a.Int(0) > kDeadline || a.Int(0) == 4) return Errno::kEINVAL;
  return 0;
}

Result<int64_t> SysSchedGetPriorityMin(Task&, const SyscallArgs& a) {
  if (IsRealtime(a.Int(0))) return 1;
  if (a.Int(0) < 0 || a.Int(0) > kDeadline || a.Int(0) == 4) return Errno::kEINVAL;
  return 0;
}

Result<int64_t> SysSchedRrGetInterval(Task& t, const SyscallArgs& a) {
  RefPtr<Task> target = TRY(Target(t, a.Int(0)));
  constexpr int64_t kRoundRobin = 100'000'000, kSlice = 4'000'000;
  const int policy = target->scheduling().policy;
  const int64_t ns = policy == SCHED_RR ? kRoundRobin : policy == SCHED_FIFO ? 0 : kSlice;
  TRY(t.memory().CopyOut(GuestPtr<abi::Timespec>(a[1]), abi::ToTimespec(ns)));
  return 0;
}

Result<int64_t> SysSchedSetaffinity(Task& t, const SyscallArgs& a) {
  RefPtr<Task> target = TRY(AffinityTarget(t, a.Int(0)));
  constexpr size_t kMaxBytes = 1024;
  std::vector<std::byte> bytes(std::min<size_t>(a.Uint(1), kMaxBytes));
  TRY(t.memory().CopyInBytes(a[2], bytes));
  if (!MayChange(t, *target)) return Errno::kEPERM;
  const int cpus = t.kernel().cpus();
  std::vector<uint64_t> mask((static_cast<size_t>(cpus) + 63) / 64, 0);
  memcpy(mask.data(), bytes.data(), std::min(bytes.size(), mask.size() * 8));
  bool any = false;
  for (size_t i = 0; i < mask.size(); ++i) {
    const int left = cpus - static_cast<int>(i) * 64;
    if (left < 64) mask[i] &= (uint64_t{1} << left) - 1;
    any |= mask[i] != 0;
  }
  if (!any) return Errno::kEINVAL;
  const cgroup::CpuSet allowed = t.kernel().cgroups().AllowedCpus(target->cgroup);
  if (!allowed.empty()) {
    std::vector<uint64_t> both = (cgroup::CpuSet::FromWords(mask) & allowed).words();
    if (both.empty()) return Errno::kEINVAL;
    both.resize(mask.size());
    mask = std::move(both);
  }
  Task::Scheduling s = target->scheduling();
  s.affinity = std::move(mask);
  target->SetScheduling(std::move(s));
  return 0;
}

Result<int64_t> SysSchedGetaffinity(Task& t, const SyscallArgs& a) {
  const size_t size = a.Uint(1);
  RefPtr<Task> target = TRY(AffinityTarget(t, a.Int(0)));
  const Task::Scheduling s = target->scheduling();
  const size_t need = s.affinity.size() * sizeof(uint64_t);
  if (size < need || size % sizeof(uint64_t) != 0) return Errno::kEINVAL;
  TRY(t.memory().CopyOutBytes(a[2], std::as_bytes(std::span(s.affinity))));
  return static_cast<int64_t>(need);
}

// Where the caller runs is the host's affair; what is told is a CPU it may run on.
Result<int64_t> SysGetcpu(Task& t, const SyscallArgs& a) {
  const int host = std::max(0, sched_getcpu());
  const uint32_t cpu = static_cast<uint32_t>(host % t.kernel().cpus());
  if (a[0] != 0) TRY(t.memory().CopyOut(GuestPtr<uint32_t>(a[0]), cpu));
  if (a[1] != 0) TRY(t.memory().CopyOut(GuestPtr<uint32_t>(a[1]), 0));
  return 0;
}

Result<int64_t> SysSchedSetattr(Task& t, const SyscallArgs& a) {
  if (a[1] == 0 || a.Uint(2) != 0) return Errno::kEINVAL;
  uint32_t size = TRY(t.memory().CopyIn(GuestPtr<uint32_t>(a[1])));
  if (size == 0) size = 48;
  if (size < 48 || size > 4096) return Errno::kE2BIG;
  const auto attr = TRY(t.memory().CopyInVersioned(GuestPtr<abi::SchedAttr>(a[1]), size));
  RefPtr<Task> target = TRY(Target(t, a.Int(0)));
  const bool reset = attr.flags & 1;  // SCHED_FLAG_RESET_ON_FORK
  if (attr.flags & ~uint64_t{1}) return Errno::kEINVAL;
  TRY(SetPolicy(t, *target, static_cast<int>(attr.policy) | (reset ? kResetOnFork : 0),
                static_cast<int>(attr.priority)));
  if (!IsRealtime(static_cast<int>(attr.policy))) {
    Task::Scheduling s = target->scheduling();
    if (attr.nice < s.nice && !t.HasCap(auth::Cap::kSysNice)) return Errno::kEPERM;
    s.nice = std::clamp(attr.nice, -20, 19);
    target->SetScheduling(std::move(s));
  }
  return 0;
}

Result<int64_t> SysSchedGetattr(Task& t, const SyscallArgs& a) {
  constexpr uint32_t kFirstSize = 48;
  if (a.Uint(2) < kFirstSize || a.Uint(2) > arch::kPageSize || a.Uint(3) != 0) {
    return Errno::kEINVAL;
  }
  const Task::Scheduling s = TRY(Target(t, a.Int(0)))->scheduling();
  abi::SchedAttr attr{};
  attr.size = std::min<uint32_t>(a.Uint(2), sizeof(attr));
  attr.policy = static_cast<uint32_t>(s.policy);
  attr.flags = s.reset_on_fork ? 1 : 0;
  attr.nice = s.nice;
  attr.priority = static_cast<uint32_t>(s.priority);
  TRY(t.memory().CopyOutBytes(a[1], std::as_bytes(std::span(&attr, 1)).first(attr.size)));
  return 0;
}

Result<int64_t> SysIoprioSet(Task& t, const SyscallArgs& a) {
  constexpr int kWhoProcess = 1;
  const int io_class = a.Int(2) >> 13;
  if (io_class > 3 || io_class < 0) return Errno::kEINVAL;
  if (io_class == 1 && !t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  if (a.Int(0) != kWhoProcess) return Errno::kEINVAL;
  RefPtr<Task> target = TRY(Target(t, a.Int(1)));
  if (!MayChange(t, *target)) return Errno::kEPERM;
  Task::Scheduling s = target->scheduling();
  s.ioprio = a.Int(2);
  target->SetScheduling(std::move(s));
  return 0;
}

Result<int64_t> SysIoprioGet(Task& t, const SyscallArgs& a) {
  constexpr int kWhoProcess = 1;
  if (a.Int(0) != kWhoProcess) return Errno::kEINVAL;
  return TRY(Target(t, a.Int(1)))->scheduling().ioprio;
}

}  // namespace msentry::syscalls
