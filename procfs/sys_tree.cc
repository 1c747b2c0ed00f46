// /proc/sys: the values that programs read. Writable are those that do something.
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_format.h"
#include "procfs/system_files.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/memory_manager.h"

namespace msentry::procfs {

namespace {

using pseudofs::MakeConstant;
using pseudofs::MakeText;
using pseudofs::StaticDir;
using Text = Result<std::string>;

struct Value {
  const char* path;  // below its directory
  const char* text;
};

constexpr Value kKernel[] = {
    {"ostype", "Linux"},
    {"cap_last_cap", "37"},
    {"ngroups_max", "65536"},
    {"overflowuid", "65534"},
    {"overflowgid", "65534"},
    {"core_pattern", "core"},
    {"core_uses_pid", "0"},
    {"panic", "0"},
    {"panic_on_oops", "0"},
    {"printk", "4\t4\t1\t7"},
    {"randomize_va_space", "2"},
    {"dmesg_restrict", "0"},
    {"kptr_restrict", "0"},
    {"tainted", "0"},
    {"sysrq", "0"},
    {"perf_event_paranoid", "3"},
    {"modules_disabled", "1"},
};

constexpr Value kVm[] = {
    {"max_map_count", "65530"}, {"mmap_min_addr", "65536"},
    {"overcommit_memory", "0"}, {"overcommit_ratio", "50"},
    {"overcommit_kbytes", "0"}, {"swappiness", "60"},
    {"nr_hugepages", "0"},      {"nr_overcommit_hugepages", "0"},
    {"page-cluster", "3"},      {"vfs_cache_pressure", "100"},
    {"dirty_ratio", "20"},      {"dirty_background_ratio", "10"},
    {"legacy_va_layout", "0"},  {"oom_kill_allocating_task", "0"},
    {"panic_on_oom", "0"},      {"zone_reclaim_mode", "0"},
};

constexpr Value kFs[] = {
    {"nr_open", "1048576"},
    {"file-max", "9223372036854775807"},
    {"pipe-max-size", "1048576"},
    {"pipe-user-pages-soft", "16384"},
    {"pipe-user-pages-hard", "0"},
    {"aio-max-nr", "65536"},
    {"aio-nr", "0"},
    {"lease-break-time", "45"},
    {"leases-enable", "1"},
    {"suid_dumpable", "0"},
    {"protected_hardlinks", "1"},
    {"protected_symlinks", "1"},
    {"protected_fifos", "1"},
    {"protected_regular", "1"},
    {"overflowuid", "65534"},
    {"overflowgid", "65534"},
    {"inotify/max_queued_events", "16384"},
    {"inotify/max_user_instances", "128"},
    {"inotify/max_user_watches", "65536"},
    {"epoll/max_user_watches", "5000000"},
    {"mqueue/msg_default", "10"},
    {"mqueue/msg_max", "10"},
    {"mqueue/msgsize_default", "8192"},
    {"mqueue/msgsize_max", "8192"},
    {"mqueue/queues_max", "256"},
};

constexpr Value kNet[] = {
    {"core/somaxconn", "4096"},
    {"core/rmem_default", "212992"},
    {"core/rmem_max", "212992"},
    {"core/wmem_default", "212992"},
    {"core/wmem_max", "212992"},
    {"unix/max_dgram_qlen", "512"},
    {"ipv4/ip_local_port_range", "32768\t60999"},
    {"ipv4/ip_forward", "0"},
};

void AddValues(ProcFs& fs, StaticDir& dir, std::span<const Value> values) {
  for (const Value& v : values) {
    std::string_view path = v.path;
    StaticDir* at = &dir;
    for (size_t slash; (slash = path.find('/')) != std::string_view::npos;) {
      at = &at->Dir(path.substr(0, slash));
      path.remove_prefix(slash + 1);
    }
    at->Add(std::string(path), MakeConstant(fs, absl::StrCat(v.text, "\n")));
  }
}

// 8-4-4-4-12 hexadecimal digits, version 4 (RFC 9562).
std::string RandomUuid() {
  uint64_t a = mm::RandomBits(), b = mm::RandomBits();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x\n", a >> 32, a >> 16 & 0xffff, a & 0xfff,
                         (b >> 48 & 0x3fff) | 0x8000, b & 0xffffffffffff);
}

// hostname and domainname: written text up to a newline, at most 64 bytes (uname(2)).
using SetName = void (kernel::Kernel::*)(std::string);
using GetName = std::string (kernel::Kernel::*)() const;
RefPtr<vfs::Inode> MakeName(ProcFs& fs, GetName get, SetName set) {
  kernel::Kernel& k = fs.kernel();
  return MakeText(
      fs, 0644, [&k, get](const vfs::OpContext&) -> Text { return (k.*get)() + "\n"; },
      [&k, set](const vfs::OpContext& ctx, std::string_view text) -> Result<> {
        if (!ctx.creds.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
        constexpr size_t kMaxName = 64;
        text = text.substr(0, text.find('\n')).substr(0, kMaxName);
        (k.*set)(std::string(text));
        return Ok();
      });
}

Text FileNr(kernel::Kernel& kernel) {
  uint64_t open = 0;
  for (int tgid : kernel.ThreadGroupIds()) {
    RefPtr<kernel::Task> task = kernel.FindTask(tgid);
    RefPtr<kernel::FdTable> table = task ? task->fd_table_ref() : nullptr;
    if (table) open += table->OpenFds().size();
  }
  return absl::StrFormat("%u\t0\t9223372036854775807\n", open);
}

}  // namespace

void AddSysTree(ProcFs& fs, StaticDir& root) {
  kernel::Kernel& kernel = fs.kernel();
  StaticDir& sys = root.Dir("sys");

  StaticDir& k = sys.Dir("kernel");
  AddValues(fs, k, kKernel);
  AddIpcLimits(fs, k);
  k.Add("osrelease", MakeConstant(fs, absl::StrCat(kernel::Kernel::kRelease, "\n")));
  k.Add("version", MakeConstant(fs, absl::StrCat(kernel::Kernel::kVersion, "\n")));
  k.Add("hostname", MakeName(fs, &kernel::Kernel::hostname, &kernel::Kernel::set_hostname));
  k.Add("domainname", MakeName(fs, &kernel::Kernel::domainname, &kernel::Kernel::set_domainname));
  k.Add("pid_max", MakeConstant(fs, absl::StrCat(kernel::PidTable::kPidMax, "\n")));
  k.Add("threads-max", MakeConstant(fs, absl::StrCat(kernel.options().max_pids, "\n")));
  k.Dir("yama").Add("ptrace_scope", MakeConstant(fs, "0\n"));
  StaticDir& random = k.Dir("random");
  random.Add("boot_id", MakeConstant(fs, RandomUuid()));
  random.Add("uuid",
             MakeText(fs, 0444, [](const vfs::OpContext&) -> Text { return RandomUuid(); }));
  random.Add("entropy_avail", MakeConstant(fs, "256\n"));
  random.Add("poolsize", MakeConstant(fs, "256\n"));
  random.Add("write_wakeup_threshold", MakeConstant(fs, "256\n"));
  random.Add("urandom_min_reseed_secs", MakeConstant(fs, "60\n"));

  AddValues(fs, sys.Dir("vm"), kVm);
  StaticDir& files = sys.Dir("fs");
  AddValues(fs, files, kFs);
  files.Add("file-nr",
            MakeText(fs, 0444, [&kernel](const vfs::OpContext&) { return FileNr(kernel); }));
  AddValues(fs, sys.Dir("net"), kNet);
}

}  // namespace msentry::procfs
