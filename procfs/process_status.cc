// stat, statm, status, comm, io, limits and the small ones about scheduling.
#include <sys/resource.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "procfs/access.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "vfs/job_control.h"

namespace msentry::procfs {

namespace {

constexpr uint64_t kPage = arch::kPageSize;
constexpr int kDefaultPriority = 20;

const char* StateName(char letter) {
  switch (letter) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    case 't':
      return "t (tracing stop)";
    case 'Z':
      return "Z (zombie)";
    default:
      return "X (dead)";
  }
}

// Process group, session and terminal of a process.
struct Job {
  int group = 0, session = 0, foreground = -1;
  uint32_t terminal = 0;
};

Job JobOf(const View& v) {
  MutexLock lock(v.kernel().tasks_mutex());
  Job job;
  if (!v.group.process_group) return job;
  job.group = v.group.process_group->id;
  kernel::Session* session = v.group.session();
  job.session = session->id;
  if (vfs::Terminal* terminal = session->terminal) {
    job.terminal = terminal->terminal_device();
    job.foreground = terminal->foreground.load(std::memory_order_relaxed);
  }
  return job;
}

kernel::Usage ChildrenUsage(const View& v) {
  MutexLock lock(v.kernel().tasks_mutex());
  return v.group.waited_children;
}

// Own usage of what the file is about; a whole process's includes its dead threads.
kernel::Usage UsageOf(const View& v) {
  return v.whole_process() ? v.group.GetUsage() : v.task.GetUsage();
}

struct Memory {
  uint64_t total = 0, peak = 0, data = 0, stack = 0, exec = 0, locked = 0;
  mm::ResidentUsage resident;
  mm::ImageInfo image;
  uint64_t brk_start = 0;
};

Memory MemoryOf(const View& v) {
  Memory m;
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return m;
  m.total = mm->total_bytes();
  m.peak = mm->peak_bytes();
  m.data = mm->data_bytes();
  m.stack = mm->stack_bytes();
  m.exec = mm->exec_bytes();
  m.locked = mm->locked_bytes();
  m.resident = mm->Resident();
  m.image = mm->image();
  m.brk_start = mm->brk_start();
  return m;
}

bool MayInspect(const View& v) { return CheckInspect(v.ctx.creds, v.ctx.tgid, v.task).ok(); }

uint64_t CodeBytes(const mm::ImageInfo& i) {
  return (i.end_code + kPage - 1) / kPage * kPage - i.start_code / kPage * kPage;
}

std::string CpuMask(uint64_t mask) {
  return mask >> 32 != 0 ? absl::StrFormat("%08x,%08x", mask >> 32, mask & 0xffffffff)
                         : absl::StrFormat("%x", mask);
}

// "0-3,5".
std::string CpuList(uint64_t mask) {
  std::vector<std::string> runs;
  for (int i = 0; i < 64; ++i) {
    if ((mask >> i & 1) == 0) continue;
    int first = i;
    while (i + 1 < 64 && (mask >> (i + 1) & 1) != 0) ++i;
    runs.push_back(first == i ? absl::StrCat(i) : absl::StrCat(first, "-", i));
  }
  return absl::StrJoin(runs, ",");
}

uint64_t AffinityOf(const View& v) {
  int cpus = std::clamp(v.kernel().cpus(), 1, 64);
  uint64_t all = cpus == 64 ? ~uint64_t{0} : (uint64_t{1} << cpus) - 1;
  kernel::Task::Scheduling s = v.task.scheduling();
  uint64_t own = s.affinity.empty() ? all : s.affinity[0] & all;
  return own != 0 ? own : all;
}

}  // namespace

