// devices/system/node (Documentation/ABI/stable/sysfs-devices-node): one, with all CPUs and all
// memory.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fsimpl/sysfs/tree.h"

namespace msentry::sysfs {

namespace {

std::string NodeMeminfo(const Memory& m) {
  std::string s;
  const auto line = [&](const char* name, uint64_t bytes) {
    absl::StrAppendFormat(&s, "Node 0 %-15s %8u kB\n", name, bytes / 1024);
  };
  const uint64_t files = m.cached - std::min(m.shared, m.cached);
  line("MemTotal:", m.total);
  line("MemFree:", m.free);
  line("MemUsed:", m.total - std::min(m.free, m.total));
  line("Active:", m.anonymous + m.shared + files);
  line("Inactive:", 0);
  line("Active(anon):", m.anonymous + m.shared);
  line("Inactive(anon):", 0);
  line("Active(file):", files);
  line("Inactive(file):", 0);
  line("Unevictable:", 0);
  line("Mlocked:", 0);
  line("Dirty:", 0);
  line("Writeback:", 0);
  line("FilePages:", m.cached);
  line("Mapped:", m.mapped);
  line("AnonPages:", m.anonymous);
  line("Shmem:", m.shared);
  line("KernelStack:", 0);
  line("PageTables:", 0);
  line("NFS_Unstable:", 0);
  line("Bounce:", 0);
  line("WritebackTmp:", 0);
  line("Slab:", 0);
  line("SReclaimable:", 0);
  line("SUnreclaim:", 0);
  line("AnonHugePages:", 0);
  s += "Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\n"
       "Node 0 HugePages_Surp:      0\n";
  return s;
}

}  // namespace

void AddNodes(SysFs& fs, pseudofs::StaticDir& root) {
  const int cpus = fs.options().cpus;
  pseudofs::StaticDir& dir = root.Dir("devices").Dir("system").Dir("node");
  for (const char* name : {"has_cpu", "has_normal_memory", "online", "possible"}) {
    AddText(fs, dir, name, "0");
  }
  pseudofs::StaticDir& node = dir.Dir("node0");
  AddText(fs, node, "cpulist", CpuRange(cpus));
  AddText(fs, node, "cpumap", CpuMask(cpus));
  AddText(fs, node, "distance", "10");
  // The inode lives inside the file system: the reference holds.
  node.Add("meminfo", pseudofs::MakeText(fs, 0444, [&fs](const vfs::OpContext&) {
             return Result<std::string>(NodeMeminfo(fs.options().memory()));
           }));
  AddText(fs, node, "numastat",
          "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0");
  for (int i = 0; i < cpus; ++i) {
    AddLink(fs, node, absl::StrCat("cpu", i), absl::StrCat("../../cpu/cpu", i));
  }
  AddLink(fs, node, "subsystem", "../../../../bus/node");
  pseudofs::StaticDir& bus = root.Dir("bus").Dir("node");
  bus.Dir("drivers");
  AddLink(fs, bus.Dir("devices"), "node0", "../../../devices/system/node/node0");
}

}  // namespace msentry::sysfs
