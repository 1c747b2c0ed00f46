// Sockets: addresses, message headers, control messages. Constants from the host's headers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msentry::abi {

inline constexpr size_t kSockaddrMax = 128;  // sizeof(struct sockaddr_storage)

struct SockaddrUn {
  uint16_t family;
  char path[108];
};
struct SockaddrIn {
  uint16_t family;
  uint16_t port;  // network order
  uint32_t addr;  // network order
  uint8_t zero[8];
};
struct SockaddrIn6 {
  uint16_t family;
  uint16_t port;
  uint32_t flowinfo;
  uint8_t addr[16];
  uint32_t scope_id;
};
struct SockaddrNl {
  uint16_t family, pad;
  uint32_t pid, groups;
};
struct Msghdr {
  uint64_t name;
  uint32_t namelen, pad0;
  uint64_t iov, iovlen;
  uint64_t control, controllen;
  uint32_t flags, pad1;
};
struct Mmsghdr {
  Msghdr hdr;
  uint32_t len, pad;
};
struct Cmsghdr {
  uint64_t len;  // with this header
  int32_t level, type;
};
struct Ucred {
  int32_t pid;
  uint32_t uid, gid;
};
struct Linger {
  int32_t onoff, linger;
};
inline constexpr size_t kScmMaxFd = 253;

constexpr size_t CmsgAlign(size_t n) { return (n + 7) & ~size_t{7}; }

}  // namespace msentry::abi
