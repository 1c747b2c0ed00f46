// The ELF64 headers of a program, parsed and checked. No file, no memory: a pure function of bytes,
// so that it can be fuzzed (elf_fuzz.cc).
//
//   ElfImage elf = TRY(ParseElf([&](uint64_t offset, std::span<std::byte> out) { ... }));
//
// After a success there is a segment, and each has: file size at most memory size, an end within
// guest memory, an offset congruent to its address modulo the page size (if it has file bytes); the
// addresses ascend, the alignment is a power of two. They may overlap. Nothing else is trusted.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sentry/base/result.h"

namespace msentry::loader {

struct ElfSegment {
  uint64_t address = 0;      // p_vaddr
  uint64_t memory_size = 0;  // p_memsz
  uint64_t offset = 0;       // p_offset
  uint64_t file_size = 0;    // p_filesz
  int protection = 0;        // PROT_*
};

struct ElfImage {
  bool position_independent = false;  // ET_DYN
  uint64_t entry = 0;
  uint64_t program_headers = 0;  // their address (relative when position independent)
  uint16_t program_header_count = 0;
  std::string interpreter;        // PT_INTERP; empty when there is none
  bool executable_stack = false;  // PT_GNU_STACK with PF_X
  uint64_t alignment = 4096;      // the largest p_align of a PT_LOAD
  std::vector<ElfSegment> segments;

  uint64_t begin() const;  // page-aligned start of the first segment
  uint64_t end() const;    // page-aligned end of the last
};

// Reads `out.size()` bytes at `offset` of the file; the count is short at its end.
using ReadAt = absl::FunctionRef<Result<size_t>(uint64_t offset, std::span<std::byte> out)>;

// kENOEXEC: not an ELF64 file for x86-64, or one that Linux would refuse.
Result<ElfImage> ParseElf(ReadAt read);

}  // namespace msentry::loader
