// Structs of the process calls (clone3(2), getrusage(2), getrlimit(2), uname(2), sysinfo(2), ...).
// Constants (CLONE_*, W*, RLIMIT_*, PR_*) come from the host's headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sentry/abi/time.h"

namespace msentry::abi {

struct Rusage {
  Timeval utime, stime;
  int64_t maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv,
      nsignals, nvcsw, nivcsw;
};
struct Rlimit {
  uint64_t cur, max;
};
inline constexpr uint64_t kRlimInfinity = ~uint64_t{0};

struct CloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};
inline constexpr size_t kCloneArgsSizeVer0 = 64, kCloneArgsSizeVer1 = 80, kCloneArgsSizeVer2 = 88;

struct Utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};
struct Sysinfo {
  int64_t uptime;
  uint64_t loads[3];  // 16.16 fixed point
  uint64_t totalram, freeram, sharedram, bufferram, totalswap, freeswap;
  uint16_t procs, pad;
  uint64_t totalhigh, freehigh;
  uint32_t mem_unit;
};
struct SchedParam {
  int32_t priority;
};
struct SchedAttr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
};
struct RobustListHead {
  uint64_t list;
  int64_t futex_offset;
  uint64_t list_op_pending;
};
struct Rseq {
  uint32_t cpu_id_start, cpu_id;
  uint64_t rseq_cs;
  uint32_t flags, node_id, mm_cid, pad;
};
struct FutexWaitv {
  uint64_t val, uaddr;
  uint32_t flags, reserved;
};
struct CapHeader {
  uint32_t version;
  int32_t pid;
};
struct CapData {
  uint32_t effective, permitted, inheritable;
};

}  // namespace msentry::abi
