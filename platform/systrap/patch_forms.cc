#include "platform/systrap/patch_forms.h"

#include <cstring>

#include "platform/systrap/stub/abi.h"
#include "sentry/base/check.h"

namespace msentry::systrap {
namespace {

// Sizes of the trampoline's parts.
constexpr uint64_t kLea = 7, kEnter = 13;  // movabs + jmp

bool RegisterOperands(uint8_t modrm) { return modrm >= 0xc0; }

// Bytes of the instruction at `p` if it is one that can be moved: it does not depend on its
// address, and is three to seven bytes long (or a return before padding). These are what compilers
// and hand-written wrappers put behind a system call.
uint8_t MovableLength(const uint8_t* p) {
  bool rex = (p[0] & 0xf8) == 0x48 || p[0] == 0x41 || p[0] == 0x44 || p[0] == 0x45;
  const uint8_t* q = rex ? p + 1 : p;
  uint8_t prefix = rex ? 1 : 0;
  switch (q[0]) {
    case 0x3d:  // cmp $imm32, %eax|%rax
      return static_cast<uint8_t>(prefix + 5);
    case 0x89:  // mov %reg, %reg
    case 0x8b:
    case 0x85:  // test
    case 0x31:  // xor
    case 0x63:  // movslq
      return rex && RegisterOperands(q[1]) ? 3 : 0;
    case 0x83:  // add, cmp ... $imm8, %reg
      return RegisterOperands(q[1]) ? static_cast<uint8_t>(prefix + 3) : 0;
    default:
      break;
  }
  // ret, and what follows can only be padding up to the next function.
  if (p[0] == 0xc3) {
    bool nops = (p[1] == 0x90 && p[2] == 0x90) || (p[1] == 0xcc && p[2] == 0xcc) ||
                (p[1] == 0x0f && p[2] == 0x1f) ||
                (p[1] == 0x66 && (p[2] == 0x90 || p[2] == 0x2e || p[2] == 0x66 || p[2] == 0x0f));
    return nops ? 1 : 0;
  }
  return 0;
}

// A byte that faults when it is executed as the first of an instruction: undefined in 64-bit mode,
// or privileged, or port I/O.
bool FaultsAlone(uint8_t byte) {
  switch (byte) {
    case 0x06:
    case 0x07:
    case 0x0e:
    case 0x16:
    case 0x17:
    case 0x1e:
    case 0x1f:
    case 0x27:
    case 0x2f:
    case 0x37:
    case 0x3f:
    case 0x60:
    case 0x61:
    case 0x82:
    case 0x9a:
    case 0xce:
    case 0xd4:
    case 0xea:
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f:
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
    case 0xf4:
    case 0xfa:
    case 0xfb:
      return true;
    default:
      return false;
  }
}

// The mov before the call, if the bytes there are one and nothing longer that merely ends like it.
uint8_t MoveLength(std::span<const uint8_t> code, uint64_t number) {
  const uint8_t* call = code.data() + kCodeBefore;
  uint32_t immediate;
  memcpy(&immediate, call - 4, 4);
  if (immediate != number) return 0;
  if (call[-7] == 0x48 && call[-6] == 0xc7 && call[-5] == 0xc0) return 7;
  if (call[-5] != 0xb8) return 0;
  uint8_t before = call[-6];
  if ((before & 0xf0) == 0x40 || before == 0x66 || before == 0xf2 || before == 0xf3) return 0;
  // An instruction with a displacement of 0xb8 and an immediate: mov, cmp, imul to memory.
  for (int i : {-7, -8}) {
    if (call[i] == 0xc7 || call[i] == 0x81 || call[i] == 0x69) return 0;
  }
  return 5;
}

int64_t Displacement(const PatchSite& site, uint64_t address) {
  return static_cast<int64_t>(address - (site.start + kJumpSize));
}

class Writer {
 public:
  explicit Writer(PatchCode& code, uint64_t at) : code_(code), at_(at) {}
  void Bytes(const uint8_t* bytes, size_t n) {
    CHECK(size_ + n <= kTrampolineSize);
    memcpy(code_.trampoline + size_, bytes, n);
    size_ += n;
  }
  void Bytes(std::initializer_list<uint8_t> bytes) { Bytes(bytes.begin(), bytes.size()); }
  void Relative(uint64_t to) {
    int32_t d = static_cast<int32_t>(static_cast<int64_t>(to - (here() + 4)));
    Bytes(reinterpret_cast<const uint8_t*>(&d), 4);
  }
  void Absolute(uint64_t value) { Bytes(reinterpret_cast<const uint8_t*>(&value), 8); }
  uint64_t here() const { return at_ + size_; }
  void Fill() {
    while (size_ < kTrampolineSize) Bytes({0xcc});
  }

