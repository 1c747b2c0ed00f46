#include "procfs/system_files.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "vfs/vfs.h"

namespace msentry::procfs {

namespace {

using pseudofs::MakeConstant;
using pseudofs::MakeText;
using Text = Result<std::string>;

struct CpuTimes {
  int64_t user = 0, system = 0, idle = 0;  // clock ticks over all CPUs
};

// What all tasks, living and dead, have used.
CpuTimes MeasureCpu(kernel::Kernel& kernel) {
  int64_t user = kernel.dead_user_ns.load(std::memory_order_relaxed);
  int64_t system = kernel.dead_system_ns.load(std::memory_order_relaxed);
  for (int tgid : kernel.ThreadGroupIds()) {
    RefPtr<kernel::ThreadGroup> group = kernel.FindThreadGroup(tgid);
    if (!group) continue;
    kernel::Usage usage = group->GetUsage();
    user += usage.user_ns;
    system += usage.system_ns;
  }
  int64_t capacity = kernel.uptime_ns() * std::max(1, kernel.cpus());
  return {ClockTicks(user), ClockTicks(system),
          ClockTicks(std::max<int64_t>(0, capacity - user - system))};
}

int CountTasks(kernel::Kernel& kernel) {
  MutexLock lock(kernel.tasks_mutex());
  return kernel.pids().tasks();
}

int LastPid(kernel::Kernel& kernel) {
  MutexLock lock(kernel.tasks_mutex());
  return kernel.pids().last();
}

Text Cpuinfo(const ProcFs& fs) {
  const HostFacts& h = WithProcessor(fs.options().host);
  int cpus = std::max(1, fs.kernel().cpus());
  std::string s;
  for (int i = 0; i < cpus; ++i) {
    absl::StrAppendFormat(&s,
                          "processor\t: %d\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: %d\n"
                          "model name\t: unknown\nstepping\t: unknown\ncpu MHz\t\t: %s\n",
                          i, h.vendor, h.family, h.model, h.mhz);
    if (!h.cache_size.empty()) absl::StrAppendFormat(&s, "cache size\t: %s\n", h.cache_size);
    absl::StrAppendFormat(&s,
                          "physical id\t: 0\nsiblings\t: %d\ncore id\t\t: %d\ncpu cores\t: %d\n"
                          "apicid\t\t: %d\ninitial apicid\t: %d\nfpu\t\t: yes\n"
                          "fpu_exception\t: yes\ncpuid level\t: %d\nwp\t\t: yes\nflags\t\t: %s\n",
                          cpus, i, cpus, i, i, h.cpuid_level, h.flags);
    absl::StrAppendFormat(&s,
                          "bogomips\t: %s\nclflush size\t: %d\ncache_alignment\t: %d\n"
                          "address sizes\t: %s\npower management:\n\n",
                          h.bogomips, h.clflush, h.clflush, h.address_sizes);
  }
  return s;
}

Text Meminfo(const ProcFs& fs) {
  MemoryFigures m = MeasureMemory(fs);
  uint64_t free = m.total - std::min(m.total, m.used);
  uint64_t anonymous = m.used - std::min(m.used, m.file);
  std::string s;
  auto line = [&](const char* name, uint64_t bytes) {
    absl::StrAppendFormat(&s, "%-16s%8u kB\n", name, bytes / 1024);
  };
  line("MemTotal:", m.total);
  line("MemFree:", free);
  line("MemAvailable:", free);
  line("Buffers:", 0);
  line("Cached:", m.file);
  line("SwapCached:", 0);
  line("Active:", anonymous);
  line("Inactive:", m.file);
  line("Active(anon):", anonymous);
  line("Inactive(anon):", 0);
  line("Active(file):", 0);
  line("Inactive(file):", m.file);
  line("Unevictable:", 0);
  line("Mlocked:", 0);
  line("SwapTotal:", 0);
  line("SwapFree:", 0);
  line("Dirty:", 0);
  line("Writeback:", 0);
  line("AnonPages:", anonymous);
  line("Mapped:", m.file);
  line("Shmem:", 0);
  return s;
}

Text Stat(const ProcFs& fs) {
  kernel::Kernel& k = fs.kernel();
  CpuTimes t = MeasureCpu(k);
  int cpus = std::max(1, k.cpus());
  auto row = [](std::string_view name, int64_t user, int64_t system, int64_t idle) {
    return absl::StrFormat("%s %d 0 %d %d 0 0 0 0 0 0\n", name, user, system, idle);
  };
  std::string s = row("cpu ", t.user, t.system, t.idle);
  for (int i = 0; i < cpus; ++i) {
    // Which host CPU ran what is not recorded: an equal share each.
    s += row(absl::StrCat("cpu", i), t.user / cpus, t.system / cpus, t.idle / cpus);
  }
  absl::StrAppendFormat(&s, "intr 0\nctxt %u\nbtime %d\nprocesses %u\n",
                        k.context_switches.load(std::memory_order_relaxed), k.boot_realtime_s(),
                        k.forks.load(std::memory_order_relaxed));
  absl::StrAppendFormat(&s, "procs_running %d\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
                        std::max(1, k.running_tasks()));
  return s;
}

Text Uptime(const ProcFs& fs) {
  int64_t up = fs.kernel().uptime_ns() / kNsPerTick;
  int64_t idle = MeasureCpu(fs.kernel()).idle;
  return absl::StrFormat("%d.%02d %d.%02d\n", up / 100, up % 100, idle / 100, idle % 100);
}

Text Loadavg(const ProcFs& fs) {
  kernel::Kernel& k = fs.kernel();
  kernel::Kernel::LoadAverage load = k.load_average();
  constexpr uint64_t kOne = 1 << 11;  // FIXED_1
  auto number = [](uint64_t v) {
    v += kOne / 200;  // rounds
    return absl::StrFormat("%u.%02u", v / kOne, v % kOne * 100 / kOne);
  };
  return absl::StrFormat("%s %s %s %d/%d %d\n", number(load.one), number(load.five),
                         number(load.fifteen), std::max(1, k.running_tasks()), CountTasks(k),
                         LastPid(k));
}

Text Filesystems(const ProcFs& fs) {
  std::string s;
  for (const vfs::Vfs::FsType& type : fs.kernel().vfs().FsTypes()) {
    if (!type.user_mountable) continue;
    absl::StrAppendFormat(&s, "%s\t%s\n", type.nodev ? "nodev" : "", type.name);
  }
  return s;
}

Text Devices(const ProcFs& fs) {
  std::string s;
  for (uint32_t type : {S_IFCHR, S_IFBLK}) {
    s += type == S_IFCHR ? "Character devices:\n" : "\nBlock devices:\n";
    for (const vfs::DeviceRegistry::Entry& e : fs.kernel().vfs().devices().List()) {
      if (e.type == type) absl::StrAppendFormat(&s, "%3u %s\n", e.major, e.name);
    }
  }
  return s;
}

Text Vmstat(const ProcFs& fs) {
  MemoryFigures m = MeasureMemory(fs);
  constexpr uint64_t kPage = arch::kPageSize;
  return absl::StrFormat("nr_free_pages %u\nnr_anon_pages %u\nnr_mapped %u\n",
                         (m.total - std::min(m.total, m.used)) / kPage,
                         (m.used - std::min(m.used, m.file)) / kPage, m.file / kPage);
}

Text Cgroups(const ProcFs& fs) { return fs.kernel().cgroups().SummaryText(); }

}  // namespace

MemoryFigures MeasureMemory(const ProcFs& fs) {
  kernel::Kernel& kernel = fs.kernel();
  MemoryFigures m;
  m.total = kernel.options().memory_bytes > 0 ? static_cast<uint64_t>(kernel.options().memory_bytes)
                                              : fs.options().host.memory_bytes;
  for (int tgid : kernel.ThreadGroupIds()) {
    RefPtr<kernel::Task> task = kernel.FindTask(tgid);
    RefPtr<mm::MemoryManager> mm = task ? task->mm_ref() : nullptr;
    if (!mm) continue;
    mm::ResidentUsage usage = mm->Resident();
    m.used += usage.resident * arch::kPageSize;
    m.file += usage.file * arch::kPageSize;
  }
  return m;
}

void AddSystemFiles(ProcFs& fs, pseudofs::StaticDir& root) {
  auto add = [&](const char* name, Text (*generate)(const ProcFs&)) {
    // The inode lives inside the file system: the reference holds.
    root.Add(name,
             MakeText(fs, 0444, [&fs, generate](const vfs::OpContext&) { return generate(fs); }));
  };
  add("cpuinfo", Cpuinfo);
  add("meminfo", Meminfo);
  add("stat", Stat);
  add("uptime", Uptime);
  add("loadavg", Loadavg);
  add("filesystems", Filesystems);
  add("devices", Devices);
  add("vmstat", Vmstat);
  add("cgroups", Cgroups);
  root.Add("version",
           MakeConstant(fs, absl::StrFormat("Linux version %s %s\n", kernel::Kernel::kRelease,
                                            kernel::Kernel::kVersion)));
  root.Add("cmdline", MakeConstant(fs, "BOOT_IMAGE=/vmlinuz-4.4.0-gvisor quiet\n"));
  root.Add("swaps", MakeConstant(fs, "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"));
  root.Add("partitions", MakeConstant(fs, ""));
  root.Add("diskstats", MakeConstant(fs, ""));
  root.Add("modules", MakeConstant(fs, ""));
  root.Add("mounts", pseudofs::MakeLink(fs, "self/mounts"));
}

}  // namespace msentry::procfs
