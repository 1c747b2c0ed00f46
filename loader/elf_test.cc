#include "loader/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "sentry/base/scoped_fd.h"

namespace msentry::loader {
namespace {

// An ELF file to damage.
struct File {
  Elf64_Ehdr header{};
  std::vector<Elf64_Phdr> headers;
  std::string rest;

  File() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = 0x401000;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    headers.push_back({.p_type = PT_LOAD,
                       .p_flags = PF_R | PF_X,
                       .p_offset = 0,
                       .p_vaddr = 0x400000,
                       .p_filesz = 0x1100,
                       .p_memsz = 0x1100,
                       .p_align = 0x1000});
    headers.push_back({.p_type = PT_LOAD,
                       .p_flags = PF_R | PF_W,
                       .p_offset = 0x1100,
                       .p_vaddr = 0x402100,
                       .p_filesz = 0x10,
                       .p_memsz = 0x5000,
                       .p_align = 0x1000});
    rest = "/lib64/ld.so";
  }
  std::string Bytes() const {
    Elf64_Ehdr h = header;
    if (h.e_phnum == 0) h.e_phnum = headers.size();
    std::string s(reinterpret_cast<const char*>(&h), sizeof(h));
    s.append(reinterpret_cast<const char*>(headers.data()), headers.size() * sizeof(Elf64_Phdr));
    return s + rest + '\0';
  }
  Result<ElfImage> Parse() const { return ParseBytes(Bytes()); }
  static Result<ElfImage> ParseBytes(const std::string& bytes) {
    return ParseElf([&](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
      if (offset >= bytes.size()) return size_t{0};
      size_t n = std::min<size_t>(out.size(), bytes.size() - offset);
      std::memcpy(out.data(), bytes.data() + offset, n);
      return n;
    });
  }
};

TEST(Elf, AFixedProgram) {
  ElfImage image = MUST(File().Parse());
  EXPECT_FALSE(image.position_independent);
  EXPECT_EQ(image.entry, 0x401000u);
  EXPECT_EQ(image.program_headers, 0x400040u);
  ASSERT_EQ(image.segments.size(), 2u);
  EXPECT_EQ(image.segments[1].protection, PROT_READ | PROT_WRITE);
  EXPECT_EQ(image.begin(), 0x400000u);
  EXPECT_EQ(image.end(), 0x408000u);
}

TEST(Elf, TheShellOfThisMachine) {
  ScopedFd fd(open("/bin/sh", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  ElfImage image = MUST(ParseElf([&](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    ssize_t n = pread(fd.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0) return FromHost(errno);
    return static_cast<size_t>(n);
  }));
  EXPECT_TRUE(image.position_independent);
  EXPECT_EQ(image.interpreter, "/lib64/ld-linux-x86-64.so.2");
  EXPECT_FALSE(image.executable_stack);
}

TEST(Elf, TruncatedAnywhereIsNoProgram) {
  File file;
  file.headers.insert(
      file.headers.begin(),
      {.p_type = PT_INTERP, .p_offset = 64 + 3 * sizeof(Elf64_Phdr), .p_filesz = 13});
  std::string bytes = file.Bytes();
  EXPECT_EQ(MUST(File::ParseBytes(bytes)).interpreter, "/lib64/ld.so");
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(File::ParseBytes(bytes.substr(0, n)).error(), Errno::kENOEXEC) << n;
  }
}

void ExpectRefused(absl::FunctionRef<void(File&)> damage, const char* what) {
  File file;
  damage(file);
  Result<ElfImage> r = file.Parse();
  ASSERT_FALSE(r.ok()) << what;
  EXPECT_EQ(r.error(), Errno::kENOEXEC) << what;
}

TEST(Elf, DamagedHeadersAreRefused) {
  ExpectRefused([](File& f) { f.header.e_ident[0] = 'x'; }, "magic");
  ExpectRefused([](File& f) { f.header.e_ident[EI_CLASS] = ELFCLASS32; }, "class");
  ExpectRefused([](File& f) { f.header.e_ident[EI_DATA] = ELFDATA2MSB; }, "byte order");
  ExpectRefused([](File& f) { f.header.e_machine = EM_AARCH64; }, "machine");
  ExpectRefused([](File& f) { f.header.e_type = ET_REL; }, "type");
  ExpectRefused([](File& f) { f.header.e_phentsize = 1; }, "header size");
  ExpectRefused([](File& f) { f.header.e_phnum = 0xffff; }, "header count");
  ExpectRefused([](File& f) { f.header.e_phoff = ~uint64_t{0}; }, "header offset");
  ExpectRefused(
      [](File& f) {
        f.headers.clear();
        f.header.e_phnum = 0;
      },
      "no headers");
  ExpectRefused([](File& f) { f.headers[0].p_type = f.headers[1].p_type = PT_NOTE; }, "no load");
  ExpectRefused([](File& f) { f.headers[0].p_filesz = 0x2000; }, "more file than memory");
  ExpectRefused([](File& f) { f.headers[0].p_vaddr = 0x400123; }, "not congruent");
  ExpectRefused([](File& f) { f.headers[1].p_memsz = ~uint64_t{0}; }, "huge memory");
  ExpectRefused([](File& f) { f.headers[1].p_vaddr = ~uint64_t{0} - 0xeff; }, "wrapping address");
  ExpectRefused([](File& f) { f.headers[1].p_offset = ~uint64_t{0} - 0xeff; }, "wrapping offset");
  ExpectRefused([](File& f) { std::swap(f.headers[0], f.headers[1]); }, "descending");
  ExpectRefused(
      [](File& f) {
        f.headers[0].p_type = PT_INTERP;
        f.headers[0].p_filesz = 1 << 20;
      },
      "long interpreter");
  ExpectRefused(
      [](File& f) {
        f.headers[0].p_type = PT_INTERP;
        f.headers[0].p_filesz = 5;
      },
      "interpreter without an end");
}

TEST(Elf, AbsurdAlignmentsAreIgnored) {
  File file;
  file.headers[0].p_align = 3;
  file.headers[1].p_align = uint64_t{1} << 63;
  EXPECT_EQ(MUST(file.Parse()).alignment, 4096u);
  file.headers[1].p_align = 0x200000;
  EXPECT_EQ(MUST(file.Parse()).alignment, 0x200000u);
}

TEST(Elf, ExecutableStackOnlyOnRequest) {
  File file;
  file.headers.push_back({.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W});
  EXPECT_FALSE(MUST(file.Parse()).executable_stack);
  file.headers.back().p_flags |= PF_X;
  EXPECT_TRUE(MUST(file.Parse()).executable_stack);
}

}  // namespace
}  // namespace msentry::loader
