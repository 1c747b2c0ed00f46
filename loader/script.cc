#include "loader/script.h"

namespace msentry::loader {

namespace {
constexpr std::string_view kBlanks = " \t";
}

Result<ScriptLine> ParseScriptLine(std::string_view head) {
  if (!head.starts_with("#!")) return Errno::kENOEXEC;
  bool whole_file = head.size() < kHeadBytes;
  std::string_view line = head.substr(2);
  size_t end = line.find_first_of(std::string_view("\n\0", 2));
  bool cut = end == std::string_view::npos && !whole_file;
  line = line.substr(0, end);

  size_t first = line.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return Errno::kENOEXEC;
  line.remove_prefix(first);
  size_t path_end = line.find_first_of(kBlanks);
  // A cut line may have lost part of an argument, but not of the path.
  if (path_end == std::string_view::npos && cut) return Errno::kENOEXEC;

  ScriptLine script;
  script.interpreter = line.substr(0, path_end);
  if (path_end == std::string_view::npos) return script;
  line.remove_prefix(path_end);
  size_t argument = line.find_first_not_of(kBlanks);
  if (argument == std::string_view::npos) return script;
  size_t last = line.find_last_not_of(kBlanks);
  script.argument = std::string(line.substr(argument, last + 1 - argument));
  return script;
}

}  // namespace msentry::loader
