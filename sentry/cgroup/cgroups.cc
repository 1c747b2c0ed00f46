#include "sentry/cgroup/cgroups.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace msentry::cgroup {
namespace {

// Groups of the whole sandbox: each costs the sentry about a KiB.
constexpr int kMostGroups = 16384;
// A fork walks up, and so does the end of the last reference.
constexpr int kMostLevels = 128;
constexpr int kMostHierarchies = 64;
constexpr size_t kMostReleases = 1024;

}  // namespace

std::string Hierarchy::Label() const {
  std::string label = NamesOf(kinds);
  if (!name.empty()) absl::StrAppend(&label, label.empty() ? "" : ",", "name=", name);
  return label;
}

bool Group::IsInside(const Group& ancestor) const {
  for (const Group* g = this; g != nullptr; g = g->parent.get()) {
    if (g == &ancestor) return true;
  }
  return false;
}

Cgroups::Cgroups(const Options& options) : options_(options) {
  MutexLock lock(mutex_);
  sandbox_set_ = MakeRef<GroupSet>();
  const std::string_view name = std::string_view(options_.path).substr(1);
  for (int i = 0; i < kKinds; ++i) {
    RefPtr<Hierarchy> hierarchy = NewHierarchy(static_cast<KindMask>(1 << i), "");
    SetLimits(*hierarchy->root);
    if (name.empty()) {
      sandbox_set_->groups.push_back(hierarchy->root);
      continue;
    }
    RefPtr<Group> group = NewGroup(*hierarchy, hierarchy->root.get(), name);
    group->cpuset = hierarchy->root->cpuset;
    SetLimits(*group);
    sandbox_set_->groups.push_back(std::move(group));
  }
}

Cgroups::~Cgroups() {
  MutexLock lock(mutex_);
  // Parents own their children and children their parents.
  std::vector<RefPtr<Group>> all;
  for (const auto& h : hierarchies_) all.push_back(std::move(h->root));
  for (size_t i = 0; i < all.size(); ++i) {
    for (auto& [name, child] : all[i]->children) all.push_back(std::move(child));
    all[i]->children.clear();
  }
}

void Cgroups::SetLimits(Group& group) {
  if (group.hierarchy->Has(Kind::kPids)) group.pids.max = options_.max_pids;
  if (group.hierarchy->Has(Kind::kMemory)) group.memory.limit = options_.memory_bytes;
  if (group.hierarchy->Has(Kind::kCpu)) group.cpu.quota_us = options_.cpu_quota_us;
}

RefPtr<Hierarchy> Cgroups::NewHierarchy(KindMask kinds, std::string name) {
  auto hierarchy = MakeRef<Hierarchy>(next_hierarchy_++, kinds, std::move(name));
  hierarchy->root = NewGroup(*hierarchy, nullptr, "");
  hierarchy->root->cpuset.cpus = CpuSet::First(options_.cpus);
  hierarchy->root->cpuset.mems = CpuSet::First(1);
  for (int i = 0; i < kKinds; ++i) {
    if (kinds >> i & 1) of_kind_[i] = hierarchy.get();
  }
  hierarchies_.push_back(hierarchy);
  return hierarchy;
}

RefPtr<Group> Cgroups::NewGroup(Hierarchy& hierarchy, Group* parent, std::string_view name) {
  auto group = MakeRef<Group>(&hierarchy, parent, std::string(name), next_group_++);
  if (parent != nullptr) {
    parent->children.emplace(name, group);
    group->notify_on_release = parent->notify_on_release;
    group->clone_children = parent->clone_children;
    group->devices = parent->devices;
    group->job = parent->job;
    group->memory.swappiness = parent->memory.swappiness;
    group->memory.oom_kill_disabled = parent->memory.oom_kill_disabled;
    if (parent->clone_children) {
      group->cpuset.cpus = parent->cpuset.cpus;
      group->cpuset.mems = parent->cpuset.mems;
    }
  }
  ++hierarchy.groups;
  ++groups_;
  return group;
}

// ---- Tasks ----

void Cgroups::Enter(Membership* task, RefPtr<GroupSet> set) {
  for (const auto& group : set->groups) ++group->members;
  task->set_ = std::move(set);
}

void Cgroups::Admit(Membership* task) {
  MutexLock lock(mutex_);
  auto set = MakeRef<GroupSet>();
  for (const auto& group : sandbox_set_->groups) {
    if (group->hierarchy->alive && !group->removed) set->groups.push_back(group);
  }
  Enter(task, std::move(set));
  Group* pids = GroupOf(*task, Kind::kPids);
  for (Group* g = pids; g != nullptr; g = g->parent.get()) ++g->pids.current;
  task->counted_ = RefPtr<Group>(pids);
}

