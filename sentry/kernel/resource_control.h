// Keeps groups to their CPU bandwidth and memory limits (docs/cgroups.md): guest code runs, and
// guest memory is, where the sentry does not see every step, so a fiber measures and acts.
//
// It sleeps while no group has a limit, and while no task runs. Between two looks it waits as long
// as the nearest limit allows: until the quota can be used up, or the memory be full.
//
// Any thread may call the public functions.
#pragma once

#include <atomic>
#include <map>
#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/cgroup/cgroups.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/sched/scheduler.h"

namespace msentry::kernel {

class Kernel;
class Task;
class ThreadGroup;

class ResourceControl {
 public:
  explicit ResourceControl(Kernel& kernel) : kernel_(kernel) {}

  // Limits changed, or one exists from the beginning.
  void LimitsChanged();
  // The first task runs after none did. Cheap unless it sleeps for that.
  void TaskRuns() {
    if (waits_for_task_.load(std::memory_order_seq_cst)) [[unlikely]]
      Wake();
  }

 private:
  void Run();  // the fiber
  void Wake();
  // What to do next; kNever: nothing until something changes.
  int64_t ControlCpu(int64_t now);
  int64_t ControlMemory(int64_t now);

  // Of a group with a quota, since it has it. The fiber's own.
  struct Bandwidth {
    RefPtr<cgroup::Group> group;
    int64_t period_ends = 0;
    int64_t paid = 0;  // of the group's used_ns: what periods so far have granted
    int64_t used_before = 0;
    int64_t throttled_since = 0;  // 0: not
    bool seen = false;
  };
  void ChargeCpu();
  int64_t ControlBandwidth(Bandwidth& b, int64_t now);
  void SetThrottled(Bandwidth& b, bool throttled, int64_t now);

  struct Space {
    RefPtr<ThreadGroup> group;
    RefPtr<cgroup::Group> in;  // memory's
    int host_pid = -1;
    RefPtr<mm::MemoryManager> memory;
    bool exiting = false;
    int64_t resident = 0;                          // everything, the most it can be
    int64_t private_bytes = -1, shared_bytes = 0;  // its share, once asked for
  };
  std::vector<Space> ListSpaces();
  int64_t CheckMemory(cgroup::Group& group, std::vector<Space>& spaces);
  void OutOfMemory(cgroup::Group& group, std::vector<Space>& spaces, int64_t usage);
  void Report(cgroup::Group& group, const std::vector<Space*>& candidates, const Space& victim,
              int64_t usage, int64_t score);
  void SetFrozen(cgroup::Group& group, bool frozen);

  Kernel& kernel_;
  std::atomic<bool> started_{false}, waits_for_task_{false};
  std::atomic<sched::Fiber*> fiber_{nullptr};
  std::atomic<bool> changed_{false};
  std::map<const cgroup::Group*, Bandwidth> bandwidths_;  // the fiber's
  int64_t next_memory_look_ = 0;                          // the fiber's
};

}  // namespace msentry::kernel
