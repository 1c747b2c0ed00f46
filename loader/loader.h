// The program loader: what execve(2) does between the path walk and the first instruction.
// ELF64 executables (fixed and PIE, static and with an interpreter) and `#!` scripts.
//
//   loader::Program program = TRY(loader::Prepare(ctx, file, "/bin/script", argv, open));
//   ... the kernel decides the new credentials from program.executable (set-id bits) ...
//   auto [space, thread] = TRY(platform.NewProcess());
//   auto mm = mm::MemoryManager::Create(space, mm::Layout::Choose(randomize, stack_limit));
//   loader::Entry entry = TRY(loader::Load(program, environment, *mm, *thread));
//
// Prepare touches no address space, so most bad programs fail before one is made. Load fails with
// the address space half made: the caller drops it. Both run on the fiber of the exec'ing task and
// may park (the files are the gofer's). Files are hostile: every number in them is checked.
//
// Sources: elf(5), System V ABI, Linux's Documentation/ABI for the auxiliary vector, execve(2).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "loader/elf.h"
#include "platform/platform.h"
#include "sentry/base/result.h"
#include "sentry/mm/memory_manager.h"
#include "vfs/context.h"
#include "vfs/file_description.h"

namespace msentry::loader {

// Opens `path` for execution as open_exec does: walk from the task's root and cwd, regular file,
// execute permission, not on a noexec mount (kEACCES).
using OpenExecutable =
    absl::FunctionRef<Result<RefPtr<vfs::FileDescription>>(std::string_view path)>;

// A program that can be loaded: scripts resolved, headers checked.
struct Program {
  RefPtr<vfs::FileDescription> executable;   // the ELF file; what /proc/PID/exe shows
  RefPtr<vfs::FileDescription> interpreter;  // its PT_INTERP; null when there is none
  ElfImage elf;
  ElfImage interpreter_elf;
  std::string name;               // the path given to execve: AT_EXECFN
  std::string comm;               // last component of `name`, at most 15 bytes
  std::vector<std::string> argv;  // with a script's interpreter in front
};

// kENOEXEC for what is not a program, kELOOP for scripts nested too deep, kELIBBAD for a bad ELF
// interpreter, kEINVAL for more than one, kEACCES/kENOENT... from `open`.
Result<Program> Prepare(const vfs::OpContext& ctx, RefPtr<vfs::FileDescription> file,
                        std::string_view name, std::vector<std::string> argv, OpenExecutable open);

struct Environment {
  std::vector<std::string> envp;
  uint32_t uid = 0, euid = 0, gid = 0, egid = 0;
  bool secure = false;  // AT_SECURE: set-id or capabilities were gained
  mm::MemoryLimits limits;
  platform::Platform::Vdso vdso;  // AT_SYSINFO_EHDR when length is not 0
  vfs::Location root;             // the new process's root: paths in /proc/PID/maps
};

struct Entry {
  uint64_t instruction_pointer = 0;
  uint64_t stack_pointer = 0;
};

// kE2BIG when the strings exceed a quarter of the stack limit or one exceeds 128 KiB; kENOMEM.
Result<Entry> Load(const Program& program, const Environment& environment, mm::MemoryManager& mm,
                   platform::GuestThread& thread);

// Limits of execve(2): one string, NUL included, and all of argv and envp with their pointers.
inline constexpr size_t kMaxArgString = 128 << 10;
uint64_t MaxArgBytes(uint64_t stack_limit);

}  // namespace msentry::loader
