// ScopedFd: the owner of one host file descriptor. Closed when it goes out of scope.
#pragma once

#include <utility>

#include "sentry/base/result.h"

namespace msentry {

class ScopedFd {
 public:
  ScopedFd() = default;
  explicit ScopedFd(int fd) : fd_(fd) {}
  ScopedFd(ScopedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ScopedFd& operator=(ScopedFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~ScopedFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

  // Another descriptor of the same open file, close-on-exec (dup(2)).
  Result<ScopedFd> Duplicate() const;

 private:
  int fd_ = -1;
};

}  // namespace msentry
