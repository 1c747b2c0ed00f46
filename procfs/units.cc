#include "procfs/units.h"

#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace msentry::procfs {

std::string CpuMask(const std::vector<uint64_t>& set, int cpus) {
  std::string s;
  for (int group = (cpus - 1) / 32; group >= 0; --group) {
    const size_t word = static_cast<size_t>(group) / 2;
    const uint64_t bits = word < set.size() ? set[word] : 0;
    const uint32_t part = static_cast<uint32_t>(group % 2 ? bits >> 32 : bits);
    if (s.empty()) {
      // As wide as the CPUs need.
      absl::StrAppendFormat(&s, "%0*x", (cpus - group * 32 + 3) / 4, part);
    } else {
      absl::StrAppendFormat(&s, ",%08x", part);
    }
  }
  return s;
}

std::string CpuList(const std::vector<uint64_t>& set) {
  const auto has = [&](size_t i) {
    return i < set.size() * 64 && (set[i / 64] >> i % 64 & 1) != 0;
  };
  std::string s;
  for (size_t i = 0; i < set.size() * 64; ++i) {
    if (!has(i)) continue;
    const size_t first = i;
    while (has(i + 1)) ++i;
    absl::StrAppend(&s, s.empty() ? "" : ",", first);
    if (i != first) absl::StrAppend(&s, "-", i);
  }
  return s;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

Result<uint64_t> ParseUnsigned(std::string_view text, int base) {
  text = Trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (base == 0) {
    base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
      text.remove_prefix(2);
      base = 16;
    } else if (text.size() > 1 && text[0] == '0') {
      base = 8;
    }
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc::result_out_of_range) return Errno::kERANGE;
  if (error != std::errc() || end != text.data() + text.size()) return Errno::kEINVAL;
  return value;
}

Result<int64_t> ParseSigned(std::string_view text, int base) {
  text = Trim(text);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (negative && text.starts_with('+')) return Errno::kEINVAL;
  const uint64_t value = TRY(ParseUnsigned(text, base));
  if (value > uint64_t{INT64_MAX} + (negative ? 1 : 0)) return Errno::kERANGE;
  return negative ? -static_cast<int64_t>(value - 1) - 1 : static_cast<int64_t>(value);
}

std::string FormatLimit(uint64_t limit) {
  return limit == ~uint64_t{0} ? "unlimited" : absl::StrCat(limit);
}

std::string EscapeName(std::string_view name) {
  std::string s;
  for (char c : name) {
    if (c == '\n') {
      s += "\\n";
    } else if (c == '\\') {
      s += "\\\\";
    } else {
      s += c;
    }
  }
  return s;
}

std::string EscapePath(std::string_view path, std::string_view special) {
  std::string s;
  for (char c : path) {
    if (special.find(c) != std::string_view::npos) {
      absl::StrAppendFormat(&s, "\\%03o", static_cast<unsigned char>(c));
    } else {
      s += c;
    }
  }
  return s;
}

}  // namespace msentry::procfs
