#include "fsimpl/sysfs/sysfs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fsimpl/sysfs/tree.h"
#include "sentry/arch/registers.h"

namespace msentry::sysfs {

namespace {

constexpr uint64_t kSysfsMagic = 0x62656572;

std::string Groups(int cpus, uint32_t (*bits)(int group, int argument), int argument) {
  std::string s;
  for (int group = (cpus - 1) / 32; group >= 0; --group) {
    const int width = s.empty() ? (std::min(32, cpus - group * 32) + 3) / 4 : 8;
    absl::StrAppendFormat(&s, "%s%0*x", s.empty() ? "" : ",", width, bits(group, argument));
  }
  return s;
}

}  // namespace

SysFs::SysFs(Options options)
    : PseudoFs("sysfs", kSysfsMagic, kReadOnly,
               {.size = arch::kPageSize, .seeks_end = true, .strict_open = true}),
      options_(std::move(options)) {}

void AddText(SysFs& fs, pseudofs::StaticDir& dir, const char* name, std::string text,
             uint32_t mode) {
  dir.Add(name, pseudofs::MakeConstant(fs, std::move(text) + "\n", mode));
}

void AddLink(SysFs& fs, pseudofs::StaticDir& dir, std::string name, std::string target) {
  dir.Add(std::move(name), pseudofs::MakeLink(fs, std::move(target)));
}

std::string CpuRange(int cpus) { return cpus == 1 ? "0" : absl::StrCat("0-", cpus - 1); }

std::string CpuMask(int cpus) {
  return Groups(
      cpus,
      [](int group, int all) {
        const int left = all - group * 32;
        return left >= 32 ? ~0u : (1u << left) - 1;
      },
      cpus);
}

std::string OneCpuMask(int cpu, int cpus) {
  return Groups(
      cpus, [](int group, int one) { return one / 32 == group ? 1u << one % 32 : 0u; }, cpu);
}

RefPtr<vfs::FileSystem> Create(Options options) {
  options.cpus = std::max(1, options.cpus);
  RefPtr<SysFs> fs = MakeRef<SysFs>(std::move(options));
  RefPtr<pseudofs::StaticDir> root = MakeRef<pseudofs::StaticDir>(*fs);
  AddCpus(*fs, *root);
  AddNodes(*fs, *root);
  AddDevices(*fs, *root);
  AddKernel(*fs, *root);
  fs->Finish(std::move(root));
  return fs;
}

}  // namespace msentry::sysfs
