#include "sentry/kernel/fd_table.h"

#include "vfs/file_description.h"

namespace msentry::kernel {

FdTable::FdTable() = default;
FdTable::~FdTable() = default;

Result<int> FdTable::Install(RefPtr<vfs::FileDescription> file, const InstallOptions& options) {
  if (options.lowest < 0 || static_cast<uint64_t>(options.lowest) >= options.limit) {
    return Errno::kEINVAL;
  }
  MutexLock lock(mutex_);
  size_t fd = std::max(first_free_, static_cast<size_t>(options.lowest));
  while (fd < slots_.size() && slots_[fd].file) ++fd;
  if (fd >= options.limit) return Errno::kEMFILE;
  if (fd >= slots_.size()) slots_.resize(std::max(fd + 1, slots_.size() + slots_.size() / 2));
  slots_[fd] = {std::move(file), options.close_on_exec};
  if (static_cast<size_t>(options.lowest) <= first_free_) first_free_ = fd + 1;
  return static_cast<int>(fd);
}

Result<RefPtr<vfs::FileDescription>> FdTable::Replace(int fd, RefPtr<vfs::FileDescription> file,
                                                      bool close_on_exec, uint64_t limit) {
  if (fd < 0 || static_cast<uint64_t>(fd) >= limit) return Errno::kEBADF;
  MutexLock lock(mutex_);
  if (static_cast<size_t>(fd) >= slots_.size()) slots_.resize(fd + 1);
  RefPtr<vfs::FileDescription> old = std::move(slots_[fd].file);
  slots_[fd] = {std::move(file), close_on_exec};
  return old;
}

Result<RefPtr<vfs::FileDescription>> FdTable::Get(int fd) const {
  MutexLock lock(mutex_);
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[fd].file) {
    return Errno::kEBADF;
  }
  return slots_[fd].file;
}

Result<RefPtr<vfs::FileDescription>> FdTable::Remove(int fd) {
  MutexLock lock(mutex_);
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[fd].file) {
    return Errno::kEBADF;
  }
  first_free_ = std::min(first_free_, static_cast<size_t>(fd));
  slots_[fd].close_on_exec = false;
  return std::exchange(slots_[fd].file, nullptr);
}

Result<bool> FdTable::CloseOnExec(int fd) const {
  MutexLock lock(mutex_);
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[fd].file) {
    return Errno::kEBADF;
  }
  return slots_[fd].close_on_exec;
}

Result<> FdTable::SetCloseOnExec(int fd, bool value) {
  MutexLock lock(mutex_);
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[fd].file) {
    return Errno::kEBADF;
  }
  slots_[fd].close_on_exec = value;
  return Ok();
}

void FdTable::TakeWhere(absl::FunctionRef<bool(size_t, Slot&)> choose, OnClose on_close) {
  // Files are closed one by one without the lock: a close may wait.
  for (size_t fd = 0;; ++fd) {
    RefPtr<vfs::FileDescription> file;
    {
      MutexLock lock(mutex_);
      while (fd < slots_.size() && !(slots_[fd].file && choose(fd, slots_[fd]))) ++fd;
      if (fd >= slots_.size()) return;
      file = std::exchange(slots_[fd].file, nullptr);
      slots_[fd].close_on_exec = false;
      first_free_ = std::min(first_free_, fd);
    }
    on_close(std::move(file));
  }
}

void FdTable::CloseRange(uint32_t first, uint32_t last, bool only_set_cloexec, OnClose on_close) {
  TakeWhere(
      [&](size_t fd, Slot& slot) {
        if (fd < first || fd > last) return false;
        if (only_set_cloexec) slot.close_on_exec = true;
        return !only_set_cloexec;
      },
      on_close);
}

void FdTable::CloseOnExecFiles(OnClose on_close) {
  TakeWhere([](size_t, Slot& slot) { return slot.close_on_exec; }, on_close);
}

void FdTable::CloseAll(OnClose on_close) {
  TakeWhere([](size_t, Slot&) { return true; }, on_close);
}

RefPtr<FdTable> FdTable::Copy() const {
  auto copy = MakeRef<FdTable>();
  MutexLock lock(mutex_);
  MutexLock copy_lock(copy->mutex_);
  copy->slots_ = slots_;
  copy->first_free_ = first_free_;
  return copy;
}

std::vector<int> FdTable::OpenFds() const {
  MutexLock lock(mutex_);
  std::vector<int> fds;
  for (size_t fd = 0; fd < slots_.size(); ++fd) {
    if (slots_[fd].file) fds.push_back(static_cast<int>(fd));
  }
  return fds;
}

int FdTable::size() const {
  MutexLock lock(mutex_);
  return static_cast<int>(std::max<size_t>(64, (slots_.size() + 63) / 64 * 64));
}

}  // namespace msentry::kernel
