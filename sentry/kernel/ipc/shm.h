// System V shared memory (shmget(2), shmop(2), shmctl(2)).
//
// A segment's memory is a file of an unmounted tmpfs, made when it is first attached. Attaching
// maps it as a file is mapped; the mapping's MappedFile counts attachments: mm tells it of every
// mapping that comes or goes (fork, exec, exit, a munmap of the middle), as Linux counts them.
#pragma once

#include <cstdint>

#include "sentry/kernel/ipc/ipc_namespace.h"
#include "sentry/kernel/ipc/ipc_object.h"
#include "sentry/mm/mapped_file.h"
#include "sentry/sched/scheduler.h"
#include "vfs/file_description.h"

namespace msentry::kernel {

class Task;

class ShmSegment : public IpcObject {
 public:
  ShmSegment(int key, uint32_t mode, const auth::Credentials& creator, uint64_t size, int pid);
  uint64_t pages() const;

  // shmget(2).
  static Result<int> Get(Task& task, int key, uint64_t size, int flags);
  static Result<RefPtr<ShmSegment>> Find(IpcNamespace& ns, int id);

  // IPC_STAT. `key` of the table.
  abi::Shmid64Ds StatLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  // IPC_RMID: gone at once, or with the last attachment.
  static void Destroy(IpcNamespace& ns, ShmSegment& segment);
  void SetLockedLocked(bool locked) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex());
  // Pages that have memory.
  uint64_t ResidentPages();

  // The memory, made when there is none yet. ENOMEM.
  Result<RefPtr<vfs::FileDescription>> Memory(Task& task);
  // Counts an attachment so that the segment stays while it is being mapped; pair with Detached.
  Result<> Attached();
  static void Detached(IpcNamespace& ns, ShmSegment& segment);

  const uint64_t size;

 private:
  int64_t atime_ ABSL_GUARDED_BY(mutex()) = 0, dtime_ ABSL_GUARDED_BY(mutex()) = 0;
  const int creator_pid_;
  int last_pid_ ABSL_GUARDED_BY(mutex()) = 0;
  uint64_t attached_ ABSL_GUARDED_BY(mutex()) = 0;
  sched::FiberMutex memory_mutex_;
  RefPtr<vfs::FileDescription> memory_ ABSL_GUARDED_BY(memory_mutex_);
};

// shmat(2), shmdt(2).
Result<uint64_t> AttachSegment(Task& task, int id, uint64_t address, int flags);
Result<> DetachSegment(Task& task, uint64_t address);

}  // namespace msentry::kernel
