#include "platform/systrap/xstate.h"

#include <cpuid.h>

#include "platform/systrap/stub/abi.h"
#include "sentry/base/check.h"

namespace msentry::systrap {
namespace {

// Offsets of the legacy area and the header (Intel SDM vol. 1, 13.4).
constexpr size_t kFcw = 0, kMxcsr = 24, kMxcsrMask = 28, kHeader = 512, kHeaderSize = 64;
constexpr size_t kMinSize = kHeader + kHeaderSize;
constexpr uint64_t kAmx = 3ull << 17;

uint64_t Xcr0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

XstateLayout Measure() {
  XstateLayout layout;
  layout.mask = Xcr0() & ~kAmx;
  layout.size = kMinSize;
  for (uint32_t feature = 2; feature < 63; ++feature) {
    if (!(layout.mask >> feature & 1)) continue;
    uint32_t size, offset, c, d;
    __cpuid_count(0xd, feature, size, offset, c, d);
    layout.size = std::max<size_t>(layout.size, offset + size);
  }
  CHECK(layout.size <= kFpuMax);
  alignas(16) uint8_t area[512] = {};
  asm volatile("fxsave64 %0" : "=m"(area));
  memcpy(&layout.mxcsr_mask, area + kMxcsrMask, 4);
  if (!layout.mxcsr_mask) layout.mxcsr_mask = 0xffbf;
  return layout;
}

template <typename T>
T Get(const std::vector<std::byte>& image, size_t offset) {
  T value;
  memcpy(&value, image.data() + offset, sizeof(value));
  return value;
}
template <typename T>
void Put(std::vector<std::byte>& image, size_t offset, T value) {
  memcpy(image.data() + offset, &value, sizeof(value));
}

}  // namespace

const XstateLayout& HostXstate() {
  static const XstateLayout layout = Measure();
  return layout;
}

std::vector<std::byte> SanitizeXstate(std::span<const std::byte> in) {
  const XstateLayout& host = HostXstate();
  std::vector<std::byte> image = InitialXstate();
  if (in.size() < 512) return image;
  size_t size = std::min(in.size(), host.size);
  memcpy(image.data(), in.data(), size);
  // A frame without an XSAVE header (an old-style one) holds x87 and SSE only.
  uint64_t features = 3;
  if (in.size() >= kMinSize) features = Get<uint64_t>(image, kHeader) & host.mask;
  // A feature whose bytes the guest cut off would be read from our zeros: leave it initial.
  if (in.size() < host.size) features &= 7;
  memset(image.data() + kHeader, 0, kHeaderSize);
  Put(image, kHeader, features);
  Put(image, kMxcsr, Get<uint32_t>(image, kMxcsr) & host.mxcsr_mask);
  return image;
}

std::vector<std::byte> InitialXstate() {
  std::vector<std::byte> image(HostXstate().size);
  Put<uint16_t>(image, kFcw, 0x37f);
  Put<uint32_t>(image, kMxcsr, 0x1f80);
  return image;
}

}  // namespace msentry::systrap
