#include "sentry/cgroup/device_rules.h"

#include <charconv>

#include "absl/strings/str_cat.h"

namespace msentry::cgroup {
namespace {

constexpr size_t kMostExceptions = 4096;

void SkipSpace(std::string_view* text) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) text->remove_prefix(1);
}

// "*" or a number.
bool TakeNumber(std::string_view* text, std::optional<uint32_t>* out) {
  if (!text->empty() && text->front() == '*') {
    text->remove_prefix(1);
    out->reset();
    return true;
  }
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc()) return false;
  text->remove_prefix(end - text->data());
  *out = value;
  return true;
}

bool SamePlace(const DeviceRule& a, const DeviceRule& b) {
  return a.type == b.type && a.major == b.major && a.minor == b.minor;
}

// Every device of `inner` is one of `outer`.
bool Contains(const DeviceRule& outer, const DeviceRule& inner) {
  return outer.type == inner.type && (!outer.major || outer.major == inner.major) &&
         (!outer.minor || outer.minor == inner.minor);
}

// Some device is one of both.
bool Meets(const DeviceRule& a, const DeviceRule& b) {
  return a.type == b.type && (!a.major || !b.major || a.major == b.major) &&
         (!a.minor || !b.minor || a.minor == b.minor);
}

std::string Number(const std::optional<uint32_t>& n) { return n ? absl::StrCat(*n) : "*"; }

}  // namespace

Result<DeviceRule> DeviceRule::Parse(std::string_view text) {
  DeviceRule rule;
  SkipSpace(&text);
  if (text.empty()) return Errno::kEINVAL;
  rule.type = text.front();
  text.remove_prefix(1);
  if (rule.type == 'a') {
    rule.access = kDeviceMknod | kDeviceRead | kDeviceWrite;
    return rule;  // whatever follows
  }
  if (rule.type != 'b' && rule.type != 'c') return Errno::kEINVAL;
  if (text.empty() || text.front() != ' ') return Errno::kEINVAL;
  SkipSpace(&text);
  if (!TakeNumber(&text, &rule.major) || text.empty() || text.front() != ':') {
    return Errno::kEINVAL;
  }
  text.remove_prefix(1);
  if (!TakeNumber(&text, &rule.minor) || text.empty() || text.front() != ' ') {
    return Errno::kEINVAL;
  }
  SkipSpace(&text);
  if (text.size() > 3) return Errno::kEINVAL;
  for (char c : text) {
    switch (c) {
      case 'r':
        rule.access |= kDeviceRead;
        break;
      case 'w':
        rule.access |= kDeviceWrite;
        break;
      case 'm':
        rule.access |= kDeviceMknod;
        break;
      default:
        return Errno::kEINVAL;
    }
  }
  return rule;
}

std::string DeviceRule::Text() const {
  std::string letters;
  if (access & kDeviceRead) letters += 'r';
  if (access & kDeviceWrite) letters += 'w';
  if (access & kDeviceMknod) letters += 'm';
  return absl::StrCat(std::string(1, type), " ", Number(major), ":", Number(minor), " ", letters,
                      "\n");
}

bool DeviceRules::Allows(char type, uint32_t major, uint32_t minor, uint8_t access) const {
  const DeviceRule asked{type, major, minor, access};
  for (const DeviceRule& e : exceptions_) {
    if (!Contains(e, asked)) continue;
    if (allow_by_default_ && (e.access & access) != 0) return false;
    if (!allow_by_default_ && (access & ~e.access) == 0) return true;
  }
  return allow_by_default_;
}

bool DeviceRules::Covers(const DeviceRule& rule) const {
  if (rule.type == 'a') return unrestricted();
  for (const DeviceRule& e : exceptions_) {
    if (allow_by_default_ && Meets(e, rule) && (e.access & rule.access) != 0) return false;
    if (!allow_by_default_ && Contains(e, rule) && (rule.access & ~e.access) == 0) return true;
  }
  return allow_by_default_;
}

void DeviceRules::AddException(const DeviceRule& rule) {
  for (DeviceRule& e : exceptions_) {
    if (!SamePlace(e, rule)) continue;
    e.access |= rule.access;
    return;
  }
  if (exceptions_.size() < kMostExceptions) exceptions_.push_back(rule);
}

void DeviceRules::RemoveException(const DeviceRule& rule) {
  for (DeviceRule& e : exceptions_) {
    if (SamePlace(e, rule)) e.access &= ~rule.access;
  }
  std::erase_if(exceptions_, [](const DeviceRule& e) { return e.access == 0; });
}

void DeviceRules::Allow(const DeviceRule& rule) {
  if (rule.type == 'a') {
    exceptions_.clear();
    allow_by_default_ = true;
  } else if (allow_by_default_) {
    RemoveException(rule);
  } else {
    AddException(rule);
  }
}

void DeviceRules::Deny(const DeviceRule& rule) {
  if (rule.type == 'a') {
    exceptions_.clear();
    allow_by_default_ = false;
  } else if (allow_by_default_) {
    AddException(rule);
  } else {
    RemoveException(rule);
  }
}

void DeviceRules::Restrict(const DeviceRules& parent) {
  if (!parent.allow_by_default_) {
    if (allow_by_default_) {
      exceptions_.clear();
      allow_by_default_ = false;
    }
    std::erase_if(exceptions_, [&](const DeviceRule& e) { return !parent.Covers(e); });
    return;
  }
  for (const DeviceRule& e : parent.exceptions_) {
    if (allow_by_default_) {
      AddException(e);
    } else {
      std::erase_if(exceptions_, [&](const DeviceRule& mine) { return !parent.Covers(mine); });
    }
  }
}

std::string DeviceRules::List() const {
  if (allow_by_default_) return "a *:* rwm\n";
  std::string text;
  for (const DeviceRule& e : exceptions_) text += e.Text();
  return text;
}

}  // namespace msentry::cgroup
