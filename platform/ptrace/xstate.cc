#include "platform/ptrace/xstate.h"

#include <cstdint>
#include <cstring>

namespace msentry::platform::pt {
namespace {

// Offsets of the legacy area and of the header (Intel SDM vol. 1, 13.4).
constexpr size_t kFcw = 0, kMxcsr = 24, kMxcsrMask = 28, kHeader = 512, kMinSize = 576;
constexpr uint64_t kX87Sse = 3;

uint64_t Xcr0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

uint32_t HostMxcsrMask() {
  alignas(16) std::byte area[512] = {};
  asm volatile("fxsave64 %0" : "=m"(area));
  uint32_t mask;
  memcpy(&mask, area + kMxcsrMask, sizeof(mask));
  return mask ? mask : 0xffbf;
}

}  // namespace

std::vector<std::byte> InitialXstate(size_t size) {
  std::vector<std::byte> image(size);
  const uint16_t fcw = 0x37f;
  const uint32_t mxcsr = 0x1f80;
  memcpy(image.data() + kFcw, &fcw, sizeof(fcw));
  memcpy(image.data() + kMxcsr, &mxcsr, sizeof(mxcsr));
  return image;
}

std::vector<std::byte> SanitizeXstate(std::span<const std::byte> in, size_t size) {
  std::vector<std::byte> image = InitialXstate(size);
  if (in.size() < kHeader) return image;
  memcpy(image.data(), in.data(), std::min(in.size(), size));
  uint64_t features = kX87Sse;  // without a header: an FXSAVE image
  if (in.size() >= kMinSize) memcpy(&features, in.data() + kHeader, sizeof(features));
  features &= Xcr0();
  // A feature whose bytes were cut off would be read from our zeros: leave it initial.
  if (in.size() < size) features &= kX87Sse | 4;
  memset(image.data() + kHeader, 0, kMinSize - kHeader);
  memcpy(image.data() + kHeader, &features, sizeof(features));
  uint32_t mxcsr;
  memcpy(&mxcsr, image.data() + kMxcsr, sizeof(mxcsr));
  mxcsr &= HostMxcsrMask();
  memcpy(image.data() + kMxcsr, &mxcsr, sizeof(mxcsr));
  return image;
}

}  // namespace msentry::platform::pt
