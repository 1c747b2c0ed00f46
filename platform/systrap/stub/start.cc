// The first stub process: runs once, right after execve of the blob, before any guest memory is
// there and before the filter. All other stub processes are its forks.
#include "platform/systrap/stub/sys.h"

using namespace msentry::systrap;  // NOLINT: freestanding blob

namespace {

struct KernelSigaction {
  uint64_t handler, flags, restorer, mask;
};

void Ignore(int signal) {
  KernelSigaction action = {1 /* SIG_IGN */, 0, 0, 0};
  Sys(kNrRtSigaction, signal, reinterpret_cast<uint64_t>(&action), 0, 8);  // not KILL and STOP
}

void Catch(int signal) {
  // Faults: SIGINFO | ONSTACK | RESTORER | NODEFER, empty mask: see stub_handler. The interrupt
  // signal blocks itself while its handler runs, or the frames of a storm would fill the signal
  // stack.
  uint64_t flags = 4 | 0x08000000 | 0x04000000;
  if (signal != kInterruptSignal) flags |= 0x40000000;
  KernelSigaction action = {reinterpret_cast<uint64_t>(&stub_handler), flags,
                            reinterpret_cast<uint64_t>(&stub_restorer), 0};
  if (Sys(kNrRtSigaction, signal, reinterpret_cast<uint64_t>(&action), 0, 8)) {
    Sys(kNrExitGroup, 10);
  }
}

void Map(uint64_t address, uint64_t size, int protection, int flags, int fd) {
  if (IsError(Sys(kNrMmap, address, size, protection, flags | 0x10 /* MAP_FIXED */, fd, 0))) {
    Sys(kNrExitGroup, 11);
  }
}

uint64_t VdsoAddress(const uint64_t* p) {
  p += 1 + *p + 1;  // argc, argv
  while (*p++) {
  }  // envp
  for (; p[0]; p += 2) {
    if (p[0] == 33 /* AT_SYSINFO_EHDR */) return p[1];
  }
  return 0;
}

}  // namespace

// Descriptors the sentry gave us: kDoorbellFd, 1 = the control page, 2 = our slots.
extern "C" void stub_main(const uint64_t* initial_stack) {
  Sys(kNrPrctl, 1 /* PR_SET_PDEATHSIG */, 9);
  Sys(kNrPrctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0);
  Map(kControl, kControlSize, 1, 1 /* MAP_SHARED */, 1);
  Map(kSlots, kSlotsSize, 3, 1, 2);
  Sys(kNrMadvise, kSlots, kSlotsSize, 10 /* MADV_DONTFORK */);
  Map(kPrivate, kPrivateSize, 3, 0x4022 /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */, -1);
  Sys(kNrMadvise, kPrivate, kPrivateSize, 15 /* MADV_NOHUGEPAGE */);
  Sys(kNrClose, 1);
  Sys(kNrClose, 2);
  // Signals from outside are not for guests.
  for (int signal = 1; signal <= 64; ++signal) Ignore(signal);
  const int caught[] = {4, 5, 7, 8, 11, 31, kInterruptSignal};  // ILL TRAP BUS FPE SEGV SYS, ours
  for (int signal : caught) Catch(signal);
  Slot* slot = SlotAt(0);
  slot->value = static_cast<int64_t>(VdsoAddress(initial_stack));
  struct {
    uint64_t sp, flags, size;
  } alt = {kPrivate, 0, kAltStackSize};
  Sys(kNrSigaltstack, reinterpret_cast<uint64_t>(&alt), 0);
  Sys(kNrArchPrctl, kArchSetGs, reinterpret_cast<uint64_t>(slot));
  stub_switch_and_request(slot, kDone, 0);
}
