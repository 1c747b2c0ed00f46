// UserMemory: how a device's ioctl reaches the memory its argument points to. kernel::Task
// implements it for guest memory; tests and internal callers use SentryMemory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "sentry/base/result.h"

namespace msentry::vfs {

class UserMemory {
 public:
  virtual ~UserMemory() = default;
  // All or EFAULT.
  virtual Result<> CopyIn(uint64_t address, void* to, size_t n) = 0;
  virtual Result<> CopyOut(uint64_t address, const void* from, size_t n) = 0;

  template <typename T>
  Result<T> Read(uint64_t address) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    Result<> r = CopyIn(address, &value, sizeof value);
    if (!r.ok()) return r.error();
    return value;
  }
  template <typename T>
  Result<> Write(uint64_t address, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return CopyOut(address, &value, sizeof value);
  }
};

// Addresses are the sentry's own: for trusted callers only.
class SentryMemory : public UserMemory {
 public:
  Result<> CopyIn(uint64_t address, void* to, size_t n) override {
    std::memcpy(to, reinterpret_cast<const void*>(address), n);
    return Ok();
  }
  Result<> CopyOut(uint64_t address, const void* from, size_t n) override {
    std::memcpy(reinterpret_cast<void*>(address), from, n);
    return Ok();
  }
};

}  // namespace msentry::vfs
