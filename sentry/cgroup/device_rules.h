// The devices controller's rules of one group (Documentation/cgroup-v1/devices.txt): a default, and
// the exceptions to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/result.h"

namespace msentry::cgroup {

enum DeviceAccess : uint8_t { kDeviceMknod = 1, kDeviceRead = 2, kDeviceWrite = 4 };

struct DeviceRule {
  char type = 'a';                       // 'b', 'c'; 'a' is everything at once
  std::optional<uint32_t> major, minor;  // none: any ("*")
  uint8_t access = 0;                    // DeviceAccess

  // "c 1:3 rwm", "b *:* m", "a". EINVAL.
  static Result<DeviceRule> Parse(std::string_view text);
  std::string Text() const;  // with the newline
};

class DeviceRules {
 public:
  bool Allows(char type, uint32_t major, uint32_t minor, uint8_t access) const;
  // May all that `rule` names be allowed below a group with these rules?
  bool Covers(const DeviceRule& rule) const;
  void Allow(const DeviceRule& rule);
  void Deny(const DeviceRule& rule);
  // Drops the exceptions that `parent` does not allow (any more).
  void Restrict(const DeviceRules& parent);
  // The content of devices.list.
  std::string List() const;
  // Nothing is denied.
  bool unrestricted() const { return allow_by_default_ && exceptions_.empty(); }

 private:
  void AddException(const DeviceRule& rule);
  void RemoveException(const DeviceRule& rule);

  bool allow_by_default_ = true;
  std::vector<DeviceRule> exceptions_;  // with concrete types
};

}  // namespace msentry::cgroup
