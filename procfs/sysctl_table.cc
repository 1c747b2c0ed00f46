// The knobs themselves, with the values and bounds of Linux 4.4.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "procfs/sysctl.h"
#include "procfs/system_files.h"
#include "sentry/kernel/fd_table.h"
#include "sentry/mm/memory_manager.h"
#include "vfs/vfs.h"

namespace msentry::procfs {

namespace {

using kernel::Kernel;
using Values = std::span<const int64_t>;
using enum KnobKind;

// 8-4-4-4-12 hexadecimal digits, version 4 (RFC 9562).
std::string RandomUuid(Kernel&) {
  const uint64_t a = mm::RandomBits(), b = mm::RandomBits();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", a >> 32, a >> 16 & 0xffff, a & 0xfff,
                         (b >> 48 & 0x3fff) | 0x8000, b & 0xffffffffffff);
}

std::string FileNr(Kernel& kernel) {
  uint64_t open = 0;
  for (int tgid : kernel.ThreadGroupIds()) {
    RefPtr<kernel::Task> task = kernel.FindTask(tgid);
    RefPtr<kernel::FdTable> table = task ? task->fd_table_ref() : nullptr;
    if (table) open += table->OpenFds().size();
  }
  return absl::StrFormat("%u\t0\t9223372036854775807", open);
}

std::string Printk(Kernel& kernel) {
  return absl::StrCat(kernel.dmesg().console_level.load(std::memory_order_relaxed), "\t4\t1\t7");
}
Result<> SetPrintk(Kernel& kernel, Values values) {
  kernel.dmesg().console_level.store(static_cast<int>(values[0]), std::memory_order_relaxed);
  return Ok();
}
Result<> SetDmesgRestrict(Kernel& kernel, Values values) {
  kernel.dmesg().restricted.store(values[0] != 0, std::memory_order_relaxed);
  return Ok();
}

// Of the reader's or writer's namespace.
RefPtr<kernel::UtsNamespace> UtsOf(Kernel& kernel) {
  kernel::NamespacesRef namespaces;
  if (kernel::Task* task = kernel::Task::Current()) namespaces = task->namespaces();
  return namespaces ? namespaces->uts : kernel.initial_namespaces()->uts;
}

Result<> SetHostname(Kernel& kernel, std::string_view text) {
  UtsOf(kernel)->set_hostname(std::string(text));
  return Ok();
}
Result<> SetDomainname(Kernel& kernel, std::string_view text) {
  UtsOf(kernel)->set_domainname(std::string(text));
  return Ok();
}

std::string LastPid(Kernel& kernel) {
  MutexLock lock(kernel.tasks_mutex());
  return absl::StrCat(kernel.pids().last());
}
Result<> SetLastPid(Kernel& kernel, Values values) {
  MutexLock lock(kernel.tasks_mutex());
  kernel.pids().set_last(static_cast<int>(values[0]));
  return Ok();
}
Result<> SetPidMax(Kernel& kernel, Values values) {
  MutexLock lock(kernel.tasks_mutex());
  kernel.pids().set_max(static_cast<int>(values[0]));
  return Ok();
}

// A knob that is one word somewhere.
template <auto& kWord>
Result<> SetWord(Kernel&, Values values) {
  kWord.store(static_cast<typename std::remove_reference_t<decltype(kWord)>::value_type>(values[0]),
              std::memory_order_relaxed);
  return Ok();
}
template <auto kField>
Result<> SetInKernel(Kernel& kernel, Values values) {
  (kernel.*kField).store(static_cast<int>(values[0]), std::memory_order_relaxed);
  return Ok();
}
template <auto kField>
Result<> SetInotify(Kernel& kernel, Values values) {
  (kernel.vfs().inotify_limits().*kField)
      .store(static_cast<int>(values[0]), std::memory_order_relaxed);
  return Ok();
}
constexpr int64_t kHuge = INT64_MAX;

// A switch, and a number that is not negative.
constexpr Knob Switch(const char* path, const char* initial,
                      Result<> (*apply)(Kernel&, Values) = nullptr) {
  return {path, initial, kInts, 0, 1, 0, nullptr, apply};
}
constexpr Knob Count(const char* path, const char* initial, int64_t min = 0, int64_t max = INT_MAX,
                     Result<> (*apply)(Kernel&, Values) = nullptr) {
  return {path, initial, kInts, min, max, 0, nullptr, apply};
}
constexpr Knob Any(const char* path, const char* initial) { return {path, initial, kInts}; }
constexpr Knob Long(const char* path, const char* initial, int64_t max = kHuge) {
  return {path, initial, kLongs, 0, max};
}
constexpr Knob Text(const char* path, const char* initial, int64_t longest) {
  return {path, initial, kText, 0, longest};
}
constexpr Knob Fixed(const char* path, const char* initial) { return {path, initial}; }
constexpr Knob Told(const char* path, std::string (*read)(Kernel&)) {
  return {path, nullptr, kConstant, 0, 0, 0, read};
}
// Only written: to make something happen, which here has happened already.
constexpr Knob Trigger(const char* path) { return {path, "0", kInts, INT_MIN, INT_MAX, 0200}; }

constexpr Knob kKnobs[] = {
    // kernel
    Fixed("kernel/bootloader_type", "114"),
    Fixed("kernel/bootloader_version", "2"),
    Fixed("kernel/cap_last_cap", "37"),
    Text("kernel/core_pattern", "core", 127),
    Any("kernel/core_pipe_limit", "0"),
    Any("kernel/core_uses_pid", "0"),
    Any("kernel/ctrl-alt-del", "0"),
    Switch("kernel/dmesg_restrict", "0", SetDmesgRestrict),
    {"kernel/domainname", nullptr, kText, 0, 64, 0,
     [](Kernel& k) { return UtsOf(k)->domainname(); }, nullptr, SetDomainname},
    Text("kernel/hotplug", "", 255),
    {"kernel/hostname", nullptr, kText, 0, 64, 0, [](Kernel& k) { return UtsOf(k)->hostname(); },
     nullptr, SetHostname},
    Switch("kernel/kexec_load_disabled", "1"),
    Count("kernel/keys/gc_delay", "300"),
    Count("kernel/keys/maxbytes", "20000"),
    Count("kernel/keys/maxkeys", "200"),
    Count("kernel/keys/persistent_keyring_expiry", "259200"),
    Count("kernel/keys/root_maxbytes", "25000000"),
    Count("kernel/keys/root_maxkeys", "1000000"),
    Count("kernel/kptr_restrict", "0", 0, 2),
    Text("kernel/modprobe", "/sbin/modprobe", 255),
    Count("kernel/modules_disabled", "1", 1, 1),
    Count("kernel/msg_next_id", "-1", -1),
    Fixed("kernel/ngroups_max", "65536"),
    {"kernel/ns_last_pid", nullptr, kInts, 0, kernel::PidTable::kPidLimit, 0666, LastPid,
     SetLastPid},
    Switch("kernel/numa_balancing", "0"),
    Fixed("kernel/osrelease", Kernel::kRelease),
    Fixed("kernel/ostype", "Linux"),
    Count("kernel/overflowgid", "65534", 0, 65535),
    Count("kernel/overflowuid", "65534", 0, 65535),
    Any("kernel/panic", "0"),
    Switch("kernel/panic_on_oops", "0"),
    Switch("kernel/panic_on_unrecovered_nmi", "0"),
    Switch("kernel/panic_on_warn", "0"),
    Count("kernel/perf_cpu_time_max_percent", "25", 0, 100),
    Count("kernel/perf_event_max_sample_rate", "100000"),
    Count("kernel/perf_event_mlock_kb", "516"),
    Any("kernel/perf_event_paranoid", "3"),
    Count("kernel/pid_max", "32768", 301, kernel::PidTable::kPidLimit, SetPidMax),
    Switch("kernel/print-fatal-signals", "0"),
    {"kernel/printk", nullptr, kInts, 0, INT_MAX, 0, Printk, SetPrintk},
    Count("kernel/printk_delay", "0", 0, 10000),
    Count("kernel/printk_ratelimit", "5"),
    Count("kernel/printk_ratelimit_burst", "10"),
    Fixed("kernel/pty/nr", "0"),
    Count("kernel/pty/max", "4096", 0, 1048576),
    Count("kernel/pty/reserve", "1024", 0, 1048576),
    Told("kernel/random/boot_id", [](Kernel& k) { return k.boot_id(); }),
    Fixed("kernel/random/entropy_avail", "4096"),
    Fixed("kernel/random/poolsize", "4096"),
    Count("kernel/random/read_wakeup_threshold", "64", 8, 4096),
    Count("kernel/random/urandom_min_reseed_secs", "60"),
    Told("kernel/random/uuid", RandomUuid),
    Count("kernel/random/write_wakeup_threshold", "896", 0, 4096),
    Count("kernel/randomize_va_space", "2", INT_MIN, INT_MAX,
          SetInKernel<&Kernel::randomize_va_space>),
    Any("kernel/real-root-dev", "0"),
    Count("kernel/sched_child_runs_first", "0"),
    Count("kernel/sched_cfs_bandwidth_slice_us", "5000", 1),
    Count("kernel/sched_latency_ns", "12000000", 100000, 1000000000),
    Count("kernel/sched_migration_cost_ns", "500000"),
    Count("kernel/sched_min_granularity_ns", "1500000", 100000, 1000000000),
    Count("kernel/sched_nr_migrate", "32"),
    Count("kernel/sched_rr_timeslice_ms", "25", INT_MIN),
    Count("kernel/sched_rt_period_us", "1000000", 1),
    Count("kernel/sched_rt_runtime_us", "950000", -1),
    Count("kernel/sched_tunable_scaling", "1", 0, 2),
    Count("kernel/sched_wakeup_granularity_ns", "2000000", 0, 1000000000),
    Count("kernel/sem_next_id", "-1", -1),
    Switch("kernel/shm_rmid_forced", "0"),
    Count("kernel/shm_next_id", "-1", -1),
    Count("kernel/sysctl_writes_strict", "0", -1, 1),
    Any("kernel/sysrq", "0"),
    Count("kernel/tainted", "0"),
    Count("kernel/threads-max", "32768", 20),
    Switch("kernel/timer_migration", "1"),
    Switch("kernel/unprivileged_bpf_disabled", "1"),
    Fixed("kernel/version", Kernel::kVersion),
    Switch("kernel/watchdog", "0"),
    Count("kernel/watchdog_thresh", "10", 0, 60),
    Count("kernel/yama/ptrace_scope", "0", 0, 0),  // no other is enforced

    // vm
    Count("vm/admin_reserve_kbytes", "8192"),
    Switch("vm/block_dump", "0"),
    Trigger("vm/compact_memory"),
    Switch("vm/compact_unevictable_allowed", "1"),
    Long("vm/dirty_background_bytes", "0"),
    Count("vm/dirty_background_ratio", "10", 0, 100),
    Long("vm/dirty_bytes", "0"),
    Count("vm/dirty_expire_centisecs", "3000"),
    Count("vm/dirty_ratio", "20", 0, 100),
    Count("vm/dirty_writeback_centisecs", "500"),
    Count("vm/dirtytime_expire_seconds", "43200"),
    Count("vm/drop_caches", "0", 1, 4),
    Count("vm/extfrag_threshold", "500", 0, 1000),
    Count("vm/hugepages_treat_as_movable", "0"),
    Count("vm/hugetlb_shm_group", "0"),
    Count("vm/laptop_mode", "0"),
    Count("vm/legacy_va_layout", "0"),
    {"vm/lowmem_reserve_ratio", "256\t256\t32\t1", kInts, 0, INT_MAX},
    Count("vm/max_map_count", "65530", 0, INT_MAX, SetWord<mm::max_map_count>),
    Count("vm/memory_failure_early_kill", "0", 0, 1),
    Count("vm/memory_failure_recovery", "1", 0, 1),
    Count("vm/min_free_kbytes", "67584"),
    Long("vm/mmap_min_addr", "65536"),
    Count("vm/nr_hugepages", "0", 0, 0),
    Count("vm/nr_overcommit_hugepages", "0", 0, 0),
    Fixed("vm/nr_pdflush_threads", "0"),
    Switch("vm/oom_dump_tasks", "1"),
    Count("vm/oom_kill_allocating_task", "0", INT_MIN),
    Count("vm/overcommit_kbytes", "0"),
    Count("vm/overcommit_memory", "0", 0, 2),
    Count("vm/overcommit_ratio", "50"),
    Count("vm/page-cluster", "3"),
    Count("vm/panic_on_oom", "0", 0, 2),
    Count("vm/percpu_pagelist_fraction", "0"),
    Count("vm/stat_interval", "1"),
    Count("vm/swappiness", "60", 0, 100),
    Count("vm/user_reserve_kbytes", "131072"),
    Count("vm/vfs_cache_pressure", "100"),
    Count("vm/zone_reclaim_mode", "0"),

    // fs
    Long("fs/aio-max-nr", "65536"),
    Fixed("fs/aio-nr", "0"),
    Fixed("fs/dentry-state", "0\t0\t45\t0\t0\t0"),
    Count("fs/dir-notify-enable", "1", INT_MIN),
    Long("fs/epoll/max_user_watches", "5000000"),
    Long("fs/file-max", "9223372036854775807"),
    Told("fs/file-nr", FileNr),
    Fixed("fs/inode-nr", "0\t0"),
    Fixed("fs/inode-state", "0\t0\t0\t0\t0\t0\t0"),
    Count("fs/inotify/max_queued_events", "16384", 0, INT_MAX,
          SetInotify<&vfs::InotifyLimits::max_queued_events>),
    Count("fs/inotify/max_user_instances", "128", 0, INT_MAX,
          SetInotify<&vfs::InotifyLimits::max_user_instances>),
    Count("fs/inotify/max_user_watches", "8192", 0, INT_MAX,
          SetInotify<&vfs::InotifyLimits::max_user_watches>),
    Count("fs/lease-break-time", "45", INT_MIN),
    Count("fs/leases-enable", "1", INT_MIN),
    Count("fs/mqueue/msg_default", "10", 1, 65536),
    Count("fs/mqueue/msg_max", "10", 1, 65536),
    Count("fs/mqueue/msgsize_default", "8192", 128, 16777216),
    Count("fs/mqueue/msgsize_max", "8192", 128, 16777216),
    Count("fs/mqueue/queues_max", "256"),
    Count("fs/nr_open", "1048576", 64, 1073741816, SetWord<kernel::Limits::nr_open>),
    Fixed("fs/overflowgid", "65534"),
    Fixed("fs/overflowuid", "65534"),
    Count("fs/pipe-max-size", "1048576", 4096, 1 << 30),
    Long("fs/pipe-user-pages-hard", "0"),
    Long("fs/pipe-user-pages-soft", "16384"),
    Switch("fs/protected_hardlinks", "1"),
    Switch("fs/protected_symlinks", "1"),
    Count("fs/suid_dumpable", "0", 0, 2, SetInKernel<&Kernel::suid_dumpable>),

    // debug: of x86
    Switch("debug/exception-trace", "1", SetInKernel<&Kernel::exception_trace>),
    Switch("debug/kprobes-optimization", "1"),

    // net
    Fixed("net/core/default_qdisc", "pfifo_fast"),
    Count("net/core/dev_weight", "64", INT_MIN),
    Count("net/core/message_burst", "10", INT_MIN),
    Count("net/core/message_cost", "5", INT_MIN),
    Count("net/core/netdev_budget", "300", INT_MIN),
    Count("net/core/netdev_max_backlog", "1000", INT_MIN),
    Count("net/core/netdev_tstamp_prequeue", "1", INT_MIN),
    Count("net/core/optmem_max", "20480", INT_MIN),
    Count("net/core/rmem_default", "212992", 2304),
    Count("net/core/rmem_max", "212992", 2304),
    Count("net/core/somaxconn", "4096", 0, 65535),
    Count("net/core/wmem_default", "212992", 4608),
    Count("net/core/wmem_max", "212992", 4608),
    Switch("net/ipv4/conf/all/forwarding", "0"),
    Switch("net/ipv4/conf/all/rp_filter", "0"),
    Switch("net/ipv4/conf/default/forwarding", "0"),
    Switch("net/ipv4/conf/default/rp_filter", "0"),
    Switch("net/ipv4/conf/lo/forwarding", "0"),
    Switch("net/ipv4/conf/lo/rp_filter", "0"),
    Count("net/ipv4/icmp_echo_ignore_all", "0", INT_MIN),
    Count("net/ipv4/icmp_echo_ignore_broadcasts", "1", INT_MIN),
    Count("net/ipv4/icmp_ratelimit", "1000", 0),
    Count("net/ipv4/ip_default_ttl", "64", 1, 255),
    Count("net/ipv4/ip_dynaddr", "0", INT_MIN),
    Count("net/ipv4/ip_forward", "0", INT_MIN),
    {"net/ipv4/ip_local_port_range", "32768\t60999", kInts, 1, 65535},
    Text("net/ipv4/ip_local_reserved_ports", "", 1024),
    Count("net/ipv4/ip_no_pmtu_disc", "0", 0, 3),
    Count("net/ipv4/ip_nonlocal_bind", "0", INT_MIN),
    Count("net/ipv4/ipfrag_high_thresh", "4194304"),
    Count("net/ipv4/ipfrag_low_thresh", "3145728"),
    Count("net/ipv4/ipfrag_time", "30"),
    {"net/ipv4/ping_group_range", "1\t0", kLongs, 0, 4294967295},
    Count("net/ipv4/tcp_abort_on_overflow", "0", INT_MIN),
    Count("net/ipv4/tcp_adv_win_scale", "1", -31, 31),
    Text("net/ipv4/tcp_allowed_congestion_control", "reno cubic", 1024),
    Count("net/ipv4/tcp_autocorking", "1", 0, 1),
    Fixed("net/ipv4/tcp_available_congestion_control", "reno cubic"),
    Count("net/ipv4/tcp_base_mss", "1024", INT_MIN),
    Text("net/ipv4/tcp_congestion_control", "cubic", 16),
    Count("net/ipv4/tcp_dsack", "1", INT_MIN),
    Count("net/ipv4/tcp_early_retrans", "3", 0, 4),
    Count("net/ipv4/tcp_ecn", "2", INT_MIN),
    Count("net/ipv4/tcp_fack", "1", INT_MIN),
    Count("net/ipv4/tcp_fastopen", "1", INT_MIN),
    {"net/ipv4/tcp_fastopen_key", "00000000-00000000-00000000-00000000", kText, 0, 35, 0600},
    Count("net/ipv4/tcp_fin_timeout", "60"),
    Count("net/ipv4/tcp_invalid_ratelimit", "500"),
    Count("net/ipv4/tcp_keepalive_intvl", "75"),
    Count("net/ipv4/tcp_keepalive_probes", "9", INT_MIN),
    Count("net/ipv4/tcp_keepalive_time", "7200"),
    Count("net/ipv4/tcp_max_orphans", "65536", INT_MIN),
    Count("net/ipv4/tcp_max_syn_backlog", "512", INT_MIN),
    Count("net/ipv4/tcp_max_tw_buckets", "65536", INT_MIN),
    {"net/ipv4/tcp_mem", "190839\t254453\t381678", kLongs, 0, kHuge},
    Count("net/ipv4/tcp_mtu_probing", "0", INT_MIN),
    Count("net/ipv4/tcp_no_metrics_save", "0", INT_MIN),
    Count("net/ipv4/tcp_probe_interval", "600", INT_MIN),
    Count("net/ipv4/tcp_probe_threshold", "8", INT_MIN),
    Count("net/ipv4/tcp_recovery", "1", INT_MIN),
    Count("net/ipv4/tcp_retries1", "3", 0, 255),
    Count("net/ipv4/tcp_retries2", "15", INT_MIN),
    Count("net/ipv4/tcp_rfc1337", "0", INT_MIN),
    {"net/ipv4/tcp_rmem", "4096\t87380\t6291456", kInts, 1, INT_MAX},
    Count("net/ipv4/tcp_sack", "1", INT_MIN),
    Count("net/ipv4/tcp_slow_start_after_idle", "1", INT_MIN),
    Count("net/ipv4/tcp_syn_retries", "6", 1, 127),
    Count("net/ipv4/tcp_synack_retries", "5", INT_MIN),
    Count("net/ipv4/tcp_syncookies", "1", INT_MIN),
    Count("net/ipv4/tcp_timestamps", "1", INT_MIN),
    Count("net/ipv4/tcp_tw_reuse", "0", INT_MIN),
    Count("net/ipv4/tcp_window_scaling", "1", INT_MIN),
    {"net/ipv4/tcp_wmem", "4096\t16384\t4194304", kInts, 1, INT_MAX},
    {"net/ipv4/udp_mem", "381678\t508905\t763356", kLongs, 0, kHuge},
    Count("net/ipv4/udp_rmem_min", "4096", 1),
    Count("net/ipv4/udp_wmem_min", "4096", 1),
    Count("net/ipv6/bindv6only", "0", INT_MIN),
    Count("net/ipv6/conf/all/disable_ipv6", "0", INT_MIN),
    Count("net/ipv6/conf/all/forwarding", "0", INT_MIN),
    Count("net/ipv6/conf/default/disable_ipv6", "0", INT_MIN),
    Count("net/ipv6/conf/default/forwarding", "0", INT_MIN),
    Count("net/ipv6/conf/lo/disable_ipv6", "0", INT_MIN),
    Count("net/ipv6/conf/lo/forwarding", "0", INT_MIN),
    Count("net/unix/max_dgram_qlen", "512", INT_MIN),
};

}  // namespace

std::span<const Knob> Knobs() { return kKnobs; }

}  // namespace msentry::procfs