Result<> Cgroups::CheckPids(const Membership& parent, bool count) {
  Group* pids = GroupOf(parent, Kind::kPids);
  for (Group* g = pids; g != nullptr; g = g->parent.get()) {
    if (g->pids.current < g->pids.max) continue;
    if (count) ++g->pids.failures;
    return Errno::kEAGAIN;
  }
  return Ok();
}

Result<> Cgroups::CanFork(const Membership& parent) {
  MutexLock lock(mutex_);
  return CheckPids(parent, true);
}

Result<> Cgroups::Fork(const Membership& parent, Membership* child) {
  MutexLock lock(mutex_);
  TRY(CheckPids(parent, true));
  if (!parent.set_) return Errno::kEAGAIN;
  Group* pids = GroupOf(parent, Kind::kPids);
  for (Group* g = pids; g != nullptr; g = g->parent.get()) ++g->pids.current;
  child->counted_ = RefPtr<Group>(pids);
  Enter(child, parent.set_);
  return Ok();
}

void Cgroups::NoteEmpty(Group& group) {
  if (group.members != 0 || !group.children.empty() || group.removed) return;
  if (!group.notify_on_release || group.is_root()) return;
  const std::string& agent = group.hierarchy->release_agent;
  if (agent.empty() || releases_.size() >= kMostReleases) return;
  releases_.push_back({agent, PathOf(group)});
  has_releases_.store(true, std::memory_order_release);
}

void Cgroups::Leave(Group& group) {
  if (--group.members == 0) NoteEmpty(group);
}

void Cgroups::Discharge(Group& group, const CpuTime& used) {
  for (Group* g = &group; g != nullptr; g = g->parent.get()) g->cpuacct.departed += used;
}

void Cgroups::ChargeCpu(Membership* task, const CpuTime& used) {
  const int64_t more = used.total() - task->charged_;
  if (more <= 0) return;
  task->charged_ = used.total();
  for (Group* g = GroupOf(*task, Kind::kCpu); g != nullptr; g = g->parent.get()) {
    g->cpu.used_ns += more;
  }
}

std::vector<RefPtr<Group>> Cgroups::GroupsWith(Kind kind) {
  MutexLock lock(mutex_);
  std::vector<RefPtr<Group>> found;
  const Hierarchy* hierarchy = of_kind_[static_cast<int>(kind)];
  if (hierarchy == nullptr) return found;
  std::vector<Group*> all{hierarchy->root.get()};
  for (size_t i = 0; i < all.size(); ++i) {
    Group* group = all[i];
    for (const auto& [name, child] : group->children) all.push_back(child.get());
    const bool watched = kind == Kind::kCpu
                             ? group->cpu.quota_us >= 0
                             : group->memory.limit != kNoLimit || group->memory.under_oom ||
                                   !group->memory.listeners.empty();
    if (watched) found.emplace_back(group);
  }
  return found;
}

void Cgroups::Exit(Membership* task, const CpuTime& used) {
  RefPtr<GroupSet> set;  // dropped after the lock
  MutexLock lock(mutex_);
  if (!task->set_) return;
  ChargeCpu(task, used);
  if (Group* g = GroupOf(*task, Kind::kCpuacct)) Discharge(*g, used - task->base_);
  set.swap(task->set_);
  for (const auto& group : set->groups) Leave(*group);
}

void Cgroups::Reap(Membership* task) {
  RefPtr<GroupSet> set;
  RefPtr<Group> counted;
  MutexLock lock(mutex_);
  counted.swap(task->counted_);
  for (Group* g = counted.get(); g != nullptr; g = g->parent.get()) --g->pids.current;
  set.swap(task->set_);
  if (!set) return;
  for (const auto& group : set->groups) Leave(*group);
}

Group* Cgroups::GroupOf(const Membership& task, const Hierarchy& hierarchy) const {
  if (!task.set_ || !hierarchy.alive) return nullptr;
  for (const auto& group : task.set_->groups) {
    if (group->hierarchy.get() == &hierarchy) return group.get();
  }
  return hierarchy.root.get();
}

Group* Cgroups::GroupOf(const Membership& task, Kind kind) const {
  const Hierarchy* hierarchy = of_kind_[static_cast<int>(kind)];
  return hierarchy != nullptr ? GroupOf(task, *hierarchy) : nullptr;
}

Result<> Cgroups::CheckMove(const Group& to) {
  if (to.removed || !to.hierarchy->alive) return Errno::kENODEV;
  if (to.hierarchy->Has(Kind::kCpuset) && (to.cpuset.cpus.empty() || to.cpuset.mems.empty())) {
    return Errno::kENOSPC;
  }
  return Ok();
}

