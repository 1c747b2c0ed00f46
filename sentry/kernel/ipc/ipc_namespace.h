// IpcNamespace: the System V IPC objects that one set of tasks sees, and their limits
// (ipc_namespaces(7)). A task has one (Task::ipc()), a child inherits it; a new one starts empty
// with the default limits.
#pragma once

#include <atomic>
#include <cstdint>

#include "sentry/base/ref_ptr.h"
#include "sentry/kernel/ipc/ipc_object.h"

namespace msentry::kernel {

// /proc/sys/kernel/{shmmax,shmall,shmmni,sem,msgmax,msgmnb,msgmni}. Any thread.
struct IpcLimits {
  std::atomic<uint64_t> shmmax{UINT64_MAX - (1 << 24)};  // bytes in one segment
  std::atomic<uint64_t> shmall{UINT64_MAX - (1 << 24)};  // pages in all
  std::atomic<int> shmmni{4096};
  std::atomic<int> semmsl{32000};  // semaphores in one set
  std::atomic<int> semmns{1024000000};
  std::atomic<int> semopm{500};  // operations in one semop(2)
  std::atomic<int> semmni{32000};
  std::atomic<int> msgmax{8192};   // bytes in one message
  std::atomic<int> msgmnb{16384};  // bytes in a queue, to begin with
  std::atomic<int> msgmni{32000};
};

class IpcNamespace : public RefCounted<IpcNamespace> {
 public:
  IpcLimits limits;
  IpcTable segments, semaphores, queues;

  std::atomic<uint64_t> shared_pages{0};     // of all segments
  std::atomic<uint64_t> semaphores_used{0};  // in all sets
};

}  // namespace msentry::kernel
