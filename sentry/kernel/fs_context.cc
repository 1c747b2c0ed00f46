#include "sentry/kernel/fs_context.h"

namespace msentry::kernel {

FsContext::FsContext(vfs::Location root, vfs::Location cwd, uint32_t umask)
    : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}
FsContext::~FsContext() = default;

vfs::Location FsContext::root() const {
  MutexLock lock(mutex_);
  return root_;
}
vfs::Location FsContext::cwd() const {
  MutexLock lock(mutex_);
  return cwd_;
}
// The old location is dropped after the lock: `root` is destroyed last.
void FsContext::set_root(vfs::Location root) {
  MutexLock lock(mutex_);
  std::swap(root_, root);
}
void FsContext::set_cwd(vfs::Location cwd) {
  MutexLock lock(mutex_);
  std::swap(cwd_, cwd);
}
uint32_t FsContext::set_umask(uint32_t umask) { return umask_.exchange(umask & 0777); }

RefPtr<FsContext> FsContext::Copy() const {
  MutexLock lock(mutex_);
  return MakeRef<FsContext>(root_, cwd_, umask());
}

}  // namespace msentry::kernel
