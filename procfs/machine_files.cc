// What the processors are and what they did: cpuinfo, stat, uptime, loadavg, interrupts, softirqs.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "procfs/system_files.h"
#include "procfs/units.h"

namespace msentry::procfs {

namespace {

using Text = Result<std::string>;

int Cpus(const ProcFs& fs) { return std::max(1, fs.kernel().cpus()); }

struct CpuTimes {
  int64_t user = 0, system = 0, idle = 0;  // clock ticks over all CPUs
};

// What all tasks, living and dead, have used.
CpuTimes MeasureCpu(kernel::Kernel& kernel) {
  const kernel::Usage used = kernel.TotalUsage();
  const int64_t capacity = kernel.uptime_ns() * std::max(1, kernel.cpus());
  return {ClockTicks(used.user_ns), ClockTicks(used.system_ns),
          ClockTicks(std::max<int64_t>(0, capacity - used.user_ns - used.system_ns))};
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
  const int cpus = Cpus(fs);
  std::string s;
  for (int i = 0; i < cpus; ++i) {
    absl::StrAppendFormat(&s,
                          "processor\t: %d\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: %d\n"
                          "model name\t: %s\nstepping\t: unknown\ncpu MHz\t\t: %s\n",
                          i, h.vendor, h.family, h.model, h.model_name, h.mhz);
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

Text Stat(const ProcFs& fs) {
  kernel::Kernel& k = fs.kernel();
  const CpuTimes t = MeasureCpu(k);
  const int cpus = Cpus(fs);
  std::string s = absl::StrFormat("cpu  %d 0 %d %d 0 0 0 0 0 0\n", t.user, t.system, t.idle);
  for (int i = 0; i < cpus; ++i) {
    // Which host CPU ran what is not recorded: an equal share each, the rest to the first ones.
    const auto share = [&](int64_t all) { return all / cpus + (i < all % cpus ? 1 : 0); };
    absl::StrAppendFormat(&s, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, share(t.user), share(t.system),
                          share(t.idle));
  }
  absl::StrAppendFormat(&s, "intr 0\nctxt %u\nbtime %d\nprocesses %u\n",
                        k.context_switches.load(std::memory_order_relaxed), k.boot_realtime_s(),
                        k.forks.load(std::memory_order_relaxed));
  absl::StrAppendFormat(&s, "procs_running %d\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
                        std::max(1, k.running_tasks()));
  return s;
}

Text Uptime(const ProcFs& fs) {
  const int64_t up = ClockTicks(fs.kernel().uptime_ns());
  const int64_t idle = MeasureCpu(fs.kernel()).idle;
  return absl::StrFormat("%d.%02d %d.%02d\n", up / 100, up % 100, idle / 100, idle % 100);
}

Text Loadavg(const ProcFs& fs) {
  kernel::Kernel& k = fs.kernel();
  const kernel::Kernel::LoadAverage load = k.load_average();
  constexpr uint64_t kOne = 1 << 11;  // FIXED_1
  const auto number = [](uint64_t v) {
    v += kOne / 200;  // rounds
    return absl::StrFormat("%u.%02u", v / kOne, v % kOne * 100 / kOne);
  };
  return absl::StrFormat("%s %s %s %d/%d %d\n", number(load.one), number(load.five),
                         number(load.fifteen), std::max(1, k.running_tasks()), CountTasks(k),
                         LastPid(k));
}

// No device interrupts anybody here; what Linux lists on any machine has happened no time.
Text Interrupts(const ProcFs& fs) {
  static constexpr struct {
    const char *name, *what;
  } kRows[] = {
      {"NMI", "Non-maskable interrupts"},
      {"LOC", "Local timer interrupts"},
      {"SPU", "Spurious interrupts"},
      {"PMI", "Performance monitoring interrupts"},
      {"IWI", "IRQ work interrupts"},
      {"RTR", "APIC ICR read retries"},
      {"RES", "Rescheduling interrupts"},
      {"CAL", "Function call interrupts"},
      {"TLB", "TLB shootdowns"},
      {"TRM", "Thermal event interrupts"},
      {"THR", "Threshold APIC interrupts"},
      {"DFR", "Deferred Error APIC interrupts"},
      {"MCE", "Machine check exceptions"},
      {"MCP", "Machine check polls"},
  };
  const int cpus = Cpus(fs);
  std::string s = "           ";
  for (int i = 0; i < cpus; ++i) absl::StrAppendFormat(&s, "CPU%-8d", i);
  s += '\n';
  for (const auto& row : kRows) {
    absl::StrAppendFormat(&s, "%s: ", row.name);
    for (int i = 0; i < cpus; ++i) absl::StrAppendFormat(&s, "%10u ", 0);
    absl::StrAppendFormat(&s, "  %s\n", row.what);
  }
  absl::StrAppendFormat(&s, "ERR: %10u\nMIS: %10u\n", 0, 0);
  return s;
}

Text Softirqs(const ProcFs& fs) {
  static constexpr const char* kNames[] = {"HI",           "TIMER",   "NET_TX", "NET_RX",  "BLOCK",
                                           "BLOCK_IOPOLL", "TASKLET", "SCHED",  "HRTIMER", "RCU"};
  const int cpus = Cpus(fs);
  std::string s = "                    ";
  for (int i = 0; i < cpus; ++i) absl::StrAppendFormat(&s, "CPU%-8d", i);
  s += '\n';
  for (const char* name : kNames) {
    absl::StrAppendFormat(&s, "%12s:", name);
    for (int i = 0; i < cpus; ++i) absl::StrAppendFormat(&s, " %10u", 0);
    s += '\n';
  }
  return s;
}

}  // namespace

void AddMachineFiles(ProcFs& fs, pseudofs::StaticDir& root) {
  AddFile(fs, root, "cpuinfo", Cpuinfo);
  AddFile(fs, root, "stat", Stat);
  AddFile(fs, root, "uptime", Uptime);
  AddFile(fs, root, "loadavg", Loadavg);
  AddFile(fs, root, "interrupts", Interrupts);
  AddFile(fs, root, "softirqs", Softirqs);
}

}  // namespace msentry::procfs
