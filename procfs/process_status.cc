// stat, statm, status, comm, io, limits and the small ones about scheduling.
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>

#include "absl/strings/str_format.h"
#include "procfs/access.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "sentry/kernel/signal.h"
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

bool MayInspect(const View& v) { return CheckInspect(v.ctx.creds, v.ctx.tgid, v.task).ok(); }

uint64_t CodeBytes(const mm::ImageInfo& i) {
  return (i.end_code + kPage - 1) / kPage * kPage - i.start_code / kPage * kPage;
}

// PF_* of include/linux/sched.h, as far as programs can tell.
uint32_t FlagsOf(const View& v) {
  constexpr uint32_t kExiting = 0x4, kForkedNoExec = 0x40, kSuperPriv = 0x100,
                     kRandomize = 0x400000;
  uint32_t flags = kRandomize;
  MutexLock lock(v.kernel().tasks_mutex());
  if (v.group.zombie) flags |= kExiting;
  if (!v.group.executed) flags |= kForkedNoExec;
  if (v.task.creds()->effective != 0) flags |= kSuperPriv;
  return flags;
}

int ExitSignalOf(const View& v) {
  MutexLock lock(v.kernel().tasks_mutex());
  return &v.task == v.group.leader ? v.group.exit_signal : -1;
}

// The status of a zombie, for who may inspect it.
int ExitCodeOf(const View& v) {
  MutexLock lock(v.kernel().tasks_mutex());
  if (!v.group.zombie) return 0;
  MutexLock signal_lock(v.group.signal_mutex());
  return v.group.exit_status;
}

int Threads(const View& v) {
  return std::max(1, v.group.live_tasks.load(std::memory_order_relaxed));
}

int FirstCpu(const View& v) {
  const std::vector<uint64_t> affinity = v.task.scheduling().affinity;
  for (size_t i = 0; i < affinity.size(); ++i) {
    if (affinity[i] != 0) return static_cast<int>(i * 64) + std::countr_zero(affinity[i]);
  }
  return 0;
}

// The Vm lines of status.
void AppendMemory(std::string* s, const View& v, const mm::MemoryManager& mm) {
  const mm::HostMemory host = mm.HostStatus();
  const uint64_t code = CodeBytes(mm.image()), exec = mm.exec_bytes();
  const uint64_t peak = v.group.max_rss_kb.load(std::memory_order_relaxed);
  const auto line = [&](const char* name, uint64_t kb) {
    absl::StrAppendFormat(s, "%s:\t%8u kB\n", name, kb);
  };
  line("VmPeak", mm.peak_bytes() / 1024);
  line("VmSize", mm.total_bytes() / 1024);
  line("VmLck", mm.locked_bytes() / 1024);
  line("VmPin", 0);
  line("VmHWM", std::max({host.peak_kb, host.resident_kb, peak}));
  line("VmRSS", host.resident_kb);
  line("VmData", mm.data_bytes() / 1024);
  line("VmStk", mm.stack_bytes() / 1024);
  line("VmExe", code / 1024);
  line("VmLib", (exec - std::min(exec, code)) / 1024);
  // The host tells both levels in one figure; three middle ones is what a small process has.
  constexpr uint64_t kMiddle = 12;
  line("VmPTE", host.page_tables_kb - std::min(host.page_tables_kb, kMiddle));
  line("VmPMD", std::min(host.page_tables_kb, kMiddle));
  line("VmSwap", host.swap_kb);
  line("HugetlbPages", 0);
}

}  // namespace

