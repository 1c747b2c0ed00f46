// cpuset (cpuset(7)): which CPUs a group's tasks may use. There is one memory node.
#include "absl/strings/str_cat.h"
#include "fsimpl/cgroup/directory.h"

namespace msentry::cgroupfs {
namespace {

using cgroup::CpuSet;
using Where = FileSpec::Where;
using Text = Result<std::string>;

constexpr int kMostNodes = 1024;

Text ReadCpus(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return t.group.cpuset.cpus.List() + "\n";
}
Text ReadMems(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return t.group.cpuset.mems.List() + "\n";
}

// `field` is cpus or mems.
Result<> SetList(const Target& t, CpuSet cgroup::CpusetState::*field, CpuSet wanted) {
  MutexLock lock(t.cgroups().mutex());
  cgroup::Group& group = t.group;
  if (group.is_root()) return Errno::kEACCES;
  if (wanted.empty() && group.members > 0) return Errno::kENOSPC;
  if (!wanted.IsSubsetOf(group.parent->cpuset.*field)) return Errno::kEACCES;
  for (const auto& [name, child] : group.children) {
    if (!(child->cpuset.*field).IsSubsetOf(wanted)) return Errno::kEBUSY;
  }
  for (const auto& [name, sibling] : group.parent->children) {
    if (sibling.get() == &group) continue;
    const bool exclusive = field == &cgroup::CpusetState::cpus
                               ? group.cpuset.cpu_exclusive || sibling->cpuset.cpu_exclusive
                               : group.cpuset.mem_exclusive || sibling->cpuset.mem_exclusive;
    if (exclusive && !((sibling->cpuset.*field) & wanted).empty()) return Errno::kEINVAL;
  }
  group.cpuset.*field = std::move(wanted);
  return Ok();
}

Result<> WriteCpus(const Target& t, std::string_view text) {
  CpuSet wanted = TRY(CpuSet::Parse(text, t.cgroups().options().cpus));
  TRY(SetList(t, &cgroup::CpusetState::cpus, std::move(wanted)));
  t.control().LimitsChanged(t.group, cgroup::Kind::kCpuset);
  return Ok();
}
Result<> WriteMems(const Target& t, std::string_view text) {
  CpuSet wanted = TRY(CpuSet::Parse(text, kMostNodes));
  if (!wanted.IsSubsetOf(CpuSet::First(1))) return Errno::kEINVAL;
  return SetList(t, &cgroup::CpusetState::mems, std::move(wanted));
}

template <bool cgroup::CpusetState::*flag>
Text ReadExclusive(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.cpuset.*flag ? 1 : 0, "\n");
}
// Exclusive below an exclusive group only, and without sharing.
template <bool cgroup::CpusetState::*flag, CpuSet cgroup::CpusetState::*field>
Result<> WriteExclusive(const Target& t, std::string_view text) {
  const bool on = TRY(ParseUnsigned(text)) != 0;
  MutexLock lock(t.cgroups().mutex());
  cgroup::Group& group = t.group;
  if (group.is_root()) return Errno::kEACCES;
  if (on && !group.parent->is_root() && !(group.parent->cpuset.*flag)) return Errno::kEACCES;
  if (!on) {
    for (const auto& [name, child] : group.children) {
      if (child->cpuset.*flag) return Errno::kEBUSY;
    }
  }
  for (const auto& [name, sibling] : group.parent->children) {
    if (!on || sibling.get() == &group) continue;
    if (!((sibling->cpuset.*field) & (group.cpuset.*field)).empty()) return Errno::kEINVAL;
  }
  group.cpuset.*flag = on;
  return Ok();
}

constexpr FileSpec kCpuset[] = {
    {"cpuset.cpu_exclusive", 0644, Where::kEverywhere,
     ReadExclusive<&cgroup::CpusetState::cpu_exclusive>,
     WriteExclusive<&cgroup::CpusetState::cpu_exclusive, &cgroup::CpusetState::cpus>},
    {"cpuset.cpus", 0644, Where::kEverywhere, ReadCpus, WriteCpus},
    {"cpuset.effective_cpus", 0444, Where::kEverywhere, ReadCpus},
    {"cpuset.effective_mems", 0444, Where::kEverywhere, ReadMems},
    {"cpuset.mem_exclusive", 0644, Where::kEverywhere,
     ReadExclusive<&cgroup::CpusetState::mem_exclusive>,
     WriteExclusive<&cgroup::CpusetState::mem_exclusive, &cgroup::CpusetState::mems>},
    {"cpuset.mems", 0644, Where::kEverywhere, ReadMems, WriteMems},
};

}  // namespace

std::span<const FileSpec> CpusetFiles() { return kCpuset; }

}  // namespace msentry::cgroupfs
