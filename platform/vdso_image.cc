#include "platform/vdso_image.h"

#include <elf.h>

#include <cstring>

namespace msentry::platform {
namespace {

template <typename T>
std::optional<T> ReadAt(std::span<const std::byte> image, uint64_t offset) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}

bool NameIs(std::span<const std::byte> image, uint64_t offset, std::string_view name) {
  if (offset > image.size() || image.size() - offset <= name.size()) return false;
  const std::byte* text = image.data() + offset;
  return memcmp(text, name.data(), name.size()) == 0 && text[name.size()] == std::byte{0};
}

}  // namespace

std::optional<uint64_t> FindVdsoSymbol(std::span<const std::byte> image, std::string_view name) {
  const auto header = ReadAt<Elf64_Ehdr>(image, 0);
  if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  for (uint64_t i = 0; i < header->e_shnum; ++i) {
    const auto symbols = ReadAt<Elf64_Shdr>(image, header->e_shoff + i * sizeof(Elf64_Shdr));
    if (!symbols || symbols->sh_type != SHT_DYNSYM) continue;
    const auto strings =
        ReadAt<Elf64_Shdr>(image, header->e_shoff + symbols->sh_link * sizeof(Elf64_Shdr));
    if (!strings) return std::nullopt;
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= symbols->sh_size; at += sizeof(Elf64_Sym)) {
      const auto symbol = ReadAt<Elf64_Sym>(image, symbols->sh_offset + at);
      if (!symbol) return std::nullopt;
      // Addresses are offsets: the vDSO is linked to 0 and its one segment is the whole file.
      if (symbol->st_shndx != SHN_UNDEF && symbol->st_value < image.size() &&
          NameIs(image, strings->sh_offset + symbol->st_name, name)) {
        return symbol->st_value;
      }
    }
  }
  return std::nullopt;
}

}  // namespace msentry::platform
