// Cgroups: all hierarchies of a sandbox, and which task is where (cgroups(7), version 1).
//
//   Cgroups cgroups({.path = "/ta-1", .cpus = 2, .max_pids = 32768});
//   cgroups.Admit(&init->cgroup);                        // the first process
//   TRY(cgroups.Fork(parent->cgroup, &child->cgroup));   // EAGAIN: pids.max
//   cgroups.Exit(&task->cgroup, usage);                  // it ran its last
//   cgroups.Reap(&task->cgroup);                         // its id is free
//
// At boot there is one hierarchy a controller, each with the sandbox's own group below its root.
// The sandbox's limits are set in both: the guest sees (and may change) its own group, but the root
// stays as it is. Knows no tasks: a task embeds a Membership and the kernel calls in.
//
// Lock: mutex(), for moments, below the kernel's tasks lock. Nothing is called out under it.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/cgroup/group.h"

namespace msentry::cgroup {

// The groups of a task, one a hierarchy; shared by tasks that were forked from each other.
struct GroupSet : RefCounted<GroupSet> {
  std::vector<RefPtr<Group>> groups;
};

// A task's place. Guarded by Cgroups::mutex().
class Membership {
 public:
  Membership() = default;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

 private:
  friend class Cgroups;
  RefPtr<GroupSet> set_;   // null: not yet, or no longer, anywhere
  RefPtr<Group> counted_;  // in pids, until its id is free
  CpuTime base_;           // CPU time used before it came to its cpuacct group
  int64_t charged_ = 0;    // of its CPU time, to its cpu group
};

class Cgroups {
 public:
  struct Options {
    std::string path = "/msentry";  // of the sandbox's group: one component
    int cpus = 1;
    int64_t max_pids = kNoLimit;
    int64_t memory_bytes = kNoLimit;
    int64_t cpu_quota_us = -1;  // of a period of 100 ms
  };
  explicit Cgroups(const Options& options);
  ~Cgroups();

  Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }
  const Options& options() const { return options_; }

  // ---- Tasks ----
  void Admit(Membership* task);
  // The child comes to where its parent is. EAGAIN: a pids.max is reached.
  Result<> Fork(const Membership& parent, Membership* child);
  // Would Fork() succeed?
  Result<> CanFork(const Membership& parent);
  // The task runs no more; `used` is its CPU time since it began. Once.
  void Exit(Membership* task, const CpuTime& used);
  // After Exit(), or instead of a first one when it never ran.
  void Reap(Membership* task);
  // May tasks be moved there? ENODEV when it was removed, ENOSPC into a cpuset without CPUs.
  Result<> CheckMove(const Group& to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Move(Membership* task, Group& to, const CpuTime& used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The task's group in `hierarchy`, or for `kind`; null when it has exited, or the controller is
  // in no hierarchy.
  Group* GroupOf(const Membership& task, const Hierarchy& hierarchy) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Group* GroupOf(const Membership& task, Kind kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // CPU time since the task came to its cpuacct group.
  CpuTime SinceJoined(const Membership& task, const CpuTime& used) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return used - task.base_;
  }

  // What the task used since it was charged last goes to its cpu group and those above.
  void ChargeCpu(Membership* task, const CpuTime& used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Groups ----
  // Those with limits to be watched: a quota of kCpu; for kMemory, a limit or somebody who wants to
  // hear of thresholds. Outer ones first.
  std::vector<RefPtr<Group>> GroupsWith(Kind kind);
  // ENODEV: `parent` was removed. EEXIST. ENOSPC: too many, or too deep. `clone_children` and
  // job.id and device rules are inherited.
  Result<RefPtr<Group>> Make(Group& parent, std::string_view name);
  // EBUSY: it has tasks or groups.
  Result<> Remove(Group& group);
  Result<> Rename(Group& group, std::string_view name);  // EEXIST

  // ---- Hierarchies ----
  // What mount(2) asks for: an existing hierarchy with exactly these controllers and name, or a new
  // one from controllers that are free. EBUSY: one is in another hierarchy.
  struct MountSpec {
    KindMask kinds = 0;
    bool none = false;  // no controller, expressly: the name alone
    std::string name;
    std::string release_agent;
    bool clone_children = false;
  };
  Result<RefPtr<Hierarchy>> Mount(const MountSpec& spec);
  // The last mount of `hierarchy` is gone; without groups but the root it goes too.
  void Unmounted(Hierarchy& hierarchy);
  std::vector<RefPtr<Hierarchy>> Hierarchies();  // by id, ascending
  RefPtr<Hierarchy> HierarchyOf(Kind kind);      // null: in none
  // The sandbox's own group there; the root when the hierarchy has none.
  RefPtr<Group> SandboxGroup(Hierarchy& hierarchy);

  // "/", "/a/b": as seen from `root`, "/.." parts where the group is not below it.
  std::string PathOf(const Group& group, const Group* root = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Texts of /proc/PID/cgroup and /proc/cgroups. `roots`: the reader's cgroup namespace, or null.
  std::string TaskText(const Membership& task, const GroupSet* roots = nullptr);
  std::string SummaryText();
  // Path of the task's group for `kind`, "/" when it is in none.
  std::string PathOfTask(const Membership& task, Kind kind, const GroupSet* roots = nullptr);
  RefPtr<GroupSet> SetOf(const Membership& task);

  // May the task use the device? `access` is a set of DeviceAccess. EPERM.
  Result<> CheckDevice(const Membership& task, char type, uint32_t major, uint32_t minor,
                       uint8_t access);
  // The CPUs the task's cpuset leaves it; empty: all.
  CpuSet AllowedCpus(const Membership& task);

  // Groups that became empty and want their release agent run: the kernel does, soon after.
  struct Release {
    std::string agent, path;
  };
  bool has_releases() const { return has_releases_.load(std::memory_order_acquire); }
  std::vector<Release> TakeReleases();
  // A group lost its last task or group: to be called by whoever sees that.
  void NoteEmpty(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  RefPtr<Hierarchy> NewHierarchy(KindMask kinds, std::string name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RefPtr<Group> NewGroup(Hierarchy& hierarchy, Group* parent, std::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetLimits(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Result<> CheckPids(const Membership& parent, bool count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Enter(Membership* task, RefPtr<GroupSet> set) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Group& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discharge(Group& group, const CpuTime& used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  std::vector<RefPtr<Hierarchy>> hierarchies_ ABSL_GUARDED_BY(mutex_);  // by id
  Hierarchy* of_kind_[kKinds] ABSL_GUARDED_BY(mutex_) = {};
  RefPtr<GroupSet> sandbox_set_ ABSL_GUARDED_BY(mutex_);
  int next_hierarchy_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t next_group_ ABSL_GUARDED_BY(mutex_) = 1;
  int groups_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Release> releases_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> has_releases_{false};
};

}  // namespace msentry::cgroup
