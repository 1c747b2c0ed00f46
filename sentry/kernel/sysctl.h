// What programs wrote into /proc/sys. The files and their rules are procfs's; the values live here,
// because /proc can be mounted more than once. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sentry/base/mutex.h"

namespace msentry::kernel {

class SysctlStore {
 public:
  // The value written last to `path` ("vm/swappiness"), as it is read; nullopt: never written.
  std::optional<std::string> Get(std::string_view path) const {
    MutexLock lock(mutex_);
    const auto it = written_.find(path);
    if (it == written_.end()) return std::nullopt;
    return it->second;
  }
  void Set(std::string_view path, std::string value) {
    MutexLock lock(mutex_);
    written_.insert_or_assign(std::string(path), std::move(value));
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::string, std::less<>> written_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::kernel
