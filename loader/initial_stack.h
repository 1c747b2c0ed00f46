// What a new program finds on its stack: argument count, argument and environment pointers, the
// auxiliary vector, and the strings they point to (System V ABI, x86-64 supplement, 3.4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentry/base/result.h"

namespace msentry::loader {

struct InitialStackArgs {
  uint64_t top = 0;  // end of the stack's mapping
  const std::vector<std::string>& argv;
  const std::vector<std::string>& envp;
  std::string_view name;             // AT_EXECFN
  std::array<uint8_t, 16> random{};  // AT_RANDOM
  // Entries that do not point into the stack; the others and AT_NULL are added.
  std::vector<std::pair<uint64_t, uint64_t>> auxv;
};

struct InitialStack {
  uint64_t pointer = 0;          // 16-byte aligned; holds argc
  std::vector<std::byte> bytes;  // of [pointer, top)
  uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  std::vector<std::pair<uint64_t, uint64_t>> auxv;  // complete
};

// kE2BIG as loader.h says; `max_bytes` is MaxArgBytes().
Result<> CheckArgumentSize(const std::vector<std::string>& argv,
                           const std::vector<std::string>& envp, std::string_view name,
                           uint64_t max_bytes);

InitialStack BuildInitialStack(const InitialStackArgs& args);

}  // namespace msentry::loader