void Cgroups::Move(Membership* task, Group& to, const CpuTime& used) {
  Hierarchy& hierarchy = *to.hierarchy;
  Group* from = GroupOf(*task, hierarchy);
  if (from == nullptr || from == &to) return;
  ChargeCpu(task, used);
  auto set = MakeRef<GroupSet>();
  bool was_listed = false;
  for (const auto& group : task->set_->groups) {
    if (!group->hierarchy->alive) continue;
    was_listed |= group.get() == from;
    set->groups.push_back(group.get() == from ? RefPtr<Group>(&to) : group);
  }
  // Until now it counted for the root by default.
  if (!was_listed) set->groups.push_back(RefPtr<Group>(&to));
  ++to.members;
  if (hierarchy.Has(Kind::kPids)) {
    for (Group* g = from; g != nullptr; g = g->parent.get()) --g->pids.current;
    for (Group* g = &to; g != nullptr; g = g->parent.get()) ++g->pids.current;
    task->counted_ = RefPtr<Group>(&to);
  }
  if (hierarchy.Has(Kind::kCpuacct)) {
    Discharge(*from, used - task->base_);
    task->base_ = used;
  }
  task->set_ = std::move(set);
  if (was_listed) Leave(*from);
}

RefPtr<GroupSet> Cgroups::SetOf(const Membership& task) {
  MutexLock lock(mutex_);
  return task.set_;
}

Result<> Cgroups::CheckDevice(const Membership& task, char type, uint32_t major, uint32_t minor,
                              uint8_t access) {
  MutexLock lock(mutex_);
  const Group* group = GroupOf(task, Kind::kDevices);
  if (group == nullptr || group->devices.Allows(type, major, minor, access)) return Ok();
  return Errno::kEPERM;
}

CpuSet Cgroups::AllowedCpus(const Membership& task) {
  MutexLock lock(mutex_);
  const Group* group = GroupOf(task, Kind::kCpuset);
  return group != nullptr ? group->cpuset.cpus : CpuSet();
}

std::vector<Cgroups::Release> Cgroups::TakeReleases() {
  MutexLock lock(mutex_);
  has_releases_.store(false, std::memory_order_relaxed);
  return std::exchange(releases_, {});
}

// ---- Groups ----

Result<RefPtr<Group>> Cgroups::Make(Group& parent, std::string_view name) {
  MutexLock lock(mutex_);
  if (parent.removed) return Errno::kENODEV;
  if (parent.children.contains(name)) return Errno::kEEXIST;
  if (name.find('\n') != std::string_view::npos) return Errno::kEINVAL;
  int level = 1;
  for (const Group* g = &parent; g != nullptr; g = g->parent.get()) ++level;
  if (groups_ >= kMostGroups || level > kMostLevels) return Errno::kENOSPC;
  return NewGroup(*parent.hierarchy, &parent, name);
}

Result<> Cgroups::Remove(Group& group) {
  RefPtr<Group> keep;
  std::vector<MemoryState::Listener> listeners;
  {
    MutexLock lock(mutex_);
    if (group.removed) return Errno::kENODEV;
    if (group.is_root() || group.members != 0 || !group.children.empty()) return Errno::kEBUSY;
    group.removed = true;
    auto entry = group.parent->children.find(group.name);
    keep = std::move(entry->second);
    group.parent->children.erase(entry);
    --group.hierarchy->groups;
    --groups_;
    listeners.swap(group.memory.listeners);
    NoteEmpty(*group.parent);
  }
  // The end of a group is an event too.
  for (const auto& listener : listeners) listener.sink->Signal();
  return Ok();
}

Result<> Cgroups::Rename(Group& group, std::string_view name) {
  MutexLock lock(mutex_);
  if (group.removed || group.is_root()) return Errno::kENODEV;
  if (group.parent->children.contains(name)) return Errno::kEEXIST;
  auto node = group.parent->children.extract(group.name);
  node.key() = std::string(name);
  group.name = std::string(name);
  group.parent->children.insert(std::move(node));
  return Ok();
}

// ---- Hierarchies ----