Text ReadStat(const View& v) {
  Job job = JobOf(v);
  kernel::Usage usage = UsageOf(v), children = ChildrenUsage(v);
  Memory m = MemoryOf(v);
  kernel::Task::Scheduling scheduling = v.task.scheduling();
  RefPtr<kernel::SignalHandlers> handlers = v.group.handlers();
  int64_t start = v.whole_process() ? v.group.start_ns : v.task.start_ns();
  const mm::ImageInfo& i = m.image;
  bool inspect = MayInspect(v);
  // Addresses only for those who may inspect, as Linux; 1 tells that there is something.
  auto secret = [&](uint64_t value) { return inspect ? value : uint64_t{0}; };
  std::string s;
  absl::StrAppendFormat(&s, "%d (%s) %c %d %d %d %d %d %u", v.subject.id, v.task.comm(),
                        v.task.StateLetter(), v.task.ParentTgid(), job.group, job.session,
                        job.terminal, job.foreground, 0x400000u);
  absl::StrAppendFormat(&s, " %d %d %d %d %d %d %d %d", usage.minor_faults, children.minor_faults,
                        usage.major_faults, children.major_faults, ClockTicks(usage.user_ns),
                        ClockTicks(usage.system_ns), ClockTicks(children.user_ns),
                        ClockTicks(children.system_ns));
  absl::StrAppendFormat(&s, " %d %d %d 0 %d %d %d %u", kDefaultPriority + scheduling.nice,
                        scheduling.nice, v.group.live_tasks.load(std::memory_order_relaxed),
                        ClockTicks(start - v.kernel().boot_ns()), m.total, m.resident.resident,
                        v.group.limits().Soft(RLIMIT_RSS));
  absl::StrAppendFormat(&s, " %u %u %u 0 0", secret(i.start_code), secret(i.end_code),
                        secret(i.start_stack));
  absl::StrAppendFormat(&s, " %u %u %u %u 0 0 0", v.task.PendingSignalSet() & 0x7fffffff,
                        v.task.signal_mask() & 0x7fffffff, handlers->IgnoredSet() & 0x7fffffff,
                        handlers->CaughtSet() & 0x7fffffff);
  absl::StrAppendFormat(&s, " %d 0 %d %d 0 0 0", SIGCHLD, scheduling.priority, scheduling.policy);
  absl::StrAppendFormat(&s, " %u %u %u %u %u %u %u 0\n", secret(i.start_data), secret(i.end_data),
                        secret(m.brk_start), secret(i.arg_start), secret(i.arg_end),
                        secret(i.env_start), secret(i.env_end));
  return s;
}

Text ReadStatm(const View& v) {
  Memory m = MemoryOf(v);
  uint64_t text = m.image.end_code != 0 ? CodeBytes(m.image) / kPage : 0;
  return absl::StrFormat("%u %u %u %u 0 %u 0\n", m.total / kPage, m.resident.resident,
                         m.resident.file, text, (m.data + m.stack) / kPage);
}

Text ReadStatus(const View& v) {
  kernel::Task& t = v.task;
  auth::CredsRef c = t.creds();
  RefPtr<kernel::SignalHandlers> handlers = v.group.handlers();
  Job job = JobOf(v);
  RefPtr<kernel::FsContext> fs = t.fs_ref();
  RefPtr<kernel::FdTable> fds = t.fd_table_ref();
  RefPtr<mm::MemoryManager> mm = t.mm_ref();

  std::string s = absl::StrFormat("Name:\t%s\n", EscapeName(t.comm()));
  if (fs) absl::StrAppendFormat(&s, "Umask:\t%04o\n", fs->umask());
  absl::StrAppendFormat(
      &s, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n",
      StateName(t.StateLetter()), t.tgid(), v.subject.id, t.ParentTgid(), t.TracerTid());
  absl::StrAppendFormat(&s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid,
                        c->suid, c->fsuid, c->gid, c->egid, c->sgid, c->fsgid);
  absl::StrAppendFormat(&s, "FDSize:\t%d\nGroups:\t%s \n", fds ? fds->size() : 0,
                        absl::StrJoin(c->groups, " "));
  absl::StrAppendFormat(&s, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", t.tgid(),
                        v.subject.id, job.group, job.session);
  if (mm) {
    Memory m = MemoryOf(v);
    uint64_t code = m.image.end_code != 0 ? CodeBytes(m.image) : 0;
    uint64_t rss = m.resident.resident * kPage / 1024, file = m.resident.file * kPage / 1024;
    auto line = [&](const char* name, uint64_t kb) {
      absl::StrAppendFormat(&s, "%s:\t%8u kB\n", name, kb);
    };
    line("VmPeak", m.peak / 1024);
    line("VmSize", m.total / 1024);
    line("VmLck", m.locked / 1024);
    line("VmPin", 0);
    line("VmHWM", std::max<uint64_t>(rss, UsageOf(v).max_rss_kb));
    line("VmRSS", rss);
    line("RssAnon", rss - std::min(rss, file));
    line("RssFile", file);
    line("RssShmem", 0);
    line("VmData", m.data / 1024);
    line("VmStk", m.stack / 1024);
    line("VmExe", code / 1024);
    line("VmLib", (m.exec - std::min(m.exec, code)) / 1024);
    line("VmSwap", 0);
  }
  absl::StrAppendFormat(&s, "Threads:\t%d\n", v.group.live_tasks.load(std::memory_order_relaxed));
  absl::StrAppendFormat(&s, "SigQ:\t0/%s\n", FormatLimit(v.group.limits().Soft(RLIMIT_SIGPENDING)));
  absl::StrAppendFormat(&s, "SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n",
                        t.PendingSignalSet() & ~t.SharedPendingSignalSet(),
                        t.SharedPendingSignalSet(), t.signal_mask());
  absl::StrAppendFormat(&s, "SigIgn:\t%016x\nSigCgt:\t%016x\n", handlers->IgnoredSet(),
                        handlers->CaughtSet());
  absl::StrAppendFormat(&s, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n",
                        c->inheritable, c->permitted, c->effective, c->bounding);
  absl::StrAppendFormat(&s, "CapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t0\n", c->ambient,
                        c->no_new_privs);
  uint64_t affinity = AffinityOf(v);
  absl::StrAppendFormat(&s, "Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\n", CpuMask(affinity),
                        CpuList(affinity));
  absl::StrAppend(&s, "Mems_allowed:\t1\nMems_allowed_list:\t0\n");
  kernel::Usage usage = t.GetUsage();
  absl::StrAppendFormat(&s, "voluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t%d\n",
                        usage.voluntary_switches, usage.involuntary_switches);
  return s;
}

