#include "sentry/kernel/cgroup_control.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "vfs/file_description.h"

namespace msentry::kernel {
namespace {

cgroup::CpuTime TimeOf(Task& task) { return {task.UserNs(), task.SystemNs()}; }

// May `caller` move a task of `target`'s (cgroups(7))?
bool MayMove(const auth::Credentials& caller, const auth::Credentials& target) {
  return caller.euid == 0 || caller.euid == target.uid || caller.euid == target.suid;
}

// A task has its cpuset's CPUs from the moment it comes there, as in Linux; it may choose among
// them afterwards.
void TakeCpus(Task& task, const cgroup::CpuSet& cpus) {
  Task::Scheduling scheduling = task.scheduling();
  std::vector<uint64_t> words = cpus.words();
  words.resize(scheduling.affinity.size());
  scheduling.affinity = std::move(words);
  task.SetScheduling(std::move(scheduling));
}

}  // namespace

void CgroupControl::ForEachMember(const cgroup::Group& group, bool deep,
                                  absl::FunctionRef<void(Task&)> visit) {
  cgroup::Cgroups& cgroups = kernel_.cgroups();
  kernel_.ForEachLiveTask([&](Task& task) {
    {
      MutexLock lock(cgroups.mutex());
      const cgroup::Group* in = cgroups.GroupOf(task.cgroup, *group.hierarchy);
      if (in == nullptr || !(deep ? in->IsInside(group) : in == &group)) return;
    }
    visit(task);
  });
}

std::vector<int> CgroupControl::Tasks(const vfs::OpContext&, cgroup::Group& group, bool processes) {
  std::vector<int> ids;
  ForEachMember(group, false,
                [&](Task& task) { ids.push_back(processes ? task.tgid() : task.tid()); });
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<> CgroupControl::Attach(const vfs::OpContext& ctx, cgroup::Group& group, int id,
                               bool process) {
  auto* caller = static_cast<Task*>(ctx.task);
  if (id == 0 && caller == nullptr) return Errno::kESRCH;
  {
    MutexLock tasks(kernel_.tasks_mutex());
    Task* found = id == 0 ? caller : kernel_.pids().FindTask(id);
    if (found == nullptr) return Errno::kESRCH;
    if (!MayMove(ctx.creds, *found->creds())) return Errno::kEACCES;
    std::vector<std::pair<Task*, cgroup::CpuTime>> moving;
    for (Task* task : found->group().tasks) {
      if (process || task == found) moving.emplace_back(task, TimeOf(*task));
    }
    // A zombie has nothing to move.
    if (moving.empty()) return Errno::kESRCH;
    cgroup::CpuSet cpus;
    {
      MutexLock lock(kernel_.cgroups().mutex());
      TRY(kernel_.cgroups().CheckMove(group));
      for (const auto& [task, used] : moving) kernel_.cgroups().Move(&task->cgroup, group, used);
      if (group.hierarchy->Has(cgroup::Kind::kCpuset)) cpus = group.cpuset.cpus;
    }
    for (const auto& [task, used] : moving) {
      if (!cpus.empty()) TakeCpus(*task, cpus);
      // What held it back was the old group's; the new one's limits are looked at below.
      if (group.hierarchy->Has(cgroup::Kind::kCpu)) task->Release(Task::kHeldForCpu);
      if (group.hierarchy->Has(cgroup::Kind::kMemory)) task->Release(Task::kHeldForMemory);
    }
  }
  if (group.hierarchy->Has(cgroup::Kind::kCpu) || group.hierarchy->Has(cgroup::Kind::kMemory)) {
    kernel_.resources().LimitsChanged();
  }
  RunReleaseAgents();
  return Ok();
}

cgroup::CpuTime CgroupControl::LiveCpu(cgroup::Group& group) {
  cgroup::CpuTime sum;
  ForEachMember(group, true, [&](Task& task) {
    const cgroup::CpuTime used = TimeOf(task);
    MutexLock lock(kernel_.cgroups().mutex());
    sum += kernel_.cgroups().SinceJoined(task.cgroup, used);
  });
  return sum;
}

CgroupControl::Memory CgroupControl::MeasureMemory(cgroup::Group& group) {
  // An address space is its process leader's; threads of it elsewhere do not count.
  std::vector<RefPtr<mm::MemoryManager>> spaces;
  ForEachMember(group, true, [&](Task& task) {
    if (task.tid() != task.tgid()) return;
    if (RefPtr<mm::MemoryManager> memory = task.mm_ref()) spaces.push_back(std::move(memory));
  });
  Memory sum;
  for (const auto& memory : spaces) {
    const mm::ShareUsage usage = mm::host_proc::Share(memory->address_space().host_pid());
    sum.file += usage.file;
    sum.anonymous += usage.anonymous;
    sum.shared += usage.shared;
  }
  return sum;
}

Result<RefPtr<vfs::FileDescription>> CgroupControl::FileOf(const vfs::OpContext& ctx, int fd) {
  if (ctx.task == nullptr) return Errno::kEBADF;
  return static_cast<Task*>(ctx.task)->GetFile(fd);
}

void CgroupControl::LimitsChanged(cgroup::Group& group, cgroup::Kind kind) {
  if (kind != cgroup::Kind::kCpuset) return kernel_.resources().LimitsChanged();
  cgroup::CpuSet cpus;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    cpus = group.cpuset.cpus;
  }
  if (!cpus.empty()) ForEachMember(group, false, [&](Task& task) { TakeCpus(task, cpus); });
}

void CgroupControl::RunReleaseAgents() {
  if (!kernel_.cgroups().has_releases()) return;
  for (cgroup::Cgroups::Release& release : kernel_.cgroups().TakeReleases()) {
    Kernel::InitArgs args;
    args.path = release.agent;
    args.argv = {release.agent, release.path};
    args.envp = {"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin"};
    auto creds = MakeRef<auth::Credentials>();
    creds->permitted = creds->effective = auth::kAllCaps;
    args.creds = std::move(creds);
    args.orphan = true;
    kernel_.StartProcess(
        std::move(args), [](Result<int>) {}, [](int) {});
  }
}

}  // namespace msentry::kernel
