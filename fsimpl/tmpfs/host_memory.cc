#include "fsimpl/tmpfs/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/mm/host_proc.h"

namespace msentry::tmpfs {

namespace {

Errno FdError() { return errno == EMFILE || errno == ENFILE ? Errno::kENOSPC : FromHost(errno); }

}  // namespace

Result<std::unique_ptr<HostMemory>> HostMemory::Create() {
  ScopedFd fd(memfd_create("msentry-tmpfs", MFD_CLOEXEC));
  if (!fd) return FdError();
  return std::unique_ptr<HostMemory>(new HostMemory(MakeRef<vfs::HostFd>(std::move(fd))));
}

Result<RefPtr<vfs::HostFd>> HostMemory::ReadOnly(bool changed) {
  if (read_only_ && !(is_copy_ && changed)) return read_only_;
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
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return FromHost(errno);
  }
  return MakeRef<vfs::HostFd>(std::move(copy));
}

}  // namespace msentry::tmpfs
