// The XSAVE image ptrace takes (NT_X86_XSTATE, standard format): the kernel refuses reserved bits,
// and what we pass may come from a guest's signal frame.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace msentry::platform::pt {

// `in` made acceptable, `size` bytes: unknown features, reserved header and MXCSR bits cleared,
// what is missing left in its initial state.
std::vector<std::byte> SanitizeXstate(std::span<const std::byte> in, size_t size);
// The state execve(2) leaves.
std::vector<std::byte> InitialXstate(size_t size);

}  // namespace msentry::platform::pt