 private:
  PatchCode& code_;
  const uint64_t at_;
  size_t size_ = 0;
};

}  // namespace

std::optional<PatchSite> RecognizeSite(std::span<const uint8_t> code, uint64_t call,
                                       uint64_t number) {
  CHECK(code.size() == kCodeBefore + kCodeAfter);
  const uint8_t* at = code.data() + kCodeBefore;
  if (at[0] != 0x0f || at[1] != 0x05) return std::nullopt;
  PatchSite site;
  site.call = call;
  // The second form first: where instructions begin is certain there, the call was executed.
  if (uint8_t length = MovableLength(at + 2)) {
    site.form = PatchForm::kFollow;
    site.start = call;
    site.moved = length;
    memcpy(site.original, at, 8);
    return site;
  }
  if (uint8_t length = MoveLength(code, number)) {
    site.form = PatchForm::kMove;
    site.start = call - length;
    site.moved = length;
    memcpy(site.original, at - length, 8);
    return site;
  }
  return std::nullopt;
}

bool TrampolineFits(const PatchSite& site, uint64_t address) {
  // Some slack: the way back, from the trampoline's end, must reach too.
  constexpr int64_t kReach = (int64_t{1} << 31) - 4096;
  int64_t d = Displacement(site, address);
  if (d > kReach || d < -kReach) return false;
  return site.form == PatchForm::kMove || FaultsAlone(static_cast<uint8_t>(d >> 8));
}

PatchCode MakePatch(const PatchSite& site, uint64_t trampoline) {
  PatchCode code{};
  memcpy(code.jump, site.original, 8);
  code.jump[0] = kJumpOpcode;
  int32_t d = static_cast<int32_t>(Displacement(site, trampoline));
  memcpy(code.jump + 1, &d, 4);
  Writer w(code, trampoline);
  code.resume = site.after();
  if (site.form == PatchForm::kMove) {
    w.Bytes(site.original, site.moved);
  } else {
    code.resume = trampoline + kLea + kEnter;
  }
  w.Bytes({0x48, 0x8d, 0x0d});
  w.Relative(code.resume);
  w.Bytes({0x49, 0xbb});
  w.Absolute(kEntry);
  w.Bytes({0x41, 0xff, 0xe3});
  if (site.form == PatchForm::kFollow) {
    w.Bytes(site.original + 2, site.moved > 6 ? 6 : site.moved);
    CHECK(site.moved <= 6);
    if (site.original[2] != 0xc3) {
      w.Bytes({0xe9});
      w.Relative(site.after() + site.moved);
    }
  }
  w.Fill();
  return code;
}

uint64_t GuestAddressInTrampoline(const PatchSite& site, uint64_t offset) {
  if (site.form == PatchForm::kMove) return offset == 0 ? site.start : site.call;
  constexpr uint64_t kTail = kLea + kEnter;
  if (offset < kTail) return site.call;
  if (offset == kTail) return site.after();
  return site.after() + site.moved;
}

}  // namespace msentry::systrap
