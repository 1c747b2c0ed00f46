// `#!` lines (execve(2), "Interpreter scripts"). A pure function of bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sentry/base/result.h"

namespace msentry::loader {

// Linux looks at this many bytes of a file to tell what it is (BINPRM_BUF_SIZE).
inline constexpr size_t kHeadBytes = 256;

struct ScriptLine {
  std::string interpreter;
  std::optional<std::string> argument;  // everything after it, as one argument
};

// `head`: the first bytes of the file, at most kHeadBytes, starting with "#!". kENOEXEC when no
// interpreter is named or its path does not end within the bytes.
Result<ScriptLine> ParseScriptLine(std::string_view head);

}  // namespace msentry::loader
