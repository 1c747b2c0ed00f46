// What memory the sandbox has and uses: meminfo, vmstat, sysinfo(2), free(1).
#include <sys/sysinfo.h>

#include <algorithm>

#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/kernel/kernel.h"

namespace msentry::kernel {

// The host is asked once for each address space: microseconds for a few, milliseconds for hundreds.
// An answer serves for ten times as long as it took, so that a program that reads meminfo in a loop
// costs at most a tenth of a CPU here.
Kernel::MemoryFigures Kernel::memory_figures() {
  const int64_t begin = sched::NowNs();
  {
    MutexLock lock(memory_mutex_);
    if (begin < memory_valid_until_) return memory_;
  }
  const MemoryFigures figures = MeasureMemory();
  const int64_t end = sched::NowNs();
  MutexLock lock(memory_mutex_);
  memory_ = figures;
  memory_valid_until_ = end + (end - begin) * 10;
  return figures;
}

uint64_t Kernel::memory_total() const {
  if (options_.memory_to_report > 0) return static_cast<uint64_t>(options_.memory_to_report);
  if (options_.memory_bytes > 0) return static_cast<uint64_t>(options_.memory_bytes);
  struct sysinfo host {};
  sysinfo(&host);
  return uint64_t{host.totalram} * host.mem_unit;
}

Kernel::MemoryFigures Kernel::MeasureMemory() {
  MemoryFigures m;
  m.total = memory_total();
  std::vector<RefPtr<mm::MemoryManager>> spaces;
  {
    MutexLock lock(tasks_mutex_);
    for (const auto& [pid, entry] : pids_.entries()) {
      if (entry.task == nullptr || entry.task->tgid() != pid) continue;
      if (RefPtr<mm::MemoryManager> memory = entry.task->mm_ref()) {
        spaces.push_back(std::move(memory));
      }
    }
  }
  // vfork(2) and CLONE_VM: one address space, several processes.
  std::sort(spaces.begin(), spaces.end(),
            [](const auto& a, const auto& b) { return std::less<>()(a.get(), b.get()); });
  spaces.erase(std::unique(spaces.begin(), spaces.end()), spaces.end());
  for (const auto& memory : spaces) {
    const mm::ResidentUsage usage = memory->Resident();
    // Mostly the same pages in all of them: libraries, shared memory. The sum would tell of memory
    // that is not there.
    m.mapped = std::max(m.mapped, usage.file * arch::kPageSize);
    m.anonymous += (usage.resident - std::min(usage.file, usage.resident)) * arch::kPageSize;
    m.locked += memory->locked_bytes();
    m.committed += memory->data_bytes() + memory->stack_bytes();
  }
  m.shared = tmpfs::TotalPages() * arch::kPageSize;
  m.committed += m.shared;
  // What the host caches of the files nobody maps is its own affair.
  m.cached = std::max(m.mapped, m.shared);
  m.free = m.total - std::min(m.total, m.Used());
  m.available = std::min(m.total, m.free + (m.cached - m.shared));
  return m;
}

}  // namespace msentry::kernel
