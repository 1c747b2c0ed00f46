// /sys as a virtual machine without disks, buses or firmware tables shows it: processors with their
// caches, one memory node, the character devices, the loopback interface, and the directories that
// programs expect to find. Read-only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sentry/base/ref_ptr.h"
#include "vfs/file_system.h"

namespace msentry::sysfs {

struct Device {
  std::string name;  // in /dev
  uint32_t major = 0, minor = 0;
};

// Bytes.
struct Memory {
  uint64_t total = 0, free = 0, anonymous = 0, mapped = 0, shared = 0, cached = 0;
};

struct Options {
  int cpus = 1;                 // how many the guest has
  std::vector<Device> devices;  // character devices
  absl::AnyInvocable<Memory() const> memory;
};

RefPtr<vfs::FileSystem> Create(Options options);

}  // namespace msentry::sysfs
