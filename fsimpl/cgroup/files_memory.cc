// memory (Documentation/cgroup-v1/memory.txt). Hierarchical always; there is no swap. Usage is what
// the group's processes hold (docs/cgroups.md says how it is measured and what differs).
#include <charconv>

#include "absl/strings/str_cat.h"
#include "fsimpl/cgroup/directory.h"
#include "fsimpl/eventfs/event_fd.h"

namespace msentry::cgroupfs {
namespace {

using cgroup::MemoryState;
using Where = FileSpec::Where;
using Text = Result<std::string>;

constexpr int64_t kPage = 4096;
constexpr size_t kMostListeners = 256;

// Bytes with a suffix K, M, G or T, in whole pages; -1 is no limit.
Result<int64_t> ParseBytes(std::string_view text) {
  if (text == "-1") return cgroup::kNoLimit;
  uint64_t value = 0;
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc::invalid_argument) return Errno::kEINVAL;
  std::string_view rest(end, text.data() + text.size() - end);
  if (error == std::errc::result_out_of_range) return cgroup::kNoLimit;
  int shift = 0;
  if (!rest.empty()) {
    switch (rest.front() | 0x20) {
      case 't':
        shift = 40;
        break;
      case 'g':
        shift = 30;
        break;
      case 'm':
        shift = 20;
        break;
      case 'k':
        shift = 10;
        break;
      default:
        return Errno::kEINVAL;
    }
    if (rest.size() > 1) return Errno::kEINVAL;
  }
  if (value > static_cast<uint64_t>(cgroup::kNoLimit) >> shift) return cgroup::kNoLimit;
  const int64_t bytes = static_cast<int64_t>(value << shift);
  return bytes / kPage * kPage;
}

Text ReadUsage(const Target& t) {
  const int64_t usage = t.control().MeasureMemory(t.group).usage();
  MutexLock lock(t.cgroups().mutex());
  t.group.memory.usage = usage;
  t.group.memory.max_usage = std::max(t.group.memory.max_usage, usage);
  return absl::StrCat(usage, "\n");
}

template <int64_t MemoryState::*field>
Text ReadNumber(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return absl::StrCat(t.group.memory.*field, "\n");
}
template <int64_t MemoryState::*field, int64_t kMost>
Result<> WriteNumber(const Target& t, std::string_view text) {
  const uint64_t value = TRY(ParseUnsigned(text));
  if (value > static_cast<uint64_t>(kMost)) return Errno::kEINVAL;
  MutexLock lock(t.cgroups().mutex());
  t.group.memory.*field = static_cast<int64_t>(value);
  return Ok();
}
template <int64_t MemoryState::*field>
Result<> Reset(const Target& t, std::string_view) {
  MutexLock lock(t.cgroups().mutex());
  t.group.memory.*field = 0;
  return Ok();
}
Result<> ResetMaxUsage(const Target& t, std::string_view) {
  const int64_t usage = t.control().MeasureMemory(t.group).usage();
  MutexLock lock(t.cgroups().mutex());
  t.group.memory.max_usage = usage;
  return Ok();
}

Result<> WriteLimit(const Target& t, std::string_view text) {
  const int64_t limit = TRY(ParseBytes(text));
  if (t.group.is_root()) return Errno::kEINVAL;
  // There is nothing to reclaim: what is in use stays.
  if (limit != cgroup::kNoLimit && t.control().MeasureMemory(t.group).usage() > limit) {
    return Errno::kEBUSY;
  }
  {
    MutexLock lock(t.cgroups().mutex());
    t.group.memory.limit = limit;
  }
  t.control().LimitsChanged(t.group, cgroup::Kind::kMemory);
  return Ok();
}
Result<> WriteSoftLimit(const Target& t, std::string_view text) {
  const int64_t limit = TRY(ParseBytes(text));
  if (t.group.is_root()) return Errno::kEINVAL;
  MutexLock lock(t.cgroups().mutex());
  t.group.memory.soft_limit = limit;
  return Ok();
}

Result<> ForceEmpty(const Target& t, std::string_view) {
  if (t.group.is_root()) return Errno::kEINVAL;
  return Ok();  // nothing is kept that could be dropped
}

Text ReadOomControl(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  const MemoryState& m = t.group.memory;
  return absl::StrCat("oom_kill_disable ", m.oom_kill_disabled ? 1 : 0, "\nunder_oom ",
                      m.under_oom ? 1 : 0, "\noom_kill ", m.oom_kills, "\n");
}
Result<> WriteOomControl(const Target& t, std::string_view text) {
  const uint64_t value = TRY(ParseUnsigned(text));
  if (t.group.is_root() || value > 1) return Errno::kEINVAL;
  {
    MutexLock lock(t.cgroups().mutex());
    t.group.memory.oom_kill_disabled = value != 0;
  }
  t.control().LimitsChanged(t.group, cgroup::Kind::kMemory);
  return Ok();
}

Text ReadHierarchical(const Target&) { return std::string("1\n"); }
Result<> WriteHierarchical(const Target&, std::string_view text) {
  if (TRY(ParseUnsigned(text)) != 1) return Errno::kEINVAL;
  return Ok();
}

Text ReadStat(const Target& t) {
  const TaskControl::Memory used = t.control().MeasureMemory(t.group);
  MutexLock lock(t.cgroups().mutex());
  int64_t limit = cgroup::kNoLimit;
  for (const cgroup::Group* g = &t.group; g != nullptr; g = g->parent.get()) {
    limit = std::min(limit, g->memory.limit);
  }
  std::string text;
  auto line = [&](const char* name, int64_t value) {
    absl::StrAppend(&text, name, " ", value, "\n");
  };
  for (const char* prefix : {"", "total_"}) {
    auto part = [&](const char* name, int64_t value) {
      line(absl::StrCat(prefix, name).c_str(), value);
    };
    part("cache", used.shared);
    part("rss", used.anonymous);
    part("mapped_file", used.file);
    part("swap", 0);
    part("inactive_anon", 0);
    part("active_anon", used.usage());
    part("inactive_file", 0);
    part("active_file", 0);
    part("unevictable", 0);
    if (*prefix == 0) line("hierarchical_memory_limit", limit);
  }
  return text;
}

Text ReadNumaStat(const Target& t) {
  const int64_t pages = t.control().MeasureMemory(t.group).usage() / kPage;
  std::string text;
  for (const char* prefix : {"", "hierarchical_"}) {
    absl::StrAppend(&text, prefix, "total=", pages, " N0=", pages, "\n", prefix, "file=0 N0=0\n",
                    prefix, "anon=", pages, " N0=", pages, "\n", prefix, "unevictable=0 N0=0\n");
  }
  return text;
}

// ---- cgroup.event_control: "EVENTFD CONTROLFD [ARGUMENT]" ----

class EventFdSink : public cgroup::EventSink {
 public:
  explicit EventFdSink(RefPtr<eventfs::EventFd> fd) : fd_(std::move(fd)) {}
  void Signal() override { fd_->Add(1); }