Text ReadStat(const View& v) {
  const Job job = JobOf(v);
  const RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  mm::ImageInfo image;
  mm::HostFigures figures;
  uint64_t size = 0, brk = 0;
  if (mm) {
    image = mm->image();
    figures = mm->Figures();
    size = mm->total_bytes();
    brk = mm->brk_start();
  }
  const kernel::Usage usage = v.whole_process() ? v.group.GetUsage(&figures) : v.task.GetUsage();
  const kernel::Usage children = ChildrenUsage(v);
  const kernel::Task::Scheduling scheduling = v.task.scheduling();
  const RefPtr<kernel::SignalHandlers> handlers = v.group.handlers();
  const int64_t start = v.whole_process() ? v.group.start_ns : v.task.start_ns();
  const bool realtime = scheduling.policy == SCHED_FIFO || scheduling.policy == SCHED_RR;
  const int priority = realtime ? -1 - scheduling.priority : kDefaultPriority + scheduling.nice;
  // Addresses only for those who may inspect; the others see 1 for where the code is, 0 for the
  // rest.
  const bool inspect = MayInspect(v);
  const auto secret = [&](uint64_t value, uint64_t instead) {
    return inspect || value == 0 ? value : instead;
  };
  kernel::Task::Sleep sleep;
  bool sleeps = false;
  if (inspect) {
    if (std::optional<kernel::Task::Sleep> now = v.task.GetSleep()) {
      sleep = *now;
      sleeps = true;
    } else if (&v.task == v.ctx.task) {
      sleep.sp = v.task.registers().rsp;
      sleep.ip = v.task.registers().rip;
    }
  }
  std::string s;
  absl::StrAppendFormat(&s, "%d (%s) %c %d %d %d %d %d %u", v.subject.id, v.task.comm(),
                        v.task.StateLetter(), v.task.ParentTgid(), job.group, job.session,
                        job.terminal, job.foreground, FlagsOf(v));
  absl::StrAppendFormat(&s, " %d %d %d %d %d %d %d %d", usage.minor_faults, children.minor_faults,
                        usage.major_faults, children.major_faults, ClockTicks(usage.user_ns),
                        ClockTicks(usage.system_ns), ClockTicks(children.user_ns),
                        ClockTicks(children.system_ns));
  absl::StrAppendFormat(&s, " %d %d %d 0 %d %d %d %u", priority, scheduling.nice, Threads(v),
                        ClockTicks(start - v.kernel().boot_ns()), size, figures.resident,
                        v.group.limits().Soft(RLIMIT_RSS));
  absl::StrAppendFormat(&s, " %u %u %u %u %u", secret(image.start_code, 1),
                        secret(image.end_code, 1), secret(image.start_stack, 0), sleep.sp,
                        sleep.ip);
  absl::StrAppendFormat(&s, " %u %u %u %u %d 0 0", v.task.PendingSignalSet() & 0x7fffffff,
                        v.task.signal_mask() & 0x7fffffff, handlers->IgnoredSet() & 0x7fffffff,
                        handlers->CaughtSet() & 0x7fffffff, sleeps);
  absl::StrAppendFormat(&s, " %d %d %d %d 0 0 0", ExitSignalOf(v), FirstCpu(v),
                        realtime ? scheduling.priority : 0, scheduling.policy);
  absl::StrAppendFormat(&s, " %u %u %u %u %u %u %u %d\n", secret(image.start_data, 0),
                        secret(image.end_data, 0), secret(brk, 0), secret(image.arg_start, 0),
                        secret(image.arg_end, 0), secret(image.env_start, 0),
                        secret(image.env_end, 0), inspect ? ExitCodeOf(v) : 0);
  return s;
}

Text ReadStatm(const View& v) {
  const RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return std::string("0 0 0 0 0 0 0\n");
  const mm::ResidentUsage resident = mm->Resident();
  return absl::StrFormat("%u %u %u %u 0 %u 0\n", mm->total_bytes() / kPage, resident.resident,
                         resident.file, CodeBytes(mm->image()) / kPage,
                         (mm->data_bytes() + mm->stack_bytes()) / kPage);
}

Text ReadStatus(const View& v) {
  kernel::Task& t = v.task;
  auth::CredsRef c = t.creds();
  RefPtr<kernel::SignalHandlers> handlers = v.group.handlers();
  Job job = JobOf(v);
  RefPtr<kernel::FdTable> fds = t.fd_table_ref();
  RefPtr<mm::MemoryManager> mm = t.mm_ref();

  std::string s = absl::StrFormat("Name:\t%s\n", EscapeName(t.comm()));
  absl::StrAppendFormat(
      &s, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n",
      StateName(t.StateLetter()), t.tgid(), v.subject.id, t.ParentTgid(), t.TracerTid());
  absl::StrAppendFormat(&s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid,
                        c->suid, c->fsuid, c->gid, c->egid, c->sgid, c->fsgid);
  absl::StrAppendFormat(&s, "FDSize:\t%d\nGroups:\t", fds ? fds->size() : 0);
  for (auth::Gid group : c->groups) absl::StrAppend(&s, group, " ");
  s += '\n';
  absl::StrAppendFormat(&s, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", t.tgid(),
                        v.subject.id, job.group, job.session);
  if (mm) AppendMemory(&s, v, *mm);
  absl::StrAppendFormat(&s, "Threads:\t%d\n", Threads(v));
  absl::StrAppendFormat(&s, "SigQ:\t%u/%u\n", kernel::PendingSignals::TotalQueued(),
                        v.group.limits().Soft(RLIMIT_SIGPENDING));
  absl::StrAppendFormat(&s, "SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n",
                        t.PendingSignalSet() & ~t.SharedPendingSignalSet(),
                        t.SharedPendingSignalSet(), t.signal_mask());
  absl::StrAppendFormat(&s, "SigIgn:\t%016x\nSigCgt:\t%016x\n", handlers->IgnoredSet(),
                        handlers->CaughtSet());
  absl::StrAppendFormat(&s, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n",
                        c->inheritable, c->permitted, c->effective, c->bounding);
  absl::StrAppendFormat(&s, "CapAmb:\t%016x\nSeccomp:\t0\n", c->ambient);
  const std::vector<uint64_t> affinity = t.scheduling().affinity;
  absl::StrAppendFormat(&s, "Cpus_allowed:\t%s\nCpus_allowed_list:\t%s\n",
                        CpuMask(affinity, v.kernel().cpus()), CpuList(affinity));
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
      usage.blocks_in * 512, get(io.storage_written));
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
