// Memory limits of groups: measuring, the OOM killer, events (Documentation/cgroup-v1/memory.txt).
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/resource_control.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/host_proc.h"

namespace msentry::kernel {
namespace {

constexpr int64_t kPage = 4096;
// How fast processes of one CPU can make memory theirs, bytes a second: more than this machine's
// page faults and clearing allow.
constexpr int64_t kFastest = int64_t{4} << 30;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kLeastWait = 2'000'000, kMostWait = 50'000'000;
// Looking may take this part of the time.
constexpr int64_t kShareOfTime = 20;
constexpr int kNeverKilled = -1000;

}  // namespace

std::vector<ResourceControl::Space> ResourceControl::ListSpaces() {
  std::vector<Space> spaces;
  // A thread group once, and an address space (vfork) once.
  std::set<const ThreadGroup*> groups;
  std::set<int> pids;
  kernel_.ForEachLiveTask([&](Task& task) {
    if (!groups.insert(&task.group()).second) return;
    RefPtr<mm::MemoryManager> memory = task.mm_ref();
    if (!memory || !pids.insert(memory->address_space().host_pid()).second) return;
    Space space{.group = task.group_ref(), .host_pid = memory->address_space().host_pid()};
    space.memory = std::move(memory);
    {
      MutexLock lock(space.group->signal_mutex());
      space.exiting = space.group->exiting;
    }
    MutexLock lock(kernel_.cgroups().mutex());
    space.in = RefPtr<cgroup::Group>(kernel_.cgroups().GroupOf(task.cgroup, cgroup::Kind::kMemory));
    spaces.push_back(std::move(space));
  });
  for (Space& s : spaces) {
    s.resident = static_cast<int64_t>(s.memory->Resident().resident) * kPage;
  }
  return spaces;
}

int64_t ResourceControl::ControlMemory(int64_t now) {
  std::vector<RefPtr<cgroup::Group>> limited = kernel_.cgroups().GroupsWith(cgroup::Kind::kMemory);
  if (limited.empty()) return sched::kNever;
  if (now < next_memory_look_ && !changed_.load()) return next_memory_look_;
  std::vector<Space> spaces = ListSpaces();
  int64_t room = INT64_MAX;
  // Inner groups first: their own limit is what they are killed for.
  for (auto group = limited.rbegin(); group != limited.rend(); ++group) {
    room = std::min(room, CheckMemory(**group, spaces));
  }
  const int64_t cost = sched::NowNs() - now;
  const int64_t fill = room / (kFastest / kSecond) / std::max(1, kernel_.cpus());
  const int64_t wait = std::clamp(fill, kLeastWait, kMostWait);
  next_memory_look_ = sched::NowNs() + std::max(wait, cost * kShareOfTime);
  return next_memory_look_;
}

// Acts if the group is over its limit; the bytes left until it, or until the next threshold.
int64_t ResourceControl::CheckMemory(cgroup::Group& group, std::vector<Space>& spaces) {
  int64_t limit, most = 0;
  bool listens;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    limit = group.memory.limit;
    listens = !group.memory.listeners.empty();
  }
  std::vector<Space*> inside;
  for (Space& s : spaces) {
    if (!s.in || !s.in->IsInside(group)) continue;
    inside.push_back(&s);
    most += s.resident;
  }
  // Resident memory counts shared pages once a process: real use is never more.
  int64_t usage = most;
  if (most > limit || listens) {
    usage = 0;
    for (Space* s : inside) {
      if (s->private_bytes < 0) {
        const mm::ShareUsage share = mm::host_proc::Share(s->host_pid);
        s->private_bytes = share.known ? share.anonymous : s->resident;
        s->shared_bytes = share.shared;
      }
      usage += s->private_bytes + s->shared_bytes;
    }
  }
  std::vector<RefPtr<cgroup::EventSink>> signals;
  int64_t room = limit == cgroup::kNoLimit ? INT64_MAX : std::max<int64_t>(0, limit - usage);
  bool freed = false;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    cgroup::MemoryState& m = group.memory;
    m.usage = usage;
    if (usage <= limit) m.max_usage = std::max(m.max_usage, std::min(usage, limit));
    for (auto& listener : m.listeners) {
      if (listener.what != cgroup::MemoryState::Listener::What::kUsage) continue;
      const bool above = usage >= listener.threshold;
      if (above != listener.above) signals.push_back(listener.sink);
      listener.above = above;
      if (!above) room = std::min(room, listener.threshold - usage);
    }
    freed = m.under_oom && usage <= limit;
    if (freed) m.under_oom = false;
  }
  for (const auto& sink : signals) sink->Signal();
  if (freed) SetFrozen(group, false);
  if (usage > limit) OutOfMemory(group, spaces, usage);
  return room;
}

void ResourceControl::SetFrozen(cgroup::Group& group, bool frozen) {
  kernel_.cgroup_control().ForEachMember(group, true, [&](Task& task) {
    if (frozen) {
      task.Hold(Task::kHeldForMemory);
    } else {
      task.Release(Task::kHeldForMemory);
    }
  });
}

