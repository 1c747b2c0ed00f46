// The kernel's side of cgroups: finds and moves tasks for the file system, measures what groups
// use, runs release agents.
//
// Locks: tasks → Cgroups::mutex(). Any fiber.
#pragma once

#include "absl/functional/function_ref.h"
#include "fsimpl/cgroup/cgroup_fs.h"
#include "sentry/cgroup/cgroups.h"

namespace msentry::kernel {

class Kernel;
class Task;

class CgroupControl final : public cgroupfs::TaskControl {
 public:
  explicit CgroupControl(Kernel& kernel) : kernel_(kernel) {}

  std::vector<int> Tasks(const vfs::OpContext& ctx, cgroup::Group& group, bool processes) override;
  Result<> Attach(const vfs::OpContext& ctx, cgroup::Group& group, int id, bool process) override;
  cgroup::CpuTime LiveCpu(cgroup::Group& group) override;
  Memory MeasureMemory(cgroup::Group& group) override;
  Result<RefPtr<vfs::FileDescription>> FileOf(const vfs::OpContext& ctx, int fd) override;
  void LimitsChanged(cgroup::Group& group, cgroup::Kind kind) override;
  void RunReleaseAgents() override;

  // Calls `visit` for every living task of the group (of those below as well with `deep`). tasks is
  // held.
  void ForEachMember(const cgroup::Group& group, bool deep, absl::FunctionRef<void(Task&)> visit);

 private:
  Kernel& kernel_;
};

}  // namespace msentry::kernel
