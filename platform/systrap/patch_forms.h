// Which call sites can be turned into jumps, and the code that does it. Pure: bytes in, bytes out.
//
// A site is named by the address of its `syscall` instruction. Two forms are patched, each by a
// five-byte `jmp rel32` to a trampoline in reach:
//
//   kMove     mov $nr,%eax ; syscall      the jump takes the place of the mov (exactly one
//             mov $nr,%rax ; syscall      instruction), `syscall` stays: a jump straight to it
//             traps
//                                         as before.
//   kFollow   syscall ; INSTRUCTION       the jump takes the place of both; INSTRUCTION is three
//                                         bytes or longer and moves to the trampoline. Code that
//                                         jumps to it meets the jump's third byte, which is chosen
//                                         so that it faults; the sentry then goes on in the
//                                         trampoline.
//
// Trampolines:  [mov $nr,%eax]  lea return(%rip),%rcx  movabs $stub_entry,%r11  jmp *%r11
//               [INSTRUCTION    jmp behind it]
// rcx and r11 are what `syscall` clobbers anyway.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace msentry::systrap {

enum class PatchForm : uint8_t { kMove, kFollow };

struct PatchSite {
  PatchForm form = PatchForm::kMove;
  uint64_t call = 0;         // address of the syscall instruction
  uint64_t start = 0;        // where the jump goes
  uint8_t moved = 0;         // kMove: bytes of the mov; kFollow: bytes of INSTRUCTION
  uint8_t original[8] = {};  // the bytes at `start`

  uint64_t after() const { return call + 2; }  // where the call returns to
};
inline constexpr uint64_t kJumpSize = 5;
inline constexpr uint8_t kJumpOpcode = 0xe9;
inline constexpr uint64_t kTrampolineSize = 32;
inline constexpr uint64_t kCodeBefore = 10, kCodeAfter = 12;  // bytes looked at around `call`

// `code`: the bytes from call - kCodeBefore to call + kCodeAfter; `number`: the call trapped there.
std::optional<PatchSite> RecognizeSite(std::span<const uint8_t> code, uint64_t call,
                                       uint64_t number);

// True if a trampoline at `address` is in reach of the site and suits it.
bool TrampolineFits(const PatchSite& site, uint64_t address);

struct PatchCode {
  uint8_t jump[8];  // the eight bytes at site.start afterwards
  uint8_t trampoline[kTrampolineSize];
  uint64_t resume = 0;  // what stands for after() while the site is patched
};
PatchCode MakePatch(const PatchSite& site, uint64_t trampoline);

// Where a thread stopped inside a trampoline stands from the guest's point of view.
uint64_t GuestAddressInTrampoline(const PatchSite& site, uint64_t offset);

}  // namespace msentry::systrap
