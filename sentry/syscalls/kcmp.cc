// kcmp(2): do two processes share a kernel object?
#include <linux/kcmp.h>

#include "procfs/access.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/syscalls/calls_process.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

// 0 equal, 1 less, 2 greater: an order that says nothing of where things are in memory.
int64_t Compare(const void* a, const void* b) {
  static const uint64_t kCover[2] = {mm::RandomBits(), mm::RandomBits() | 1};
  const uint64_t x = (reinterpret_cast<uint64_t>(a) ^ kCover[0]) * kCover[1];
  const uint64_t y = (reinterpret_cast<uint64_t>(b) ^ kCover[0]) * kCover[1];
  return x == y ? 0 : x < y ? 1 : 2;
}

Result<RefPtr<FileDescription>> FileOf(Task& task, uint64_t fd) {
  const RefPtr<kernel::FdTable> table = task.fd_table_ref();
  if (!table || fd > INT32_MAX) return Errno::kEBADF;
  return table->Get(static_cast<int>(fd));
}

}  // namespace

Result<int64_t> SysKcmp(Task& t, const SyscallArgs& a) {
  const RefPtr<Task> first = t.kernel().FindTask(a.Int(0));
  const RefPtr<Task> second = t.kernel().FindTask(a.Int(1));
  if (!first || !second) return Errno::kESRCH;
  for (const RefPtr<Task>& task : {first, second}) {
    if (!procfs::CheckInspect(*t.creds(), t.tgid(), *task, procfs::WhichIds::kReal)) {
      return Errno::kEPERM;
    }
  }
  switch (a.Int(2)) {
    case KCMP_FILE: {
      const RefPtr<FileDescription> x = TRY(FileOf(*first, a[3])), y = TRY(FileOf(*second, a[4]));
      return Compare(x.get(), y.get());
    }
    case KCMP_VM:
      return Compare(first->mm_ref().get(), second->mm_ref().get());
    case KCMP_FILES:
      return Compare(first->fd_table_ref().get(), second->fd_table_ref().get());
    case KCMP_FS:
      return Compare(first->fs_ref().get(), second->fs_ref().get());
    case KCMP_SIGHAND:
      return Compare(first->group().handlers().get(), second->group().handlers().get());
    case KCMP_IO:
      return 0;  // nobody has an I/O context
    case KCMP_SYSVSEM:
    case KCMP_EPOLL_TFD:
      return Errno::kEOPNOTSUPP;
    default:
      return Errno::kEINVAL;
  }
}

}  // namespace msentry::syscalls
