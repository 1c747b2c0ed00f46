// devices/system/cpu (Documentation/ABI/testing/sysfs-devices-system-cpu). One socket; every CPU a
// core of its own, as /proc/cpuinfo tells. The caches are what CPUID says, which programs see too.
#include <cpuid.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fsimpl/sysfs/tree.h"

namespace msentry::sysfs {

namespace {

using pseudofs::StaticDir;

struct Cache {
  const char* type;
  uint32_t level, line, partitions, ways, sets, threads;
  uint32_t size_kb() const { return line * partitions * ways * sets / 1024; }
};

// Leaf 4 ("deterministic cache parameters"), or AMD's leaf of the same form.
std::vector<Cache> ReadCaches() {
  constexpr uint32_t kIntelLeaf = 4, kAmdLeaf = 0x8000001d, kMost = 8;
  static constexpr const char* kTypes[] = {"", "Data", "Instruction", "Unified"};
  for (uint32_t leaf : {kIntelLeaf, kAmdLeaf}) {
    std::vector<Cache> caches;
    for (uint32_t i = 0; i < kMost; ++i) {
      uint32_t a = 0, b = 0, c = 0, d = 0;
      if (!__get_cpuid_count(leaf, i, &a, &b, &c, &d)) break;
      const uint32_t type = a & 0x1f;
      if (type == 0 || type >= std::size(kTypes)) break;
      caches.push_back({kTypes[type], a >> 5 & 7, (b & 0xfff) + 1, (b >> 12 & 0x3ff) + 1,
                        (b >> 22) + 1, c + 1, (a >> 14 & 0xfff) + 1});
    }
    if (!caches.empty()) return caches;
  }
  return {};
}

// The first two levels are each core's own, what lies behind is everybody's.
void AddCaches(SysFs& fs, StaticDir& cpu, int number, const std::vector<Cache>& caches) {
  const int cpus = fs.options().cpus;
  StaticDir& dir = cpu.Dir("cache");
  for (size_t i = 0; i < caches.size(); ++i) {
    const Cache& c = caches[i];
    StaticDir& index = dir.Dir(absl::StrCat("index", i));
    constexpr uint32_t kOwnLevels = 2;
    const bool own = c.level <= kOwnLevels;
    AddText(fs, index, "coherency_line_size", absl::StrCat(c.line));
    AddText(fs, index, "level", absl::StrCat(c.level));
    AddText(fs, index, "number_of_sets", absl::StrCat(c.sets));
    AddText(fs, index, "physical_line_partition", absl::StrCat(c.partitions));
    AddText(fs, index, "shared_cpu_list", own ? absl::StrCat(number) : CpuRange(cpus));
    AddText(fs, index, "shared_cpu_map", own ? OneCpuMask(number, cpus) : CpuMask(cpus));
    AddText(fs, index, "size", absl::StrCat(c.size_kb(), "K"));
    AddText(fs, index, "type", c.type);
    AddText(fs, index, "ways_of_associativity", absl::StrCat(c.ways));
  }
}

void AddTopology(SysFs& fs, StaticDir& cpu, int number) {
  const int cpus = fs.options().cpus;
  StaticDir& topology = cpu.Dir("topology");
  AddText(fs, topology, "core_id", absl::StrCat(number));
  AddText(fs, topology, "core_siblings", CpuMask(cpus));
  AddText(fs, topology, "core_siblings_list", CpuRange(cpus));
  AddText(fs, topology, "physical_package_id", "0");
  AddText(fs, topology, "thread_siblings", OneCpuMask(number, cpus));
  AddText(fs, topology, "thread_siblings_list", absl::StrCat(number));
}

}  // namespace

void AddCpus(SysFs& fs, StaticDir& root) {
  const int cpus = fs.options().cpus;
  StaticDir& dir = root.Dir("devices").Dir("system").Dir("cpu");
  StaticDir& bus = root.Dir("bus").Dir("cpu");
  bus.Dir("drivers");
  const std::vector<Cache> caches = ReadCaches();
  for (int i = 0; i < cpus; ++i) {
    const std::string name = absl::StrCat("cpu", i);
    StaticDir& cpu = dir.Dir(name);
    AddTopology(fs, cpu, i);
    AddCaches(fs, cpu, i, caches);
    AddLink(fs, cpu, "node0", "../../node/node0");
    AddLink(fs, cpu, "subsystem", "../../../../bus/cpu");
    if (i > 0) AddText(fs, cpu, "online", "1", 0644);
    cpu.Add("uevent", pseudofs::MakeConstant(fs, "", 0644));
    AddLink(fs, bus.Dir("devices"), name, absl::StrCat("../../../devices/system/cpu/", name));
  }
  AddText(fs, dir, "isolated", "");
  AddText(fs, dir, "kernel_max", absl::StrCat(cpus - 1));
  AddText(fs, dir, "offline", "");
  AddText(fs, dir, "online", CpuRange(cpus));
  AddText(fs, dir, "possible", CpuRange(cpus));
  AddText(fs, dir, "present", CpuRange(cpus));
}

}  // namespace msentry::sysfs
