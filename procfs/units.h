// How /proc writes numbers and names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msentry::procfs {

// USER_HZ: the unit of CPU times in /proc.
inline constexpr int64_t kNsPerTick = 10'000'000;
inline constexpr int64_t ClockTicks(int64_t ns) { return ns / kNsPerTick; }

// Without blanks and newlines at either end.
std::string_view Trim(std::string_view text);
// A resource limit: a number, or "unlimited".
std::string FormatLimit(uint64_t limit);
// Newline and backslash as \n and \\ (the Name line of status).
std::string EscapeName(std::string_view name);
// Space, tab, newline, backslash and '#' in octal: paths in mounts and maps.
std::string EscapePath(std::string_view path, std::string_view special = " \t\n\\#");

}  // namespace msentry::procfs
