// Fuzz target: the ELF and script parsers over arbitrary bytes. With libFuzzer, or driven by
// elf_fuzz_test.cc.
#include <cstring>

#include "loader/elf.h"
#include "loader/script.h"
#include "sentry/arch/registers.h"
#include "sentry/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msentry;
  using namespace msentry::loader;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (Result<ScriptLine> script = ParseScriptLine(bytes.substr(0, kHeadBytes))) {
    CHECK(!script->interpreter.empty());
  }
  Result<ElfImage> image =
      ParseElf([&](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
        if (offset >= size) return size_t{0};
        size_t n = std::min<size_t>(out.size(), size - offset);
        std::memcpy(out.data(), data + offset, n);
        return n;
      });
  if (!image) return 0;
  // What elf.h promises.
  CHECK(!image->segments.empty());
  CHECK((image->alignment & (image->alignment - 1)) == 0);
  CHECK(image->begin() <= image->end() && image->end() <= arch::kTaskSize);
  uint64_t last = 0;
  for (const ElfSegment& s : image->segments) {
    CHECK(s.file_size <= s.memory_size && s.memory_size > 0);
    CHECK(s.address >= last && s.address + s.memory_size <= arch::kTaskSize);
    CHECK(s.file_size == 0 || (s.address - s.offset) % arch::kPageSize == 0);
    last = s.address;
  }
  return 0;
}
