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

RefPtr<SignalHandlers> ThreadGroup::handlers() const {
  MutexLock lock(signal_mutex_);
  return handlers_;
}

void ThreadGroup::set_handlers(RefPtr<SignalHandlers> handlers) {
  MutexLock lock(signal_mutex_);
  handlers_.swap(handlers);
}

Usage ThreadGroup::GetUsage() {
  MutexLock lock(kernel_.tasks_mutex());
  Usage usage = dead_threads;
  for (Task* task : tasks) usage.Add(task->GetUsage());
  return usage;
}

int64_t ThreadGroup::CpuNs() {
  const Usage usage = GetUsage();
  return usage.user_ns + usage.system_ns;
}

}  // namespace msentry::kernel
