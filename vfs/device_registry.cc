#include "vfs/device_registry.h"

#include "vfs/file_description.h"

namespace msentry::vfs {

void DeviceRegistry::Register(uint32_t type, uint32_t major, uint32_t first_minor, uint32_t count,
                              std::string name, Opener opener) {
  auto range = std::make_unique<Range>(
      Range{type, major, first_minor, count, std::move(name), std::move(opener)});
  MutexLock lock(mutex_);
  ranges_.push_back(std::move(range));
}

Result<RefPtr<FileDescription>> DeviceRegistry::Open(const OpContext& ctx, const OpenArgs& args,
                                                     uint32_t type, uint64_t rdev) const {
  const uint32_t major = DevMajor(rdev), minor = DevMinor(rdev);
  const Range* found = nullptr;
  {
    MutexLock lock(mutex_);
    for (const auto& r : ranges_) {
      if (r->type == type && r->major == major && minor - r->first < r->count) found = r.get();
    }
  }
  if (!found) return Errno::kENXIO;
  return found->opener(ctx, args, rdev);
}

std::vector<DeviceRegistry::Entry> DeviceRegistry::List() const {
  std::vector<Entry> out;
  {
    MutexLock lock(mutex_);
    for (const auto& r : ranges_) out.push_back({r->type, r->major, r->name});
  }
  auto key = [](const Entry& e) { return std::pair(e.type, e.major); };
  std::stable_sort(out.begin(), out.end(),
                   [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
  out.erase(std::unique(out.begin(), out.end(),
                        [&](const Entry& a, const Entry& b) { return key(a) == key(b); }),
            out.end());
  return out;
}

}  // namespace msentry::vfs
