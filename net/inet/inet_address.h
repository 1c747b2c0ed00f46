// Addresses of AF_INET and AF_INET6 on a loopback that lives in the sentry. Both families are kept
// as 16 bytes (IPv4 in ::ffff:a.b.c.d), because an IPv6 socket may talk IPv4.
#pragma once

#include <array>
#include <cstdint>

#include "net/socket.h"

namespace msentry::net {

struct InetAddress {
  std::array<uint8_t, 16> ip{};  // network order
  uint16_t port = 0;             // host order
  bool operator==(const InetAddress&) const = default;

  static InetAddress FromV4(uint32_t network_order, uint16_t port);
  // From a sockaddr of a socket of `domain`. EINVAL (too short), EAFNOSUPPORT.
  static Result<InetAddress> Parse(int domain, const Address& address);
  // As a sockaddr for a socket of `domain`.
  Address ToSockaddr(int domain) const;

  bool IsV4() const;        // ::ffff:0:0/96, or the IPv4 wildcard
  bool IsWildcard() const;  // 0.0.0.0 or ::
  bool IsLoopback() const;  // 127/8 or ::1
  bool IsMulticast() const;
  static InetAddress Loopback(bool v4, uint16_t port);
  static InetAddress Wildcard(bool v4, uint16_t port);
};

}  // namespace msentry::net
