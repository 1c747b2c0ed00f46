// kernel, fs, and the directories that are empty on a machine of ours: no blocks, no firmware
// tables, no modules.
#include "absl/strings/str_cat.h"
#include "fsimpl/sysfs/tree.h"

namespace msentry::sysfs {

namespace {

using pseudofs::StaticDir;

// Pages of guest memory are the host's, and huge where the host makes them so.
void AddMm(SysFs& fs, StaticDir& mm) {
  StaticDir& thp = mm.Dir("transparent_hugepage");
  AddText(fs, thp, "defrag", "always [madvise] never", 0644);
  AddText(fs, thp, "enabled", "always [madvise] never", 0644);
  AddText(fs, thp, "use_zero_page", "1", 0644);
  StaticDir& khugepaged = thp.Dir("khugepaged");
  static constexpr struct {
    const char *name, *text;
    uint32_t mode = 0644;
  } kKhugepaged[] = {
      {"alloc_sleep_millisecs", "60000"}, {"defrag", "1"},
      {"full_scans", "0", 0444},          {"max_ptes_none", "511"},
      {"pages_collapsed", "0", 0444},     {"pages_to_scan", "4096"},
      {"scan_sleep_millisecs", "10000"},
  };
  for (const auto& f : kKhugepaged) AddText(fs, khugepaged, f.name, f.text, f.mode);
  StaticDir& huge = mm.Dir("hugepages").Dir("hugepages-2048kB");
  for (const char* name : {"free_hugepages", "resv_hugepages", "surplus_hugepages"}) {
    AddText(fs, huge, name, "0");
  }
  for (const char* name : {"nr_hugepages", "nr_hugepages_mempolicy", "nr_overcommit_hugepages"}) {
    AddText(fs, huge, name, "0", 0644);
  }
  StaticDir& ksm = mm.Dir("ksm");
  for (const char* name :
       {"full_scans", "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile"}) {
    AddText(fs, ksm, name, "0");
  }
  AddText(fs, ksm, "merge_across_nodes", "1", 0644);
  AddText(fs, ksm, "pages_to_scan", "100", 0644);
  AddText(fs, ksm, "run", "0", 0644);
  AddText(fs, ksm, "sleep_millisecs", "20", 0644);
}

}  // namespace

void AddKernel(SysFs& fs, StaticDir& root) {
  StaticDir& kernel = root.Dir("kernel");
  AddMm(fs, kernel.Dir("mm"));
  AddText(fs, kernel, "fscaps", "1");
  AddText(fs, kernel, "kexec_crash_loaded", "0");
  AddText(fs, kernel, "kexec_crash_size", "0", 0644);
  AddText(fs, kernel, "kexec_loaded", "0");
  AddText(fs, kernel, "profiling", "0", 0644);
  AddText(fs, kernel, "rcu_expedited", "0", 0644);
  AddText(fs, kernel, "uevent_helper", "", 0644);
  AddText(fs, kernel, "uevent_seqnum", "0");
  // Where other file systems are mounted.
  for (const char* name : {"config", "debug", "security"}) kernel.Dir(name);
  root.Dir("fs").Dir("cgroup");
  root.Dir("fs").Dir("fuse").Dir("connections");
  for (const char* name : {"block", "firmware", "hypervisor", "module", "power"}) root.Dir(name);
}

}  // namespace msentry::sysfs