Text ReadComm(const View& v) { return absl::StrCat(v.task.comm(), "\n"); }

Result<> WriteComm(const View& v, std::string_view text) {
  // Only a thread of the process itself may rename one.
  if (v.ctx.tgid != v.task.tgid()) return Errno::kEINVAL;
  text = text.substr(0, text.find_first_of(std::string_view("\n\0", 2)));
  v.task.set_comm(text);
  return Ok();
}

Text ReadIo(const View& v) {
  const kernel::IoCounters& io = v.group.io;
  auto get = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  kernel::Usage usage = v.group.GetUsage();
  return absl::StrFormat(
      "rchar: %u\nwchar: %u\nsyscr: %u\nsyscw: %u\nread_bytes: %d\nwrite_bytes: %d\n"
      "cancelled_write_bytes: 0\n",
      get(io.read_bytes), get(io.written_bytes), get(io.read_calls), get(io.write_calls),
      usage.blocks_in * 512, usage.blocks_out * 512);
}

Text ReadLimits(const View& v) {
  struct Row {
    int resource;
    const char *name, *unit;
  };
  constexpr Row kRows[] = {
      {RLIMIT_CPU, "Max cpu time", "seconds"},
      {RLIMIT_FSIZE, "Max file size", "bytes"},
      {RLIMIT_DATA, "Max data size", "bytes"},
      {RLIMIT_STACK, "Max stack size", "bytes"},
      {RLIMIT_CORE, "Max core file size", "bytes"},
      {RLIMIT_RSS, "Max resident set", "bytes"},
      {RLIMIT_NPROC, "Max processes", "processes"},
      {RLIMIT_NOFILE, "Max open files", "files"},
      {RLIMIT_MEMLOCK, "Max locked memory", "bytes"},
      {RLIMIT_AS, "Max address space", "bytes"},
      {RLIMIT_LOCKS, "Max file locks", "locks"},
      {RLIMIT_SIGPENDING, "Max pending signals", "signals"},
      {RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"},
      {RLIMIT_NICE, "Max nice priority", ""},
      {RLIMIT_RTPRIO, "Max realtime priority", ""},
      {RLIMIT_RTTIME, "Max realtime timeout", "us"},
  };
  std::string s =
      absl::StrFormat("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (const Row& row : kRows) {
    kernel::Limit limit = v.group.limits().Get(row.resource);
    absl::StrAppendFormat(&s, "%-25s %-20s %-20s %-10s\n", row.name, FormatLimit(limit.current),
                          FormatLimit(limit.maximum), row.unit);
  }
  return s;
}

Text ReadSchedstat(const View& v) {
  kernel::Usage u = v.task.GetUsage();
  return absl::StrFormat("%d 0 %d\n", u.user_ns + u.system_ns,
                         u.voluntary_switches + u.involuntary_switches);
}

Text ReadWchan(const View&) { return std::string("0"); }

Text ReadSyscall(const View& v) {
  int number = v.task.current_syscall.load(std::memory_order_relaxed);
  if (number < 0) return std::string("running\n");
  return absl::StrFormat("%d 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", number);
}

Text ReadPersonality(const View& v) { return absl::StrFormat("%08x\n", v.task.personality); }

Text ReadChildren(const View& v) {
  std::string s;
  MutexLock lock(v.kernel().tasks_mutex());
  for (const kernel::ThreadGroup* child : v.group.children) {
    if (child->parent_task == &v.task) absl::StrAppend(&s, child->tgid(), " ");
  }
  return s;
}

}  // namespace msentry::procfs
