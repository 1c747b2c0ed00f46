// Page arithmetic for guest addresses and lengths.
#pragma once

#include <cstdint>

#include "sentry/arch/registers.h"

namespace msentry::mm {

inline constexpr uint64_t PageDown(uint64_t v) { return v & ~(arch::kPageSize - 1); }
// Wraps to 0 for the last page of the 64-bit range: callers check.
inline constexpr uint64_t PageUp(uint64_t v) { return PageDown(v + arch::kPageSize - 1); }
inline constexpr bool IsPageAligned(uint64_t v) { return v % arch::kPageSize == 0; }

}  // namespace msentry::mm
