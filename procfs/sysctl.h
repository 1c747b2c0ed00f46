// /proc/sys: the knobs (Documentation/sysctl/). One table says of each what it holds, what may be
// written and who obeys it; one inode class serves them all.
//
// A knob that nothing here obeys keeps what was written, within Linux's limits: programs that set
// it and look again must not be told otherwise. Values live in kernel::SysctlStore, one for all
// mounts.
#pragma once

#include <climits>
#include <cstdint>
#include <span>
#include <string>

#include "procfs/subject.h"

namespace msentry::procfs {

// What a knob's text is.
enum class KnobKind : uint8_t {
  kInts,      // whole numbers, tabs between them; as many as `initial` has
  kLongs,     // the same, 64 bits without sign
  kText,      // a line
  kConstant,  // never written
};

struct Knob {
  const char* path;     // below /proc/sys
  const char* initial;  // null: `read` says
  KnobKind kind = KnobKind::kConstant;
  int64_t min = INT_MIN, max = INT_MAX;  // of each number; kText: max is the longest
  uint32_t mode = 0;                     // 0: 0644, or 0444 for constants
  // What the kernel has now, when that is not what was written.
  std::string (*read)(kernel::Kernel& kernel) = nullptr;
  // The new numbers take effect; an error refuses them.
  Result<> (*apply)(kernel::Kernel& kernel, std::span<const int64_t> values) = nullptr;
  Result<> (*apply_text)(kernel::Kernel& kernel, std::string_view text) = nullptr;
};

// sysctl_table.cc
std::span<const Knob> Knobs();

// The numbers in `text` (proc_dointvec_minmax): at most `count`, blanks between them. EINVAL for
// anything else, for none, and for a number outside of [min, max].
Result<std::vector<int64_t>> ParseKnob(const Knob& knob, std::string_view text, size_t count);

}  // namespace msentry::procfs