 private:
  const RefPtr<eventfs::EventFd> fd_;
};

// The part up to the next space.
std::string_view TakeWord(std::string_view* text) {
  const std::string_view word = text->substr(0, text->find(' '));
  text->remove_prefix(std::min(text->size(), word.size() + 1));
  return word;
}

Result<> WriteEventControl(const Target& t, std::string_view text) {
  const std::string_view event_word = TakeWord(&text), control_word = TakeWord(&text);
  const int64_t event = TRY(ParseSigned(event_word)), control = TRY(ParseSigned(control_word));
  RefPtr<vfs::FileDescription> event_file = TRY(t.control().FileOf(t.ctx, static_cast<int>(event)));
  RefPtr<vfs::FileDescription> control_file =
      TRY(t.control().FileOf(t.ctx, static_cast<int>(control)));
  auto* eventfd = vfs::FileCast<eventfs::EventFd>(*event_file);
  if (eventfd == nullptr) return Errno::kEINVAL;
  if (!control_file->readable()) return Errno::kEACCES;
  // The control file must be one of this very directory.
  RefPtr<vfs::Dentry> directory = control_file->location().dentry->parent();
  if (!directory || &control_file->inode().fs() != &t.fs || directory->negative() ||
      &static_cast<Directory*>(directory->inode())->group() != &t.group) {
    return Errno::kEINVAL;
  }
  const std::string name = control_file->location().dentry->name();
  MemoryState::Listener listener;
  if (name == "memory.usage_in_bytes") {
    listener.what = MemoryState::Listener::What::kUsage;
    listener.threshold = TRY(ParseBytes(text));
  } else if (name == "memory.oom_control") {
    listener.what = MemoryState::Listener::What::kOom;
  } else if (name == "memory.pressure_level") {
    if (!text.starts_with("low") && !text.starts_with("medium") && !text.starts_with("critical")) {
      return Errno::kEINVAL;
    }
    listener.what = MemoryState::Listener::What::kPressure;
  } else {
    return Errno::kEINVAL;
  }
  listener.sink = MakeRef<EventFdSink>(RefPtr<eventfs::EventFd>(eventfd));
  const int64_t usage = t.control().MeasureMemory(t.group).usage();
  bool now = false;
  {
    MutexLock lock(t.cgroups().mutex());
    auto& all = t.group.memory.listeners;
    if (all.size() >= kMostListeners) return Errno::kENOMEM;
    listener.above = usage >= listener.threshold;
    // Who asks while it is going on hears of it at once.
    now = listener.what == MemoryState::Listener::What::kOom && t.group.memory.under_oom;
    all.push_back(listener);
  }
  if (now) listener.sink->Signal();
  t.control().LimitsChanged(t.group, cgroup::Kind::kMemory);
  return Ok();
}

constexpr int64_t kMostSwappiness = 100, kMoveMask = 3;

constexpr FileSpec kMemory[] = {
    {"cgroup.event_control", 0222, Where::kEverywhere, nullptr, WriteEventControl},
    {"memory.failcnt", 0644, Where::kEverywhere, ReadNumber<&MemoryState::failures>,
     Reset<&MemoryState::failures>},
    {"memory.force_empty", 0200, Where::kEverywhere, nullptr, ForceEmpty},
    {"memory.limit_in_bytes", 0644, Where::kEverywhere, ReadNumber<&MemoryState::limit>,
     WriteLimit},
    {"memory.max_usage_in_bytes", 0644, Where::kEverywhere, ReadNumber<&MemoryState::max_usage>,
     ResetMaxUsage},
    {"memory.move_charge_at_immigrate", 0644, Where::kEverywhere,
     ReadNumber<&MemoryState::move_charge>, WriteNumber<&MemoryState::move_charge, kMoveMask>},
    {"memory.numa_stat", 0444, Where::kEverywhere, ReadNumaStat},
    {"memory.oom_control", 0644, Where::kEverywhere, ReadOomControl, WriteOomControl},
    {"memory.pressure_level", 0000, Where::kEverywhere},
    {"memory.soft_limit_in_bytes", 0644, Where::kEverywhere, ReadNumber<&MemoryState::soft_limit>,
     WriteSoftLimit},
    {"memory.stat", 0444, Where::kEverywhere, ReadStat},
    {"memory.swappiness", 0644, Where::kEverywhere, ReadNumber<&MemoryState::swappiness>,
     WriteNumber<&MemoryState::swappiness, kMostSwappiness>},
    {"memory.usage_in_bytes", 0444, Where::kEverywhere, ReadUsage},
    {"memory.use_hierarchy", 0644, Where::kEverywhere, ReadHierarchical, WriteHierarchical},
};

}  // namespace

std::span<const FileSpec> MemoryFiles() { return kMemory; }

}  // namespace msentry::cgroupfs
