// The seven controllers of the sandbox, in the order of their hierarchies (/proc/cgroups).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace msentry::cgroup {

enum class Kind : uint8_t { kCpu, kCpuacct, kCpuset, kDevices, kJob, kMemory, kPids };
inline constexpr int kKinds = 7;

// Bit n is Kind n.
using KindMask = uint8_t;
inline constexpr KindMask kAllKinds = (1 << kKinds) - 1;
constexpr KindMask MaskOf(Kind kind) { return static_cast<KindMask>(1 << static_cast<int>(kind)); }

// "cpu", "cpuacct"...
const char* NameOf(Kind kind);
std::optional<Kind> KindNamed(std::string_view name);
// "cpu,cpuacct"
std::string NamesOf(KindMask kinds);

}  // namespace msentry::cgroup
