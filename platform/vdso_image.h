// Symbols of a vDSO, an ELF shared object that lies in memory as its file does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace msentry::platform {

// Where in `image` the function `name` begins. Nothing in the image is trusted: a malformed one has
// no symbols.
std::optional<uint64_t> FindVdsoSymbol(std::span<const std::byte> image, std::string_view name);

}  // namespace msentry::platform
