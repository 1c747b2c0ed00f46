#include "fsimpl/tmpfs/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/mm/host_proc.h"

namespace msentry::tmpfs {

namespace {

int memory_directory = -1;  // set once, before any file is made
std::atomic<uint64_t> next_name{1};

Errno FdError() { return errno == EMFILE || errno == ENFILE ? Errno::kENOSPC : FromHost(errno); }

}  // namespace

void SetMemoryDirectory(ScopedFd directory) { memory_directory = directory.Release(); }

Result<std::unique_ptr<HostMemory>> HostMemory::Create() {
  ScopedFd fd;
  uint64_t name = 0;
  if (memory_directory >= 0) {
    name = next_name.fetch_add(1, std::memory_order_relaxed);
    fd = ScopedFd(openat(memory_directory, std::to_string(name).c_str(),
                         O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  } else {
    fd = ScopedFd(memfd_create("msentry-tmpfs", MFD_CLOEXEC));
  }
  if (!fd) return FdError();
  return std::unique_ptr<HostMemory>(new HostMemory(MakeRef<vfs::HostFd>(std::move(fd)), name));
}

HostMemory::~HostMemory() {
  if (name_ != 0) unlinkat(memory_directory, std::to_string(name_).c_str(), 0);
}

Result<RefPtr<vfs::HostFd>> HostMemory::ReadOnly(bool changed) {
  if (read_only_ && !(is_copy_ && changed)) return read_only_;
  if (name_ != 0) {
    const std::string name = std::to_string(name_);
    ScopedFd fd(openat(memory_directory, name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return FdError();
    unlinkat(memory_directory, name.c_str(), 0);
    name_ = 0;
    read_only_ = MakeRef<vfs::HostFd>(std::move(fd));
    return read_only_;
  }
  Result<ScopedFd> reopened = mm::host_proc::ReopenReadOnly(fd_->get());
  if (reopened.ok()) {
    read_only_ = MakeRef<vfs::HostFd>(std::move(*reopened));
    return read_only_;
  }
  read_only_ = TRY(SealedCopy());
  is_copy_ = true;
  return read_only_;
}

Result<RefPtr<vfs::HostFd>> HostMemory::SealedCopy() {
  ScopedFd copy(memfd_create("msentry-tmpfs-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return FdError();
  struct stat st;
  if (fstat(fd_->get(), &st) != 0 || ftruncate(copy.get(), st.st_size) != 0) return FromHost(errno);
  std::vector<char> buffer(256 * 1024);
  for (off_t at = 0; at < st.st_size;) {
    // Holes stay holes.
    off_t data = lseek(fd_->get(), at, SEEK_DATA);
    if (data < 0) break;
    ssize_t n = pread(fd_->get(), buffer.data(), buffer.size(), data);
    if (n <= 0) break;
    if (pwrite(copy.get(), buffer.data(), n, data) != n) return Errno::kENOMEM;
    at = data + n;
  }
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FromHost(errno);
  }
  return MakeRef<vfs::HostFd>(std::move(copy));
}

}  // namespace msentry::tmpfs
