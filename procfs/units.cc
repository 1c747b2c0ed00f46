#include "procfs/units.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace msentry::procfs {

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
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
