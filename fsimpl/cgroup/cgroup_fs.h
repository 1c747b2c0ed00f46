// The cgroup file system, version 1 (cgroups(7), Documentation/cgroup-v1): groups as directories,
// controllers as files.
//
//   cgroupfs::Register(vfs, cgroups, control);              // mount(2) -t cgroup -o cpu,memory
//   auto fs = TRY(cgroupfs::Create(cgroups, control, {.kinds = ...}));
//   RefPtr<vfs::Dentry> own = TRY(cgroupfs::Find(ctx, *fs, group));  // to mount a subtree
//
// One file system a hierarchy, however often it is mounted. The directories are kept in step with
// the groups: only mkdir, rmdir and rename in the file system change either.
#pragma once

#include <vector>

#include "sentry/cgroup/cgroups.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/vfs.h"

namespace msentry::cgroupfs {

// What the files need of the kernel. No lock is held by the caller.
class TaskControl {
 public:
  virtual ~TaskControl() = default;
  // Thread ids of the group's tasks, or ids of their processes; ascending, as the reader sees them.
  virtual std::vector<int> Tasks(const vfs::OpContext& ctx, cgroup::Group& group,
                                 bool processes) = 0;
  // Moves the thread or process (0: the caller). ESRCH, EACCES, and what Cgroups::CheckMove says.
  virtual Result<> Attach(const vfs::OpContext& ctx, cgroup::Group& group, int id,
                          bool process) = 0;
  // CPU time that the living tasks of the group and of those below have used in it.
  virtual cgroup::CpuTime LiveCpu(cgroup::Group& group) = 0;
  // What the processes of the group and of those below hold now, in bytes.
  struct Memory {
    int64_t anonymous = 0, shared = 0, file = 0;
    int64_t usage() const { return anonymous + shared; }
  };
  virtual Memory MeasureMemory(cgroup::Group& group) = 0;
  // The caller's open file.
  virtual Result<RefPtr<vfs::FileDescription>> FileOf(const vfs::OpContext& ctx, int fd) = 0;
  // Limits of `kind` were changed in the group: they take effect from here on.
  virtual void LimitsChanged(cgroup::Group& group, cgroup::Kind kind) = 0;
  // A group may have become empty: Cgroups::TakeReleases() has what to run.
  virtual void RunReleaseAgents() = 0;
};

void Register(vfs::Vfs& vfs, cgroup::Cgroups& cgroups, TaskControl& control);

Result<RefPtr<vfs::FileSystem>> Create(cgroup::Cgroups& cgroups, TaskControl& control,
                                       const cgroup::Cgroups::MountSpec& spec);
// Where a group's directory is in a file system made by Create().
Result<RefPtr<vfs::Dentry>> Find(const vfs::OpContext& ctx, vfs::FileSystem& fs,
                                 cgroup::Group& group);

}  // namespace msentry::cgroupfs
