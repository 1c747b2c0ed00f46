#include "sentry/cgroup/kind.h"

#include <iterator>

namespace msentry::cgroup {
namespace {
constexpr const char* kNames[] = {"cpu", "cpuacct", "cpuset", "devices", "job", "memory", "pids"};
static_assert(std::size(kNames) == kKinds);
}  // namespace

const char* NameOf(Kind kind) { return kNames[static_cast<int>(kind)]; }

std::optional<Kind> KindNamed(std::string_view name) {
  for (int i = 0; i < kKinds; ++i) {
    if (name == kNames[i]) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

std::string NamesOf(KindMask kinds) {
  std::string text;
  for (int i = 0; i < kKinds; ++i) {
    if (!(kinds >> i & 1)) continue;
    if (!text.empty()) text += ',';
    text += kNames[i];
  }
  return text;
}

}  // namespace msentry::cgroup
