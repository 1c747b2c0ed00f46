// The program of the call fuzzer: an ELF file without a single instruction, whose memory holds what
// calls need to point at. Addresses are fixed, so that an input can name them in one byte.
#pragma once

#include <cstdint>
#include <string>

namespace msentry::syscalls {

inline constexpr uint64_t kImage = 0x400000;
inline constexpr uint64_t kScratch = 0x418000;  // zero; inputs write here
inline constexpr uint64_t kScratchBytes = 0x8000;

// `index` below 32.
inline constexpr uint64_t PathAddress(uint64_t index) { return kImage + 0x1000 + index * 64; }
inline constexpr uint64_t StructAddress(uint64_t index) { return kImage + 0x2000 + index * 128; }

// Which struct is where, for the seeds.
enum StructIndex : uint8_t {
  kTimespec,     // one millisecond
  kIntervals,    // itimerspec of the same, twice
  kAction,       // sigaction with a handler
  kSignalSet,    // SIGUSR1
  kUnixAddress,  // "/s"
  kInetAddress,  // 127.0.0.1:8080
  kInet6Address,
  kIovec,    // two, into scratch memory
  kMessage,  // msghdr with kUnixAddress, kIovec and kControl
  kControl,  // SCM_RIGHTS with fd 3
  kPoll,     // fds 3 and 4
  kEpoll,    // EPOLLIN
  kLimit,    // rlimit
  kFlock,    // the first four bytes, for writing
  kClone,    // clone_args
  kOpenHow,
  kArgv,       // execve: "/init", null
  kTermios,    // as the kernel fills it in
  kRobust,     // a robust list that is a circle
  kSigevent,   // SIGUSR1
  kStack,      // sigaltstack in scratch memory
  kCapHeader,  // version 3
  kFdSet,      // fds 3 and 4
  kAltIovec,   // one that is longer than memory
};

// The bytes of the file.
std::string GuestImage();

}  // namespace msentry::syscalls
