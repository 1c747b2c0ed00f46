// Prepare: from a file to a program that can be loaded: scripts resolved, ELF headers checked.
#include <algorithm>

#include "loader/loader.h"
#include "loader/script.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/context.h"

namespace msentry::loader {

namespace {

constexpr int kMaxScriptDepth = 5;

Result<size_t> ReadFile(const vfs::OpContext& ctx, vfs::FileDescription& file, uint64_t offset,
                        std::span<std::byte> out) {
  mm::IoSequence to = mm::IoSequence::ForReading(out);
  return file.PRead(ctx, to, offset);
}

Result<std::string> ReadHead(const vfs::OpContext& ctx, vfs::FileDescription& file) {
  std::string head(kHeadBytes, '\0');
  size_t have = 0;
  while (have < head.size()) {
    std::span<char> rest = std::span<char>(head).subspan(have);
    size_t n = TRY(ReadFile(ctx, file, have, std::as_writable_bytes(rest)));
    if (n == 0) break;
    have += n;
  }
  head.resize(have);
  return head;
}

Result<ElfImage> ParseFile(const vfs::OpContext& ctx, vfs::FileDescription& file) {
  return ParseElf(
      [&](uint64_t offset, std::span<std::byte> out) { return ReadFile(ctx, file, offset, out); });
}

std::string CommandName(std::string_view path) {
  constexpr size_t kMax = 15;  // TASK_COMM_LEN without the NUL
  size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return std::string(path.substr(0, kMax));
}

}  // namespace

Result<Program> Prepare(const vfs::OpContext& ctx, RefPtr<vfs::FileDescription> file,
                        std::string_view name, std::vector<std::string> argv, OpenExecutable open) {
  Program program;
  program.name = name;
  // Linux starts a program that was given no argv[0] with an empty one.
  if (argv.empty()) argv.emplace_back();
  program.argv = std::move(argv);

  std::string path(name);
  for (int depth = 0;; ++depth) {
    std::string head = TRY(ReadHead(ctx, *file));
    if (!head.starts_with("#!")) break;
    if (depth == kMaxScriptDepth) return Errno::kELOOP;
    ScriptLine script = TRY(ParseScriptLine(head));
    // argv[0] is replaced by: interpreter, its argument if any, the script's path.
    std::vector<std::string> front;
    front.push_back(script.interpreter);
    if (script.argument) front.push_back(std::move(*script.argument));
    front.push_back(path);
    program.argv.erase(program.argv.begin());
    program.argv.insert(program.argv.begin(), std::make_move_iterator(front.begin()),
                        std::make_move_iterator(front.end()));
    path = std::move(script.interpreter);
    file = TRY(open(path));
  }
  program.comm = CommandName(name);
  program.elf = TRY(ParseFile(ctx, *file));
  program.executable = std::move(file);
  if (program.elf.interpreter.empty()) return program;
  program.interpreter = TRY(open(program.elf.interpreter));
  Result<ElfImage> interpreter = ParseFile(ctx, *program.interpreter);
  if (!interpreter) {
    return interpreter.error() == Errno::kENOEXEC ? Errno::kELIBBAD : interpreter.error();
  }
  program.interpreter_elf = *std::move(interpreter);
  return program;
}

}  // namespace msentry::loader
