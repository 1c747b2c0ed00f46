#include "loader/elf.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "sentry/arch/registers.h"
#include "sentry/mm/pages.h"

namespace msentry::loader {

namespace {

constexpr size_t kMaxHeaderBytes = 65536;  // of all program headers (ELF_MIN_ALIGN rule of Linux)
constexpr size_t kMaxInterpreter = 4096;   // PATH_MAX, NUL included
constexpr uint64_t kMaxFile = uint64_t{1} << 62;

template <typename T>
Result<> ReadExactly(ReadAt read, uint64_t offset, std::span<T> out) {
  std::span<std::byte> bytes = std::as_writable_bytes(out);
  if (offset > kMaxFile) return Errno::kENOEXEC;
  while (!bytes.empty()) {
    size_t n = TRY(read(offset, bytes));
    if (n == 0) return Errno::kENOEXEC;  // truncated
    bytes = bytes.subspan(n);
    offset += n;
  }
  return Ok();
}

Result<> CheckHeader(const Elf64_Ehdr& h) {
  if (std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) return Errno::kENOEXEC;
  if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB) {
    return Errno::kENOEXEC;
  }
  if (h.e_machine != EM_X86_64 || (h.e_type != ET_EXEC && h.e_type != ET_DYN)) {
    return Errno::kENOEXEC;
  }
  if (h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phnum == 0 ||
      h.e_phnum > kMaxHeaderBytes / sizeof(Elf64_Phdr)) {
    return Errno::kENOEXEC;
  }
  return Ok();
}

Result<std::string> ReadInterpreter(ReadAt read, const Elf64_Phdr& p) {
  if (p.p_filesz < 2 || p.p_filesz > kMaxInterpreter) return Errno::kENOEXEC;
  std::string path(p.p_filesz, '\0');
  TRY(ReadExactly(read, p.p_offset, std::span<char>(path)));
  if (path.back() != '\0') return Errno::kENOEXEC;
  path.resize(std::strlen(path.c_str()));
  return path;
}

int Protection(uint32_t flags) {
  return ((flags & PF_R) != 0 ? PROT_READ : 0) | ((flags & PF_W) != 0 ? PROT_WRITE : 0) |
         ((flags & PF_X) != 0 ? PROT_EXEC : 0);
}

// Checks one PT_LOAD against what the header promises (elf.h).
Result<ElfSegment> CheckSegment(const Elf64_Phdr& p) {
  if (p.p_filesz > p.p_memsz || p.p_memsz > arch::kTaskSize ||
      p.p_vaddr > arch::kTaskSize - p.p_memsz) {
    return Errno::kENOEXEC;
  }
  if (p.p_offset > kMaxFile || p.p_filesz > kMaxFile - p.p_offset) return Errno::kENOEXEC;
  if (p.p_vaddr % arch::kPageSize != p.p_offset % arch::kPageSize) {
    // Without file bytes nothing is mapped from the file, so nothing has to line up.
    if (p.p_filesz != 0) return Errno::kENOEXEC;
  }
  return ElfSegment{p.p_vaddr, p.p_memsz, p.p_offset, p.p_filesz, Protection(p.p_flags)};
}

// Where the program finds its own headers: PT_PHDR, else the segment that holds them.
uint64_t HeaderAddress(const Elf64_Ehdr& h, std::span<const Elf64_Phdr> headers) {
  for (const Elf64_Phdr& p : headers) {
    if (p.p_type == PT_PHDR) return p.p_vaddr;
  }
  for (const Elf64_Phdr& p : headers) {
    if (p.p_type == PT_LOAD && p.p_offset <= h.e_phoff && h.e_phoff - p.p_offset < p.p_filesz) {
      return h.e_phoff - p.p_offset + p.p_vaddr;
    }
  }
  return 0;
}

}  // namespace

uint64_t ElfImage::begin() const { return mm::PageDown(segments.front().address); }

uint64_t ElfImage::end() const {
  uint64_t end = 0;
  for (const ElfSegment& s : segments) end = std::max(end, s.address + s.memory_size);
  return mm::PageUp(end);
}

Result<ElfImage> ParseElf(ReadAt read) {
  Elf64_Ehdr header;
  TRY(ReadExactly(read, 0, std::span(&header, 1)));
  TRY(CheckHeader(header));
  std::vector<Elf64_Phdr> headers(header.e_phnum);
  TRY(ReadExactly(read, header.e_phoff, std::span(headers)));

  ElfImage image;
  image.position_independent = header.e_type == ET_DYN;
  image.entry = header.e_entry;
  image.program_header_count = header.e_phnum;
  for (const Elf64_Phdr& p : headers) {
    switch (p.p_type) {
      case PT_INTERP:
        // Linux takes the first and ignores the others.
        if (image.interpreter.empty()) image.interpreter = TRY(ReadInterpreter(read, p));
        break;
      case PT_GNU_STACK:
        image.executable_stack = (p.p_flags & PF_X) != 0;
        break;
      case PT_LOAD: {
        if (p.p_memsz == 0) break;
        if (p.p_align > 1) {
          // Linux ignores an alignment that is no power of two; so large a one places nothing.
          bool power = (p.p_align & (p.p_align - 1)) == 0;
          if (power && p.p_align < arch::kTaskSize / 2) {
            image.alignment = std::max(image.alignment, p.p_align);
          }
        }
        ElfSegment segment = TRY(CheckSegment(p));
        if (!image.segments.empty() && segment.address < image.segments.back().address) {
          return Errno::kENOEXEC;
        }
        image.segments.push_back(segment);
        break;
      }
      default:
        break;
    }
  }
  if (image.segments.empty()) return Errno::kENOEXEC;
  image.program_headers = HeaderAddress(header, headers);
  return image;
}

}  // namespace msentry::loader
