#include "sentry/base/scoped_fd.h"

#include <fcntl.h>
#include <unistd.h>

namespace msentry {

void ScopedFd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<ScopedFd> ScopedFd::Duplicate() const {
  int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return FromHost(errno);
  return ScopedFd(fd);
}

}  // namespace msentry
