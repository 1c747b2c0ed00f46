// The XSAVE image of a guest thread's FPU state, standard format, as the stub saves and loads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace msentry::systrap {

struct XstateLayout {
  uint64_t mask = 0;  // features we save: the host's, without those a guest cannot be given (AMX)
  size_t size = 0;    // bytes of the image
  uint32_t mxcsr_mask = 0xffff;
};
const XstateLayout& HostXstate();

// `in`, which the guest wrote, made safe for XRSTOR: unknown features, reserved header and MXCSR
// bits cleared, what is missing left in its initial state.
std::vector<std::byte> SanitizeXstate(std::span<const std::byte> in);
// The state execve(2) leaves.
std::vector<std::byte> InitialXstate();

}  // namespace msentry::systrap
