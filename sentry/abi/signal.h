// Signal structures as Linux's x86-64 ABI has them (sigaction(2), <asm/siginfo.h>). Numbers
// (SIGKILL, SI_USER, CLD_EXITED, SA_RESTART...) come from the host's <signal.h>: they are the same.
#pragma once

#include <signal.h>

#include <cstdint>

namespace msentry::abi {

// siginfo_t, 128 bytes.
struct SigInfo {
  int32_t signo = 0;
  int32_t error = 0;
  int32_t code = 0;
  int32_t pad = 0;
  union {
    uint8_t bytes[112] = {};
    struct {  // SI_USER, SI_TKILL, SI_QUEUE
      int32_t pid;
      uint32_t uid;
      uint64_t value;
    } user;
    struct {  // SI_TIMER
      int32_t timer_id;
      int32_t overrun;
      uint64_t value;
    } timer;
    struct {  // SIGCHLD
      int32_t pid;
      uint32_t uid;
      int32_t status;
      int32_t pad;
      int64_t utime, stime;  // clock ticks
    } child;
    struct {  // SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP
      uint64_t address;
      int16_t address_lsb;
      int16_t pad[3];
      uint64_t lower, upper;
    } fault;
    struct {  // SIGIO
      int64_t band;
      int32_t fd;
    } poll;
    struct {  // SIGSYS
      uint64_t call_address;
      int32_t syscall;
      uint32_t arch;
    } sys;
  };
};
static_assert(sizeof(SigInfo) == 128);

// struct sigaction as rt_sigaction(2) takes it.
struct SigAction {
  uint64_t handler = 0;  // SIG_DFL 0, SIG_IGN 1
  uint64_t flags = 0;
  uint64_t restorer = 0;
  uint64_t mask = 0;
};
static_assert(sizeof(SigAction) == 32);

struct SigAltStack {
  uint64_t sp = 0;
  int32_t flags = 0;
  int32_t pad = 0;
  uint64_t size = 0;
};
static_assert(sizeof(SigAltStack) == 24);

inline constexpr uint64_t kSaRestorer = 0x04000000;
inline constexpr int32_t kSsAutodisarm = static_cast<int32_t>(1u << 31);

}  // namespace msentry::abi
