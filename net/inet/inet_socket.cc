#include "net/inet/inet_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace msentry::net {
namespace {

uint64_t OptionKey(int level, int name) {
  return static_cast<uint64_t>(level) << 32 | static_cast<uint32_t>(name);
}

// Options of IP, IPv6 and TCP that are kept, with their defaults; nullopt: there is none such.
std::optional<int> DefaultOption(int level, int name) {
  switch (level) {
    case IPPROTO_IP:
      switch (name) {
        case IP_TTL:
          return 64;
        case IP_MTU_DISCOVER:
          return IP_PMTUDISC_WANT;
        case IP_MULTICAST_TTL:
        case IP_MULTICAST_LOOP:
          return 1;
        case IP_TOS:
        case IP_PKTINFO:
        case IP_RECVTTL:
        case IP_RECVTOS:
        case IP_RECVERR:
        case IP_FREEBIND:
        case IP_BIND_ADDRESS_NO_PORT:
        case IP_RECVORIGDSTADDR:
          return 0;
        case IP_MTU:
          return 65536;
      }
      break;
    case IPPROTO_IPV6:
      switch (name) {
        case IPV6_UNICAST_HOPS:
          return 64;
        case IPV6_MULTICAST_HOPS:
        case IPV6_MULTICAST_LOOP:
        case IPV6_MTU_DISCOVER:
          return 1;
        case IPV6_RECVPKTINFO:
        case IPV6_RECVHOPLIMIT:
        case IPV6_RECVERR:
        case IPV6_TCLASS:
        case IPV6_RECVTCLASS:
          return 0;
      }
      break;
    case IPPROTO_TCP:
      switch (name) {
        case TCP_NODELAY:
        case TCP_CORK:
        case TCP_DEFER_ACCEPT:
        case TCP_USER_TIMEOUT:
        case TCP_FASTOPEN:
        case TCP_QUICKACK:
        case TCP_LINGER2:
        case TCP_WINDOW_CLAMP:
        case TCP_NOTSENT_LOWAT:
          return 0;
        case TCP_KEEPIDLE:
          return 7200;
        case TCP_KEEPINTVL:
          return 75;
        case TCP_KEEPCNT:
          return 9;
        case TCP_SYNCNT:
          return 6;
        case TCP_MAXSEG:
          return 65483;
      }
      break;
  }
  return std::nullopt;
}

}  // namespace

InetSocket::InetSocket(vfs::Location location, int flags, int domain, int type, int protocol)
    : Socket(std::move(location), flags, domain, type, protocol),
      endpoint_(MakeRef<Endpoint>(type, queue_)),
      local_(InetAddress::Wildcard(domain == AF_INET, 0)) {
  // Only its family is looked at: what accepted sockets are.
  endpoint_->set_name(local_.ToSockaddr(domain));
}

InetSocket::~InetSocket() {
  endpoint_->Die();
  bool in_table;
  {
    MutexLock lock(mutex_);
    in_table = in_table_;
  }
  if (in_table) Ports().Unbind(endpoint_);
}

Result<> InetSocket::BindTo(const vfs::OpContext& ctx, InetAddress address) {
  {
    MutexLock lock(mutex_);
    if (bound_) return Errno::kEINVAL;
  }
  PortTable::Claim claim{.address = address,
                         .v6_only = v6_only_.load(),
                         .reuse_address = reuse_address_.load(),
                         .reuse_port = reuse_port_.load(),
                         .uid = ctx.creds.euid};
  TRY(Ports().Bind(&claim, endpoint_));
  MutexLock lock(mutex_);
  bound_ = in_table_ = true;
  local_ = claim.address;
  return Ok();
}

Result<> InetSocket::BindIfNeeded(const vfs::OpContext& ctx) {
  {
    MutexLock lock(mutex_);
    if (bound_) return Ok();
  }
  return BindTo(ctx, InetAddress::Wildcard(v4(), 0));
}

