// Hierarchies and their groups: the data of cgroups(7), version 1.
//
// A hierarchy has one or several controllers (co-mounted), or none and a name; its groups form a
// tree. Each group has the state of every controller, of which the hierarchy's count.
//
// Locks: everything that is not const is guarded by Cgroups::mutex() (cgroups.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sentry/base/ref_ptr.h"
#include "sentry/cgroup/cpu_list.h"
#include "sentry/cgroup/device_rules.h"
#include "sentry/cgroup/kind.h"

namespace msentry::cgroup {

inline constexpr int64_t kNoLimit = INT64_MAX;

// Something that wants to hear of an event: cgroup.event_control's eventfd.
class EventSink : public RefCounted<EventSink> {
 public:
  virtual ~EventSink() = default;
  // No lock of ours is held; must not park.
  virtual void Signal() = 0;
};

struct CpuTime {
  int64_t user_ns = 0, system_ns = 0;
  int64_t total() const { return user_ns + system_ns; }
  CpuTime& operator+=(const CpuTime& o) {
    user_ns += o.user_ns, system_ns += o.system_ns;
    return *this;
  }
  CpuTime operator-(const CpuTime& o) const {
    return {user_ns - o.user_ns, system_ns - o.system_ns};
  }
};

struct CpuState {
  int64_t shares = 1024;
  int64_t quota_us = -1, period_us = 100'000;
  int64_t used_ns = 0;  // by tasks of this group and those below, as far as charged
  int64_t periods = 0, throttled_periods = 0, throttled_ns = 0;  // cpu.stat
};

struct CpuacctState {
  CpuTime departed;  // of tasks that ended or left, of this group and those below
  CpuTime reset;     // what a write of 0 to cpuacct.usage takes off
};

struct CpusetState {
  CpuSet cpus, mems;  // as configured; empty in a new group
  bool cpu_exclusive = false, mem_exclusive = false;
};

struct JobState {
  int64_t id = 0;
};

struct MemoryState {
  int64_t limit = kNoLimit, soft_limit = kNoLimit;
  int64_t usage = 0, max_usage = 0;  // as last measured
  int64_t failures = 0, oom_kills = 0;
  int64_t swappiness = 60, move_charge = 0;
  bool oom_kill_disabled = false;
  bool under_oom = false;
  struct Listener {
    enum class What : uint8_t { kUsage, kOom, kPressure } what = What::kUsage;
    int64_t threshold = 0;
    bool above = false;
    RefPtr<EventSink> sink;
  };
  std::vector<Listener> listeners;
};

struct PidsState {
  int64_t current = 0, max = kNoLimit;
  int64_t failures = 0;
};

class Group;

class Hierarchy : public RefCounted<Hierarchy> {
 public:
  Hierarchy(int number, KindMask kinds_in, std::string name_in)
      : id(number), kinds(kinds_in), name(std::move(name_in)) {}
  bool Has(Kind kind) const { return kinds & MaskOf(kind); }
  // "cpu,cpuacct", "name=x", "pids,name=x": as /proc/PID/cgroup shows it.
  std::string Label() const;

  const int id;
  const KindMask kinds;
  const std::string name;
  RefPtr<Group> root;  // cut by Cgroups when the hierarchy goes
  std::string release_agent;
  int groups = 0;  // the root included
  int mounts = 0;
  bool alive = true;
};

class Group : public RefCounted<Group> {
 public:
  Group(Hierarchy* owner, Group* parent_in, std::string name_in, uint64_t id_in)
      : hierarchy(owner), parent(parent_in), id(id_in), name(std::move(name_in)) {}
  bool is_root() const { return parent == nullptr; }
  // This group is `ancestor` or below it.
  bool IsInside(const Group& ancestor) const;

  const RefPtr<Hierarchy> hierarchy;
  const RefPtr<Group> parent;  // null: the root
  const uint64_t id;           // unique in the sandbox

  std::string name;  // rename(2) changes it
  std::map<std::string, RefPtr<Group>, std::less<>> children;
  int64_t members = 0;  // live tasks
  bool removed = false;
  bool notify_on_release = false, clone_children = false;

  CpuState cpu;
  CpuacctState cpuacct;
  CpusetState cpuset;
  DeviceRules devices;
  JobState job;
  MemoryState memory;
  PidsState pids;
};

}  // namespace msentry::cgroup
