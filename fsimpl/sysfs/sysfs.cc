#include "fsimpl/sysfs/sysfs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fsimpl/pseudofs/pseudofs.h"

namespace msentry::sysfs {

namespace {

using pseudofs::MakeConstant;
using pseudofs::PseudoFs;
using pseudofs::StaticDir;

constexpr uint64_t kSysfsMagic = 0x62656572;

// "0" or "0-3".
std::string Range(int cpus) { return cpus == 1 ? "0\n" : absl::StrCat("0-", cpus - 1, "\n"); }

// All `cpus` lowest bits, in words of 32 bits.
std::string Mask(int cpus) {
  std::string s;
  for (int word = (cpus - 1) / 32; word >= 0; --word) {
    int bits = std::min(32, cpus - word * 32);
    uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
    absl::StrAppendFormat(&s, s.empty() ? "%x" : ",%08x", mask);
  }
  return s + "\n";
}

std::string OneMask(int cpu) {
  std::string s;
  for (int word = cpu / 32; word >= 0; --word) {
    uint32_t mask = word == cpu / 32 ? 1u << cpu % 32 : 0;
    absl::StrAppendFormat(&s, s.empty() ? "%x" : ",%08x", mask);
  }
  return s + "\n";
}

// One socket; every CPU a core of its own, as /proc/cpuinfo tells.
void AddTopology(PseudoFs& fs, StaticDir& cpu, int number, int cpus) {
  StaticDir& topology = cpu.Dir("topology");
  auto add = [&](const char* name, std::string text) {
    topology.Add(name, MakeConstant(fs, std::move(text)));
  };
  add("core_id", absl::StrCat(number, "\n"));
  add("physical_package_id", "0\n");
  add("die_id", "0\n");
  add("thread_siblings", OneMask(number));
  add("thread_siblings_list", absl::StrCat(number, "\n"));
  add("core_cpus", OneMask(number));
  add("core_cpus_list", absl::StrCat(number, "\n"));
  add("core_siblings", Mask(cpus));
  add("core_siblings_list", Range(cpus));
  add("package_cpus", Mask(cpus));
  add("package_cpus_list", Range(cpus));
}

void AddCpus(PseudoFs& fs, StaticDir& cpu, int cpus) {
  for (const char* name : {"online", "possible", "present"}) {
    cpu.Add(name, MakeConstant(fs, Range(cpus)));
  }
  cpu.Add("offline", MakeConstant(fs, "\n"));
  cpu.Add("isolated", MakeConstant(fs, "\n"));
  cpu.Add("kernel_max", MakeConstant(fs, absl::StrCat(cpus - 1, "\n")));
  for (int i = 0; i < cpus; ++i) AddTopology(fs, cpu.Dir(absl::StrCat("cpu", i)), i, cpus);
}

}  // namespace

RefPtr<vfs::FileSystem> Create(int cpus) {
  cpus = std::max(1, cpus);
  RefPtr<PseudoFs> fs = MakeRef<PseudoFs>("sysfs", kSysfsMagic, PseudoFs::kReadOnly);
  RefPtr<StaticDir> root = MakeRef<StaticDir>(*fs);
  for (const char* name : {"block", "bus", "class", "dev", "firmware", "module", "power"}) {
    root->Dir(name);
  }
  AddCpus(*fs, root->Dir("devices").Dir("system").Dir("cpu"), cpus);
  root->Dir("fs").Dir("cgroup");
  root->Dir("kernel");
  fs->Finish(std::move(root));
  return fs;
}

}  // namespace msentry::sysfs