Result<> InetSocket::Bind(const vfs::WalkContext& walk, const Address& address) {
  const InetAddress wanted = TRY(InetAddress::Parse(domain(), address));
  if (!wanted.IsWildcard() && !wanted.IsLoopback()) return Errno::kEADDRNOTAVAIL;
  if (v6_only_.load() && wanted.IsV4()) return Errno::kEINVAL;
  constexpr uint16_t kFirstUnprivileged = 1024;
  if (wanted.port != 0 && wanted.port < kFirstUnprivileged &&
      !walk.op.creds.HasCap(auth::Cap::kNetBindService)) {
    return Errno::kEACCES;
  }
  return BindTo(walk.op, wanted);
}

Result<InetAddress> InetSocket::Route(const InetAddress& to) const {
  InetAddress target = to;
  // The wildcard as a destination means this host.
  if (to.IsWildcard()) target = InetAddress::Loopback(to.IsV4() || v4(), to.port);
  if (!target.IsLoopback()) return Errno::kENETUNREACH;
  if (target.IsV4() && v6_only_.load()) return Errno::kENETUNREACH;
  return target;
}

Result<Address> InetSocket::LocalAddress() {
  MutexLock lock(mutex_);
  return local_.ToSockaddr(domain());
}

Result<Address> InetSocket::PeerAddress() {
  MutexLock lock(mutex_);
  if (!remote_) return Errno::kENOTCONN;
  return remote_->ToSockaddr(domain());
}

Result<std::string> InetSocket::GetFamilyOption(int level, int name) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && !v4()) return IntOption(v6_only_.load());
  const std::optional<int> value = DefaultOption(level, name);
  if (!value || (level == IPPROTO_IPV6 && v4()) ||
      (level == IPPROTO_TCP && type() != SOCK_STREAM)) {
    return level == IPPROTO_TCP && type() != SOCK_STREAM ? Errno::kEOPNOTSUPP : Errno::kENOPROTOOPT;
  }
  MutexLock lock(mutex_);
  auto it = kept_.find(OptionKey(level, name));
  return IntOption(it != kept_.end() ? it->second : *value);
}

Result<> InetSocket::SetFamilyOption(const vfs::OpContext&, int level, int name,
                                     std::string_view value) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && !v4()) {
    MutexLock lock(mutex_);
    if (bound_) return Errno::kEINVAL;
    v6_only_.store(TRY(ParseIntOption(value)) != 0);
    return Ok();
  }
  if (!DefaultOption(level, name) || (level == IPPROTO_IPV6 && v4()) ||
      (level == IPPROTO_TCP && type() != SOCK_STREAM)) {
    return Errno::kENOPROTOOPT;
  }
  // Some of these are a byte in IP's tradition.
  const int number =
      value.size() == 1 ? static_cast<uint8_t>(value[0]) : TRY(ParseIntOption(value));
  MutexLock lock(mutex_);
  kept_[OptionKey(level, name)] = number;
  return Ok();
}

Result<RefPtr<Socket>> MakeInetSocket(const vfs::OpContext& ctx, int flags, int domain, int type,
                                      int protocol) {
  switch (type) {
    case SOCK_STREAM:
      if (protocol != 0 && protocol != IPPROTO_TCP) return Errno::kEPROTONOSUPPORT;
      return RefPtr<Socket>(
          MakeRef<TcpSocket>(MakeSocketLocation(ctx), flags, domain, type, IPPROTO_TCP));
    case SOCK_DGRAM:
      if (protocol != 0 && protocol != IPPROTO_UDP) return Errno::kEPROTONOSUPPORT;
      return RefPtr<Socket>(
          MakeRef<UdpSocket>(MakeSocketLocation(ctx), flags, domain, type, IPPROTO_UDP));
    case SOCK_RAW:
      return ctx.creds.HasCap(auth::Cap::kNetRaw) ? Errno::kEPROTONOSUPPORT : Errno::kEPERM;
  }
  return Errno::kESOCKTNOSUPPORT;
}

}  // namespace msentry::net
