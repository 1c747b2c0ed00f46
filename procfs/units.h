// How /proc writes numbers and names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/result.h"

namespace msentry::procfs {

// USER_HZ: the unit of CPU times in /proc.
inline constexpr int64_t kNsPerTick = 10'000'000;
inline constexpr int64_t ClockTicks(int64_t ns) { return ns / kNsPerTick; }

// A set of CPUs, bit n of word n / 64, as a mask in groups of 32 bits ("3", "1,ffffffff") wide
// enough for `cpus`, and as a list ("0-3,5").
std::string CpuMask(const std::vector<uint64_t>& set, int cpus);
std::string CpuList(const std::vector<uint64_t>& set);

// Without blanks and newlines at either end.
std::string_view Trim(std::string_view text);
// A whole number with blanks around it, as kstrtoull and kstrtoll take it: base 0 also takes 0x and
// leading zeros (octal). EINVAL, ERANGE.
Result<uint64_t> ParseUnsigned(std::string_view text, int base);
Result<int64_t> ParseSigned(std::string_view text, int base);
// A resource limit: a number, or "unlimited".
std::string FormatLimit(uint64_t limit);
// Newline and backslash as \n and \\ (the Name line of status).
std::string EscapeName(std::string_view name);
// Space, tab, newline, backslash and '#' in octal: paths in mounts and maps.
std::string EscapePath(std::string_view path, std::string_view special = " \t\n\\#");

}  // namespace msentry::procfs
