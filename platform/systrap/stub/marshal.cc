// What the stub copies into the slot before it asks: what the arguments of a call point to, as far
// as the sentry's table of calls says. Memory that cannot be read is simply not there; the sentry
// then looks itself, and finds out the same.
#include "platform/systrap/stub/sys.h"

using namespace msentry::systrap;  // NOLINT: freestanding blob

namespace {

// abi::ArgKind's values (checked in systrap.cc).
constexpr uint8_t kPath = kMarshalPath, kBufferIn = kMarshalBufferIn, kStructIn = kMarshalStructIn;

uint64_t Argument(const SlotRegs& r, int i) {
  switch (i) {
    case 0:
      return r.rdi;
    case 1:
      return r.rsi;
    case 2:
      return r.rdx;
    case 3:
      return r.r10;
    case 4:
      return r.r8;
    default:
      return r.r9;
  }
}

uint64_t Copy(Slot* slot, uint64_t offset, uint64_t from, uint64_t bytes) {
  return bytes - stub_copy(SlotByte(slot, offset), reinterpret_cast<const void*>(from), bytes);
}

bool HasNul(const char* text, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) {
    if (!text[i]) return true;
  }
  return false;
}

// In steps that do not cross a page, since the string may end before one that is not there.
uint32_t CopyPath(Slot* slot, uint64_t offset, uint64_t from, uint64_t room) {
  uint64_t done = 0, step = 256;
  if (room > 4096) room = 4096;
  while (done < room) {
    uint64_t n = 4096 - ((from + done) & 4095);
    if (n > step) n = step;
    if (n > room - done) n = room - done;
    uint64_t got = Copy(slot, offset + done, from + done, n);
    if (HasNul(SlotByte(slot, offset + done), got) || got < n)
      return static_cast<uint32_t>(done + got);
    done += got;
    step = 1024;
  }
  return static_cast<uint32_t>(done);
}

}  // namespace

// rt_sigreturn: the frame, which begins at the stack pointer, FPU state included.
static void MarshalFrame(Slot* slot) {
  for (int i = 1; i < 6; ++i) slot->arg_length[i] = 0;
  slot->arg_offset[0] = kArgsOffset;
  slot->arg_length[0] =
      static_cast<uint32_t>(Copy(slot, kArgsOffset, slot->regs.rsp, ControlPage()->signal_frame));
  slot->marshalled = 1;
}

extern "C" void stub_marshal(Slot* slot) {
  const Control* control = ControlPage();
  uint64_t number = slot->regs.orig_rax;
  if (number == kNrRtSigreturn) {
    MarshalFrame(slot);
    return;
  }
  if (number >= kMarshalCalls || !control->marshalled[number]) {
    slot->marshalled = 0;
    return;
  }
  uint64_t used = 0;
  bool bulk_taken = false;
  for (int i = 0; i < 6; ++i) {
    const MarshalArg& spec = control->marshal[number][i];
    uint64_t from = Argument(slot->regs, i);
    uint32_t length = 0;
    uint64_t offset = kArgsOffset + used;
    if (from != 0) {
      if (spec.kind == kPath) {
        length = CopyPath(slot, offset, from, kArgsMax - used);
        used += (length + 7) & ~7ull;
      } else if (spec.kind == kStructIn) {
        if (spec.size <= kArgsMax - used) {
          length = static_cast<uint32_t>(Copy(slot, offset, from, spec.size));
          used += (length + 7) & ~7ull;
        }
      } else if (spec.kind == kBufferIn) {
        // The first one is the data and goes to the bulk window; a second one is a socket address
        // or its like and lies with the small arguments.
        uint64_t bytes = Argument(slot->regs, spec.length_arg % 6);
        uint64_t room = bulk_taken ? kArgsMax - used : kBulkMax;
        if (bytes > room) bytes = room;
        if (!bulk_taken) offset = kBulkOffset;
        length = static_cast<uint32_t>(Copy(slot, offset, from, bytes));
        if (bulk_taken) used += (length + 7) & ~7ull;
        bulk_taken = true;
      }
    }
    slot->arg_offset[i] = static_cast<uint32_t>(offset);
    slot->arg_length[i] = length;
  }
  slot->marshalled = 1;
}
