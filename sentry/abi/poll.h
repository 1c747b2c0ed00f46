// poll(2), select(2), epoll(7), and the records of signalfd(2). Constants from the host's headers.
#pragma once

#include <cstdint>

namespace msentry::abi {

struct PollFd {
  int32_t fd;
  int16_t events, revents;
};
struct __attribute__((packed)) EpollEvent {
  uint32_t events;
  uint64_t data;
};
// The sixth argument of pselect6(2) points to this.
struct SigsetArg {
  uint64_t pointer, size;
};
struct SignalfdSiginfo {
  uint32_t signo;
  int32_t error, code;
  uint32_t pid, uid;
  int32_t fd;
  uint32_t tid, band, overrun, trapno;
  int32_t status, int_value;
  uint64_t ptr, utime, stime, addr;
  uint16_t addr_lsb, pad2;
  int32_t syscall;
  uint64_t call_addr;
  uint32_t arch;
  uint8_t pad[28];
};

}  // namespace msentry::abi