void ResourceControl::OutOfMemory(cgroup::Group& group, std::vector<Space>& spaces, int64_t usage) {
  // Whoever is on the way out will give memory back: nobody else dies meanwhile.
  for (const Space& s : spaces) {
    if (s.exiting && s.in && s.in->IsInside(group)) return;
  }
  std::vector<RefPtr<cgroup::EventSink>> signals;
  bool disabled;
  int64_t limit;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    cgroup::MemoryState& m = group.memory;
    ++m.failures;
    m.max_usage = std::max(m.max_usage, m.limit);
    limit = m.limit;
    disabled = m.oom_kill_disabled;
    if (!m.under_oom) {
      for (const auto& listener : m.listeners) {
        if (listener.what != cgroup::MemoryState::Listener::What::kUsage) {
          signals.push_back(listener.sink);
        }
      }
    }
    m.under_oom = disabled;  // else somebody dies now, and nobody waits
  }
  for (const auto& sink : signals) sink->Signal();
  if (disabled) return SetFrozen(group, true);

  std::vector<Space*> candidates;
  Space* victim = nullptr;
  int64_t best = INT64_MIN;
  for (Space& s : spaces) {
    if (!s.in || !s.in->IsInside(group) || s.private_bytes < 0) continue;
    const int adjust = s.group->oom_score_adj.load(std::memory_order_relaxed);
    candidates.push_back(&s);
    if (adjust == kNeverKilled) continue;
    const int64_t score =
        (s.private_bytes + s.shared_bytes) / kPage + adjust * (limit / kPage) / 1000;
    if (score > best) {
      best = score;
      victim = &s;
    }
  }
  if (victim == nullptr) return;
  const int64_t of_thousand =
      limit >= kPage ? std::max<int64_t>(0, best) * 1000 / (limit / kPage) : 0;
  Report(group, candidates, *victim, usage, of_thousand);
  {
    MutexLock lock(kernel_.cgroups().mutex());
    ++victim->in->memory.oom_kills;
  }
  Task::ExitGroup(*victim->group, SIGKILL);
  // Its memory is wanted now, not when its threads come by.
  RefPtr<Task> leader = kernel_.FindTask(victim->group->tgid());
  if (RefPtr<mm::MemoryManager> memory = leader ? leader->mm_ref() : nullptr) {
    memory->address_space().Kill();
  }
  victim->exiting = true;
}

// What Linux writes to its log (mm/oom_kill.c, mm/memcontrol.c).
void ResourceControl::Report(cgroup::Group& group, const std::vector<Space*>& candidates,
                             const Space& victim, int64_t usage, int64_t score) {
  constexpr int kWarning = 4, kInfo = 6, kError = 3;
  constexpr int64_t kKib = 1024;
  const int64_t at = kernel_.uptime_ns();
  auto say = [&](int level, const std::string& text) { kernel_.dmesg().Append(at, level, text); };
  RefPtr<Task> task = kernel_.FindTask(victim.group->tgid());
  const std::string name = task ? task->comm() : "?";
  std::string in, of, set;
  int64_t limit, failures;
  {
    MutexLock lock(kernel_.cgroups().mutex());
    in = kernel_.cgroups().PathOf(*victim.in);
    of = kernel_.cgroups().PathOf(group);
    limit = group.memory.limit;
    failures = group.memory.failures;
  }
  set = task ? kernel_.cgroups().PathOfTask(task->cgroup, cgroup::Kind::kCpuset) : "/";
  say(kWarning,
      absl::StrFormat("%s invoked oom-killer: gfp_mask=0x24000c0, order=0, oom_score_adj=%d", name,
                      victim.group->oom_score_adj.load()));
  say(kInfo, absl::StrFormat("%s cpuset=%s mems_allowed=0", name, set));
  say(kInfo, absl::StrFormat("Task in %s killed as a result of limit of %s", in, of));
  say(kInfo, absl::StrFormat("memory: usage %dkB, limit %dkB, failcnt %d",
                             std::min(usage, limit) / kKib, limit / kKib, failures));
  int64_t rss = 0, cache = 0;
  for (const Space* s : candidates) {
    rss += s->private_bytes;
    cache += s->shared_bytes;
  }
  say(kInfo, absl::StrFormat("Memory cgroup stats for %s: cache:%dKB rss:%dKB rss_huge:0KB "
                             "mapped_file:0KB dirty:0KB writeback:0KB inactive_anon:0KB "
                             "active_anon:%dKB inactive_file:0KB active_file:0KB unevictable:0KB",
                             of, cache / kKib, rss / kKib, (rss + cache) / kKib));
  say(kInfo, "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name");
  int64_t total = 0;
  for (const Space* s : candidates) {
    RefPtr<Task> t = kernel_.FindTask(s->group->tgid());
    RefPtr<mm::MemoryManager> memory = t ? t->mm_ref() : nullptr;
    if (!memory) continue;
    const auto pages = static_cast<int64_t>(memory->total_bytes()) / kPage;
    if (s == &victim) total = pages;
    say(kInfo, absl::StrFormat("[%5d] %5d %5d %8d %8d %7d %7d %8d %13d %s", t->tid(),
                               t->creds()->uid, t->tgid(), pages, s->resident / kPage, 0, 0, 0,
                               s->group->oom_score_adj.load(), t->comm()));
  }
  say(kError, absl::StrFormat("Memory cgroup out of memory: Kill process %d (%s) score %d or "
                              "sacrifice child",
                              victim.group->tgid(), name, score));
  say(kError, absl::StrFormat("Killed process %d (%s) total-vm:%dkB, anon-rss:%dkB, file-rss:%dkB",
                              victim.group->tgid(), name, total * kPage / kKib,
                              victim.private_bytes / kKib, victim.shared_bytes / kKib));
}

}  // namespace msentry::kernel
