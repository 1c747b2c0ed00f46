// DeviceRegistry: what opening a device node leads to, by (char or block, major, minor), as
// /proc/devices lists it. Filled at boot by the drivers (fsimpl/devtmpfs, devpts); immutable
// ranges, so lookups take a short lock only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "vfs/inode.h"

namespace msentry::vfs {

class DeviceRegistry {
 public:
  // Opens the device `rdev`. `args.location` is the node. May be called by many fibers at once.
  using Opener = absl::AnyInvocable<Result<RefPtr<FileDescription>>(
      const OpContext&, const OpenArgs&, uint64_t rdev) const>;

  // `type` is S_IFCHR or S_IFBLK; minors [first_minor, first_minor + count).
  void Register(uint32_t type, uint32_t major, uint32_t first_minor, uint32_t count,
                std::string name, Opener opener);
  // ENXIO when there is no such device.
  Result<RefPtr<FileDescription>> Open(const OpContext& ctx, const OpenArgs& args, uint32_t type,
                                       uint64_t rdev) const;
  struct Entry {
    uint32_t type, major;
    std::string name;
  };
  std::vector<Entry> List() const;  // one per (type, major), sorted

 private:
  struct Range {
    uint32_t type, major, first, count;
    std::string name;
    Opener opener;
  };
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Range>> ranges_ ABSL_GUARDED_BY(mutex_);  // never removed
};

}  // namespace msentry::vfs