Result<RefPtr<Hierarchy>> Cgroups::Mount(const MountSpec& spec) {
  MutexLock lock(mutex_);
  for (const auto& h : hierarchies_) {
    const bool named = !spec.name.empty();
    if (named && h->name != spec.name) continue;
    if ((spec.kinds != 0 || spec.none) && h->kinds != spec.kinds) {
      if (!named) continue;
      return Errno::kEBUSY;
    }
    ++h->mounts;
    return h;
  }
  if (spec.kinds == 0 && !spec.none) return Errno::kEINVAL;
  for (int i = 0; i < kKinds; ++i) {
    if ((spec.kinds >> i & 1) && of_kind_[i] != nullptr) {
      // A hierarchy that nobody uses gives its controllers up.
      const Hierarchy& in = *of_kind_[i];
      if (in.mounts != 0 || in.groups > 1) return Errno::kEBUSY;
    }
  }
  if (static_cast<int>(hierarchies_.size()) >= kMostHierarchies) return Errno::kENOSPC;
  std::vector<RefPtr<Hierarchy>> kept;
  for (RefPtr<Hierarchy>& h : hierarchies_) {
    if (!(h->kinds & spec.kinds)) {
      kept.push_back(std::move(h));
      continue;
    }
    for (int i = 0; i < kKinds; ++i) {
      if (of_kind_[i] == h.get()) of_kind_[i] = nullptr;
    }
    h->alive = false;
    h->root.Reset();
    --groups_;
  }
  hierarchies_ = std::move(kept);
  RefPtr<Hierarchy> made = NewHierarchy(spec.kinds, spec.name);
  made->root->clone_children = spec.clone_children;
  made->release_agent = spec.release_agent;
  SetLimits(*made->root);
  ++made->mounts;
  return made;
}

void Cgroups::Unmounted(Hierarchy& hierarchy) {
  RefPtr<Group> root;
  RefPtr<Hierarchy> keep;
  MutexLock lock(mutex_);
  if (--hierarchy.mounts > 0 || hierarchy.groups > 1 || !hierarchy.alive) return;
  // The controllers of the sandbox's limits stay attached until another mount takes them.
  if (hierarchy.kinds != 0) return;
  auto at = std::find_if(hierarchies_.begin(), hierarchies_.end(),
                         [&](const RefPtr<Hierarchy>& h) { return h.get() == &hierarchy; });
  if (at == hierarchies_.end()) return;
  keep = std::move(*at);
  hierarchies_.erase(at);
  hierarchy.alive = false;
  root.swap(hierarchy.root);
  --groups_;
}

std::vector<RefPtr<Hierarchy>> Cgroups::Hierarchies() {
  MutexLock lock(mutex_);
  return hierarchies_;
}

RefPtr<Hierarchy> Cgroups::HierarchyOf(Kind kind) {
  MutexLock lock(mutex_);
  return RefPtr<Hierarchy>(of_kind_[static_cast<int>(kind)]);
}

RefPtr<Group> Cgroups::SandboxGroup(Hierarchy& hierarchy) {
  MutexLock lock(mutex_);
  for (const auto& group : sandbox_set_->groups) {
    if (group->hierarchy.get() == &hierarchy && !group->removed) return group;
  }
  return hierarchy.root;
}

// ---- Texts ----

std::string Cgroups::PathOf(const Group& group, const Group* root) {
  std::string path;
  const Group* top = root;
  while (top != nullptr && !group.IsInside(*top)) {
    absl::StrAppend(&path, "/..");
    top = top->parent.get();
  }
  std::string below;
  for (const Group* g = &group; g != top && !g->is_root(); g = g->parent.get()) {
    below = absl::StrCat("/", g->name, below);
  }
  path += below;
  return path.empty() ? "/" : path;
}

namespace {
const Group* RootIn(const GroupSet* roots, const Hierarchy& hierarchy) {
  if (roots == nullptr) return nullptr;
  for (const auto& group : roots->groups) {
    if (group->hierarchy.get() == &hierarchy) return group.get();
  }
  return nullptr;
}
}  // namespace

std::string Cgroups::TaskText(const Membership& task, const GroupSet* roots) {
  MutexLock lock(mutex_);
  std::string text;
  for (auto it = hierarchies_.rbegin(); it != hierarchies_.rend(); ++it) {
    const Hierarchy& h = **it;
    const Group* group = GroupOf(task, h);
    if (group == nullptr) group = h.root.get();  // it has exited
    absl::StrAppend(&text, h.id, ":", h.Label(), ":", PathOf(*group, RootIn(roots, h)), "\n");
  }
  return text;
}

std::string Cgroups::PathOfTask(const Membership& task, Kind kind, const GroupSet* roots) {
  MutexLock lock(mutex_);
  const Group* group = GroupOf(task, kind);
  if (group == nullptr) return "/";
  return PathOf(*group, RootIn(roots, *group->hierarchy));
}

std::string Cgroups::SummaryText() {
  MutexLock lock(mutex_);
  std::string text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
  for (int i = 0; i < kKinds; ++i) {
    const Hierarchy* h = of_kind_[i];
    absl::StrAppend(&text, NameOf(static_cast<Kind>(i)), "\t", h != nullptr ? h->id : 0, "\t",
                    h != nullptr ? h->groups : 1, "\t1\n");
  }
  return text;
}

}  // namespace msentry::cgroup
