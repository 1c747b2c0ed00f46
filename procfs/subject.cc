#include "procfs/subject.h"

namespace msentry::procfs {

Result<RefPtr<kernel::Task>> Subject::Task() const {
  RefPtr<kernel::Task> task = kernel->FindTask(id);
  if (!task || &task->group() != group.get()) return Errno::kESRCH;
  if (thread && task != thread) return Errno::kESRCH;
  return task;
}

vfs::Location View::reader_root() const {
  if (ctx.task != nullptr) {
    if (RefPtr<kernel::FsContext> fs_context = static_cast<kernel::Task*>(ctx.task)->fs_ref()) {
      return fs_context->root();
    }
  }
  return kernel().root();
}

Owner OwnerOf(const Subject& subject) {
  Result<RefPtr<kernel::Task>> task = subject.Task();
  if (!task) return {};
  RefPtr<mm::MemoryManager> mm = (*task)->mm_ref();
  if (mm && mm->dumpable() != 1) return {};
  auth::CredsRef creds = (*task)->creds();
  return {creds->euid, creds->egid};
}

}  // namespace msentry::procfs
