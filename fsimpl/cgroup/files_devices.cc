// devices (Documentation/cgroup-v1/devices.txt): which device nodes may be opened and made.
#include "fsimpl/cgroup/directory.h"

namespace msentry::cgroupfs {
namespace {

using Where = FileSpec::Where;

// A group never allows what one above it does not.
void RestrictBelow(cgroup::Group& group) {
  for (const auto& [name, child] : group.children) {
    child->devices.Restrict(group.devices);
    RestrictBelow(*child);
  }
}

Result<> Change(const Target& t, std::string_view text, bool allow) {
  if (!t.ctx.creds.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  const cgroup::DeviceRule rule = TRY(cgroup::DeviceRule::Parse(text));
  MutexLock lock(t.cgroups().mutex());
  cgroup::Group& group = t.group;
  if (rule.type == 'a' && !group.children.empty()) return Errno::kEINVAL;
  if (allow) {
    if (group.parent && rule.type != 'a' && !group.parent->devices.Covers(rule)) {
      return Errno::kEPERM;
    }
    group.devices.Allow(rule);
    // "a" takes over the parent's rules.
    if (group.parent && rule.type == 'a') group.devices = group.parent->devices;
  } else {
    group.devices.Deny(rule);
    RestrictBelow(group);
  }
  return Ok();
}
Result<> WriteAllow(const Target& t, std::string_view text) { return Change(t, text, true); }
Result<> WriteDeny(const Target& t, std::string_view text) { return Change(t, text, false); }

Result<std::string> ReadList(const Target& t) {
  MutexLock lock(t.cgroups().mutex());
  return t.group.devices.List();
}

constexpr FileSpec kDevices[] = {
    {"devices.allow", 0200, Where::kEverywhere, nullptr, WriteAllow},
    {"devices.deny", 0200, Where::kEverywhere, nullptr, WriteDeny},
    {"devices.list", 0444, Where::kEverywhere, ReadList},
};

}  // namespace

std::span<const FileSpec> DevicesFiles() { return kDevices; }

}  // namespace msentry::cgroupfs
