// The sandbox's memory as a machine's: meminfo, vmstat, zoneinfo, buddyinfo and their like. One
// node with one zone, no swap.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "procfs/system_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"

namespace msentry::procfs {

namespace {

using Text = Result<std::string>;
using Figures = kernel::Kernel::MemoryFigures;
constexpr uint64_t kPage = arch::kPageSize;

Text Meminfo(const ProcFs& fs) {
  const Figures m = fs.kernel().memory_figures();
  const uint64_t files = m.cached - std::min(m.shared, m.cached);
  const uint64_t anonymous = m.anonymous + m.shared;  // what could only be swapped out
  std::string s;
  const auto line = [&](const char* name, uint64_t bytes) {
    absl::StrAppendFormat(&s, "%-16s%8u kB\n", name, bytes / 1024);
  };
  line("MemTotal:", m.total);
  line("MemFree:", m.free);
  line("MemAvailable:", m.available);
  line("Buffers:", 0);
  line("Cached:", m.cached);
  line("SwapCached:", 0);
  line("Active:", anonymous + files);
  line("Inactive:", 0);
  line("Active(anon):", anonymous);
  line("Inactive(anon):", 0);
  line("Active(file):", files);
  line("Inactive(file):", 0);
  line("Unevictable:", m.locked);
  line("Mlocked:", m.locked);
  line("SwapTotal:", 0);
  line("SwapFree:", 0);
  line("Dirty:", 0);
  line("Writeback:", 0);
  line("AnonPages:", m.anonymous);
  line("Mapped:", m.mapped);
  line("Shmem:", m.shared);
  line("Slab:", 0);
  line("SReclaimable:", 0);
  line("SUnreclaim:", 0);
  line("KernelStack:", 0);
  line("PageTables:", 0);
  line("NFS_Unstable:", 0);
  line("Bounce:", 0);
  line("WritebackTmp:", 0);
  line("CommitLimit:", m.total / 2);
  line("Committed_AS:", m.committed);
  s += "VmallocTotal:   34359738367 kB\n";
  line("VmallocUsed:", 0);
  line("VmallocChunk:", 0);
  line("AnonHugePages:", 0);
  s += "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n"
       "HugePages_Surp:        0\nHugepagesize:       2048 kB\n";
  line("DirectMap4k:", m.total);
  return s;
}

struct Count {
  const char* name;
  uint64_t value;
};

// The zone's counts, in the order of enum zone_stat_item.
std::vector<Count> ZoneCounts(const Figures& m) {
  const uint64_t files = m.cached - std::min(m.shared, m.cached);
  return {
      {"nr_free_pages", m.free / kPage},
      {"nr_alloc_batch", 0},
      {"nr_inactive_anon", 0},
      {"nr_active_anon", (m.anonymous + m.shared) / kPage},
      {"nr_inactive_file", 0},
      {"nr_active_file", files / kPage},
      {"nr_unevictable", m.locked / kPage},
      {"nr_mlock", m.locked / kPage},
      {"nr_anon_pages", m.anonymous / kPage},
      {"nr_mapped", m.mapped / kPage},
      {"nr_file_pages", m.cached / kPage},
      {"nr_dirty", 0},
      {"nr_writeback", 0},
      {"nr_slab_reclaimable", 0},
      {"nr_slab_unreclaimable", 0},
      {"nr_page_table_pages", 0},
      {"nr_kernel_stack", 0},
      {"nr_unstable", 0},
      {"nr_bounce", 0},
      {"nr_vmscan_write", 0},
      {"nr_vmscan_immediate_reclaim", 0},
      {"nr_writeback_temp", 0},
      {"nr_isolated_anon", 0},
      {"nr_isolated_file", 0},
      {"nr_shmem", m.shared / kPage},
      {"nr_dirtied", 0},
      {"nr_written", 0},
      {"nr_pages_scanned", 0},
      {"numa_hit", 0},
      {"numa_miss", 0},
      {"numa_foreign", 0},
      {"numa_interleave", 0},
      {"numa_local", 0},
      {"numa_other", 0},
      {"workingset_refault", 0},
      {"workingset_activate", 0},
      {"workingset_nodereclaim", 0},
      {"nr_anon_transparent_hugepages", 0},
      {"nr_free_cma", 0},
  };
}

struct Events {
  uint64_t faults = 0, major_faults = 0, written_kb = 0;
};

// Of all processes, living and dead.
Events MeasureEvents(kernel::Kernel& kernel) {
  Events e;
  e.faults = kernel.dead_minor_faults.load(std::memory_order_relaxed);
  e.major_faults = kernel.dead_major_faults.load(std::memory_order_relaxed);
  e.written_kb = kernel.dead_storage_written.load(std::memory_order_relaxed) / 1024;
  for (int tgid : kernel.ThreadGroupIds()) {
    RefPtr<kernel::ThreadGroup> group = kernel.FindThreadGroup(tgid);
    if (!group || group->is_zombie.load(std::memory_order_relaxed)) continue;
    const kernel::Usage usage = group->GetUsage();
    e.faults += static_cast<uint64_t>(usage.minor_faults);
    e.major_faults += static_cast<uint64_t>(usage.major_faults);
    e.written_kb += static_cast<uint64_t>(usage.blocks_out) / 2;
  }
  e.faults += e.major_faults;
  return e;
}

Text Vmstat(const ProcFs& fs) {
  std::string s;
  const auto line = [&](const char* name, uint64_t value) {
    absl::StrAppendFormat(&s, "%s %u\n", name, value);
  };
  const Figures m = fs.kernel().memory_figures();
  for (const Count& c : ZoneCounts(m)) line(c.name, c.value);
  // vm.dirty_ratio and dirty_background_ratio of what is available.
  line("nr_dirty_threshold", m.available / kPage / 5);
  line("nr_dirty_background_threshold", m.available / kPage / 10);
  const Events e = MeasureEvents(fs.kernel());
  line("pgpgin", 0);
  line("pgpgout", e.written_kb);
  for (const char* name : {"pswpin", "pswpout", "pgalloc_dma", "pgalloc_dma32", "pgalloc_normal",
                           "pgalloc_movable", "pgfree", "pgactivate", "pgdeactivate"}) {
    line(name, 0);
  }
  line("pgfault", e.faults);
  line("pgmajfault", e.major_faults);
  for (const char* what :
       {"pgrefill", "pgsteal_kswapd", "pgsteal_direct", "pgscan_kswapd", "pgscan_direct"}) {
    for (const char* zone : {"dma", "dma32", "normal", "movable"}) {
      absl::StrAppendFormat(&s, "%s_%s 0\n", what, zone);
    }
  }
  for (const char* name : {"pgscan_direct_throttle",
                           "zone_reclaim_failed",
                           "pginodesteal",
                           "slabs_scanned",
                           "kswapd_inodesteal",
                           "kswapd_low_wmark_hit_quickly",
                           "kswapd_high_wmark_hit_quickly",
                           "pageoutrun",
                           "allocstall",
                           "pgrotated",
                           "drop_pagecache",
                           "drop_slab",
                           "numa_pte_updates",
                           "numa_huge_pte_updates",
                           "numa_hint_faults",
                           "numa_hint_faults_local",
                           "numa_pages_migrated",
                           "pgmigrate_success",
                           "pgmigrate_fail",
                           "compact_migrate_scanned",
                           "compact_free_scanned",
                           "compact_isolated",
                           "compact_stall",
                           "compact_fail",
                           "compact_success",
                           "htlb_buddy_alloc_success",
                           "htlb_buddy_alloc_fail",
                           "unevictable_pgs_culled",
                           "unevictable_pgs_scanned",
                           "unevictable_pgs_rescued",
                           "unevictable_pgs_mlocked",
                           "unevictable_pgs_munlocked",
                           "unevictable_pgs_cleared",
                           "unevictable_pgs_stranded",
                           "thp_fault_alloc",
                           "thp_fault_fallback",
                           "thp_collapse_alloc",
                           "thp_collapse_alloc_failed",
                           "thp_split_page",
                           "thp_split_page_failed",
                           "thp_zero_page_alloc",
                           "thp_zero_page_alloc_failed"}) {
    line(name, 0);
  }
  return s;
}

Text Zoneinfo(const ProcFs& fs) {
  const Figures m = fs.kernel().memory_figures();
  const uint64_t pages = m.total / kPage;
  // Watermarks as init_per_zone_wmark_min() works them out: 4 * sqrt(kilobytes), capped.
  uint64_t min = 128;
  while (min < 65536 && min * min < m.total / 1024 * 16) ++min;
  min = min * 1024 / kPage;
  std::string s = absl::StrFormat(
      "Node 0, zone   Normal\n  pages free     %u\n        min      %u\n        low      %u\n"
      "        high     %u\n        scanned  0\n        spanned  %u\n        present  %u\n"
      "        managed  %u\n",
      m.free / kPage, min, min + min / 4, min + min / 2, pages, pages, pages);
  for (const Count& c : ZoneCounts(m)) absl::StrAppendFormat(&s, "    %-12s %u\n", c.name, c.value);
  s += "        protection: (0, 0, 0, 0)\n  pagesets\n";
  for (int i = 0; i < std::max(1, fs.kernel().cpus()); ++i) {
    absl::StrAppendFormat(&s,
                          "    cpu: %d\n              count: 0\n              high:  0\n"
                          "              batch: 1\n  vm stats threshold: 0\n",
                          i);
  }
  s += "  all_unreclaimable: 0\n  start_pfn:         0\n  inactive_ratio:    1\n";
  return s;
}

// Free memory in the largest blocks there are.
Text Buddyinfo(const ProcFs& fs) {
  constexpr int kOrders = 11;
  uint64_t pages = fs.kernel().memory_figures().free / kPage;
  uint64_t blocks[kOrders];
  blocks[kOrders - 1] = pages >> (kOrders - 1);
  for (int order = 0; order < kOrders - 1; ++order) blocks[order] = pages >> order & 1;
  std::string s = "Node 0, zone   Normal ";
  for (uint64_t n : blocks) absl::StrAppendFormat(&s, "%6u ", n);
  return s + "\n";
}

}  // namespace

void AddMemoryFiles(ProcFs& fs, pseudofs::StaticDir& root) {
  AddFile(fs, root, "meminfo", Meminfo);
  AddFile(fs, root, "vmstat", Vmstat);
  AddFile(fs, root, "zoneinfo", Zoneinfo);
  AddFile(fs, root, "buddyinfo", Buddyinfo);
  root.Add("swaps", MakeConstant(fs, "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"));
  root.Add("slabinfo",
           MakeConstant(fs,
                        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> "
                        "<objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> "
                        "<sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
                        0400));
  root.Add("vmallocinfo", MakeConstant(fs, "", 0400));
}

}  // namespace msentry::procfs
