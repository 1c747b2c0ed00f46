#include "sentry/kernel/thread_group.h"

#include "sentry/kernel/kernel.h"

namespace msentry::kernel {

void Usage::Add(const Usage& other) {
  user_ns += other.user_ns;
  system_ns += other.system_ns;
  minor_faults += other.minor_faults;
  major_faults += other.major_faults;
  voluntary_switches += other.voluntary_switches;
  involuntary_switches += other.involuntary_switches;
  blocks_in += other.blocks_in;
  blocks_out += other.blocks_out;
  max_rss_kb = std::max(max_rss_kb, other.max_rss_kb);
}

ThreadGroup::ThreadGroup(Kernel& kernel, RefPtr<SignalHandlers> handlers, RefPtr<Limits> limits)
    : start_ns(sched::NowNs()),
      kernel_(kernel),
      limits_(std::move(limits)),
      handlers_(std::move(handlers)),
      timers_(*this) {}

ThreadGroup::~ThreadGroup() = default;

void ThreadGroup::ProcSettings::CopyFrom(const ProcSettings& other) {
  oom_score_adj_min.store(other.oom_score_adj_min.load());
  coredump_filter.store(other.coredump_filter.load());
  login_uid.store(other.login_uid.load());
  audit_session.store(other.audit_session.load());
}

RefPtr<SignalHandlers> ThreadGroup::handlers() const {
  MutexLock lock(signal_mutex_);
  return handlers_;
}

void ThreadGroup::set_handlers(RefPtr<SignalHandlers> handlers) {
  MutexLock lock(signal_mutex_);
  handlers_.swap(handlers);
}

Usage ThreadGroup::CpuUsage() {
  MutexLock lock(kernel_.tasks_mutex());
  Usage usage = dead_threads;
  for (Task* task : tasks) usage.Add(task->GetUsage());
  return usage;
}

Usage ThreadGroup::GetUsage(const mm::HostFigures* figures) {
  Usage usage;
  RefPtr<mm::MemoryManager> memory;
  {
    MutexLock lock(kernel_.tasks_mutex());
    usage = dead_threads;
    for (Task* task : tasks) usage.Add(task->GetUsage());
    if (tasks.empty()) return usage;  // dead_threads has it all
    memory = tasks.front()->mm_ref();
  }
  mm::HostFigures asked;
  if (figures == nullptr && memory) {
    asked = memory->Figures();
    figures = &asked;
  }
  usage.minor_faults = gone_minor_faults.load(std::memory_order_relaxed);
  usage.major_faults = gone_major_faults.load(std::memory_order_relaxed);
  usage.max_rss_kb = max_rss_kb.load(std::memory_order_relaxed);
  constexpr uint64_t kBlock = 512;
  usage.blocks_out =
      static_cast<int64_t>(io.storage_written.load(std::memory_order_relaxed) / kBlock);
  if (figures != nullptr) {
    usage.minor_faults += static_cast<int64_t>(figures->minor_faults);
    usage.major_faults += static_cast<int64_t>(figures->major_faults);
    usage.max_rss_kb = std::max(usage.max_rss_kb,
                                static_cast<int64_t>(figures->resident * arch::kPageSize / 1024));
  }
  return usage;
}

int64_t ThreadGroup::CpuNs() {
  const Usage usage = CpuUsage();
  return usage.user_ns + usage.system_ns;
}

}  // namespace msentry::kernel
