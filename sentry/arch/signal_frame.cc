#include "sentry/arch/signal_frame.h"

#include <cpuid.h>

#include "sentry/base/check.h"

namespace msentry::arch {
namespace {

constexpr size_t kFxsaveSize = 512;
constexpr size_t kSwReservedOffset = 464;
constexpr size_t kXsaveHeaderSize = 64;
constexpr uint64_t kUserCode = 0x33, kUserData = 0x2b;

// Flags a program may set by rt_sigreturn: AC RF OF DF TF SF ZF AF PF CF.
constexpr uint64_t kUserFlags =
    0x40000 | 0x10000 | 0x800 | 0x400 | 0x100 | 0x80 | 0x40 | 0x10 | 0x4 | 0x1;
// Cleared on entry to a handler: DF RF TF.
constexpr uint64_t kHandlerClears = 0x400 | 0x10000 | 0x100;

uint64_t EnabledFeatures() {
  static const uint64_t features = [] {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return uint64_t{3};
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
  }();
  return features;
}

}  // namespace

size_t XsaveSize() {
  static const size_t size = [] {
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d)) return kFxsaveSize + kXsaveHeaderSize;
    return size_t{b};
  }();
  return size;
}

FramePlace PlaceFrame(uint64_t top, size_t xsave_size) {
  FramePlace place;
  place.fpstate_size = xsave_size + sizeof(uint32_t);
  place.fpstate = (top - place.fpstate_size) & ~uint64_t{63};
  place.frame = ((place.fpstate - sizeof(SignalFrame)) & ~uint64_t{15}) - 8;
  return place;
}

abi::SigContext SaveContext(const Registers& r, uint64_t err, uint64_t trapno, uint64_t cr2) {
  abi::SigContext c{};
  c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11;
  c.r12 = r.r12, c.r13 = r.r13, c.r14 = r.r14, c.r15 = r.r15;
  c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx;
  c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp;
  c.rip = r.rip, c.eflags = r.eflags;
  c.cs = kUserCode;
  c.ss = kUserData;
  c.err = err, c.trapno = trapno, c.cr2 = cr2;
  return c;
}

void RestoreContext(const abi::SigContext& c, Registers& r) {
  r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11;
  r.r12 = c.r12, r.r13 = c.r13, r.r14 = c.r14, r.r15 = c.r15;
  r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx;
  r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp;
  r.rip = c.rip;
  r.eflags = (r.eflags & ~kUserFlags) | (c.eflags & kUserFlags);
  r.cs = kUserCode;
  r.ss = kUserData;
  r.orig_rax = ~uint64_t{0};
}

void EnterHandler(Registers& r, const FramePlace& place, int signo, uint64_t handler) {
  r.rdi = static_cast<uint64_t>(signo);
  r.rsi = place.frame + offsetof(SignalFrame, info);
  r.rdx = place.frame + offsetof(SignalFrame, ucontext);
  r.rax = 0;
  r.rip = handler;
  r.rsp = place.frame;
  r.cs = kUserCode;
  r.ss = kUserData;
  r.eflags &= ~kHandlerClears;
  r.orig_rax = ~uint64_t{0};
}

void SealXsave(std::vector<std::byte>& area) {
  CHECK(area.size() >= kFxsaveSize + kXsaveHeaderSize);
  abi::FpxSwBytes sw{};
  sw.magic1 = abi::kFpXstateMagic1;
  sw.xstate_size = static_cast<uint32_t>(area.size());
  sw.extended_size = sw.xstate_size + sizeof(uint32_t);
  sw.xfeatures = EnabledFeatures();
  memcpy(area.data() + kSwReservedOffset, &sw, sizeof(sw));
  const uint32_t magic2 = abi::kFpXstateMagic2;
  const size_t end = area.size();
  area.resize(end + sizeof(magic2));
  memcpy(area.data() + end, &magic2, sizeof(magic2));
}

size_t AnnouncedXsaveSize(std::span<const std::byte> fxsave, size_t own_size) {
  CHECK(fxsave.size() >= kFxsaveSize);
  abi::FpxSwBytes sw;
  memcpy(&sw, fxsave.data() + kSwReservedOffset, sizeof(sw));
  if (sw.magic1 != abi::kFpXstateMagic1 || sw.xstate_size < kFxsaveSize + kXsaveHeaderSize ||
      sw.xstate_size > own_size || sw.xstate_size > sw.extended_size) {
    return kFxsaveSize;
  }
  return sw.xstate_size;
}

void WidenFxsave(std::vector<std::byte>& area, size_t own_size) {
  CHECK(own_size >= kFxsaveSize + kXsaveHeaderSize);
  area.resize(kFxsaveSize);
  area.resize(own_size);
  const uint64_t xstate_bv = 3;  // x87 and SSE
  memcpy(area.data() + kFxsaveSize, &xstate_bv, sizeof(xstate_bv));
}

}  // namespace msentry::arch
