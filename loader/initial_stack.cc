#include "loader/initial_stack.h"

#include <elf.h>

#include <cstring>

#include "loader/loader.h"

namespace msentry::loader {

namespace {

constexpr char kPlatform[] = "x86_64";

}  // namespace

uint64_t MaxArgBytes(uint64_t stack_limit) {
  constexpr uint64_t kCeiling = uint64_t{6} << 20;  // three quarters of _STK_LIM
  constexpr uint64_t kFloor = 128 << 10;            // ARG_MAX of old
  return std::max(kFloor, std::min(kCeiling, stack_limit / 4));
}

Result<> CheckArgumentSize(const std::vector<std::string>& argv,
                           const std::vector<std::string>& envp, std::string_view name,
                           uint64_t max_bytes) {
  uint64_t total = name.size() + 1;
  for (const auto* list : {&argv, &envp}) {
    for (const std::string& s : *list) {
      if (s.size() + 1 > kMaxArgString) return Errno::kE2BIG;
      total += s.size() + 1 + sizeof(uint64_t);
    }
  }
  if (total > max_bytes) return Errno::kE2BIG;
  return Ok();
}

InitialStack BuildInitialStack(const InitialStackArgs& args) {
  // Strings, in ascending order: argv, envp, name; then a null word ends the stack. setproctitle
  // relies on argv and envp lying end to end.
  std::string strings;
  std::vector<uint64_t> argv_offsets, envp_offsets;
  for (const std::string& s : args.argv) {
    argv_offsets.push_back(strings.size());
    strings.append(s.c_str(), s.size() + 1);
  }
  uint64_t argv_size = strings.size();
  for (const std::string& s : args.envp) {
    envp_offsets.push_back(strings.size());
    strings.append(s.c_str(), s.size() + 1);
  }
  uint64_t envp_end = strings.size();
  strings.append(args.name);
  strings.append(1 + sizeof(uint64_t), '\0');

  uint64_t strings_at = args.top - strings.size();
  uint64_t platform_at = strings_at - sizeof(kPlatform);
  uint64_t random_at = (platform_at & ~uint64_t{15}) - args.random.size();

  InitialStack stack;
  stack.arg_start = strings_at;
  stack.arg_end = stack.env_start = strings_at + argv_size;
  stack.env_end = strings_at + envp_end;
  stack.auxv = args.auxv;
  stack.auxv.emplace_back(AT_RANDOM, random_at);
  stack.auxv.emplace_back(AT_EXECFN, strings_at + envp_end);
  stack.auxv.emplace_back(AT_PLATFORM, platform_at);
  stack.auxv.emplace_back(AT_NULL, 0);

  std::vector<uint64_t> words;
  words.reserve(argv_offsets.size() + envp_offsets.size() + 2 * stack.auxv.size() + 3);
  words.push_back(args.argv.size());
  for (uint64_t offset : argv_offsets) words.push_back(strings_at + offset);
  words.push_back(0);
  for (uint64_t offset : envp_offsets) words.push_back(strings_at + offset);
  words.push_back(0);
  for (auto [key, value] : stack.auxv) {
    words.push_back(key);
    words.push_back(value);
  }
  uint64_t words_size = words.size() * sizeof(uint64_t);
  stack.pointer = (random_at - words_size) & ~uint64_t{15};

  stack.bytes.resize(args.top - stack.pointer);
  auto put = [&](uint64_t at, const void* data, size_t n) {
    std::memcpy(stack.bytes.data() + (at - stack.pointer), data, n);
  };
  put(stack.pointer, words.data(), words_size);
  put(random_at, args.random.data(), args.random.size());
  put(platform_at, kPlatform, sizeof(kPlatform));
  put(strings_at, strings.data(), strings.size());
  return stack;
}

}  // namespace msentry::loader
