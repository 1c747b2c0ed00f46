#include "net/inet/inet_address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

namespace msentry::net {
namespace {

constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

InetAddress InetAddress::FromV4(uint32_t network_order, uint16_t port) {
  InetAddress a;
  std::copy(kMapped.begin(), kMapped.end(), a.ip.begin());
  std::memcpy(&a.ip[12], &network_order, 4);
  a.port = port;
  return a;
}

Result<InetAddress> InetAddress::Parse(int domain, const Address& address) {
  if (domain == AF_INET) {
    if (address.size() < sizeof(abi::SockaddrIn)) return Errno::kEINVAL;
    const auto in = address.As<abi::SockaddrIn>();
    // AF_UNSPEC with the wildcard passes for AF_INET, for old programs.
    if (in.family != AF_INET && !(in.family == AF_UNSPEC && in.addr == 0)) {
      return Errno::kEAFNOSUPPORT;
    }
    return FromV4(in.addr, ntohs(in.port));
  }
  constexpr size_t kMinimum = 24;  // SIN6_LEN_RFC2133: without the scope
  if (address.size() < kMinimum) return Errno::kEINVAL;
  const auto in6 = address.As<abi::SockaddrIn6>();
  if (in6.family != AF_INET6) return Errno::kEAFNOSUPPORT;
  InetAddress a;
  std::copy(in6.addr, in6.addr + 16, a.ip.begin());
  a.port = ntohs(in6.port);
  return a;
}

Address InetAddress::ToSockaddr(int domain) const {
  if (domain == AF_INET) {
    abi::SockaddrIn in{};
    in.family = AF_INET;
    in.port = htons(port);
    if (IsV4()) std::memcpy(&in.addr, &ip[12], 4);
    return Address::Of(in);
  }
  abi::SockaddrIn6 in6{};
  in6.family = AF_INET6;
  in6.port = htons(port);
  std::copy(ip.begin(), ip.end(), in6.addr);
  return Address::Of(in6);
}

bool InetAddress::IsV4() const { return std::equal(kMapped.begin(), kMapped.end(), ip.begin()); }

bool InetAddress::IsWildcard() const {
  const size_t from = IsV4() ? 12 : 0;
  return std::all_of(ip.begin() + from, ip.end(), [](uint8_t b) { return b == 0; });
}

bool InetAddress::IsLoopback() const {
  if (IsV4()) return ip[12] == 127;
  return std::all_of(ip.begin(), ip.end() - 1, [](uint8_t b) { return b == 0; }) && ip[15] == 1;
}

bool InetAddress::IsMulticast() const {
  return IsV4() ? (ip[12] & 0xf0) == 0xe0 || (ip[12] == 255 && ip[15] == 255) : ip[0] == 0xff;
}

InetAddress InetAddress::Loopback(bool v4, uint16_t port) {
  if (v4) return FromV4(htonl(INADDR_LOOPBACK), port);
  InetAddress a;
  a.ip[15] = 1;
  a.port = port;
  return a;
}

InetAddress InetAddress::Wildcard(bool v4, uint16_t port) {
  if (v4) return FromV4(0, port);
  InetAddress a;
  a.port = port;
  return a;
}

}  // namespace msentry::net
