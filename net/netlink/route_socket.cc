#include "net/netlink/route_socket.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

namespace msentry::net {
namespace {

constexpr int kLoopbackIndex = 1;
constexpr size_t kMaxRequest = 65536;
constexpr size_t kMaxAnswers = 1 << 20;  // bytes that may wait

// Builds messages: a header, a fixed part, attributes; lengths are filled in at the end.
class Builder {
 public:
  Builder(uint32_t sequence, uint32_t port, uint16_t flags)
      : sequence_(sequence), port_(port), flags_(flags) {}

  template <typename Fixed>
  void Begin(uint16_t type, const Fixed& fixed) {
    start_ = text_.size();
    const nlmsghdr header{0, type, flags_, sequence_, port_};
    Append(&header, sizeof header);
    Append(&fixed, sizeof fixed);
  }
  void Attribute(uint16_t type, const void* data, size_t size) {
    const rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(size)), type};
    Append(&attribute, sizeof attribute);
    Append(data, size);
  }
  template <typename T>
  void Attribute(uint16_t type, const T& value) {
    Attribute(type, &value, sizeof value);
  }
  void End() {
    const uint32_t length = static_cast<uint32_t>(text_.size() - start_);
    std::memcpy(&text_[start_], &length, sizeof length);
  }
  std::string Take() { return std::move(text_); }

 private:
  void Append(const void* data, size_t size) {
    text_.append(static_cast<const char*>(data), size);
    text_.resize(NLMSG_ALIGN(text_.size()), '\0');
  }
  const uint32_t sequence_, port_;
  const uint16_t flags_;
  std::string text_;
  size_t start_ = 0;
};

void AddLink(Builder& out) {
  ifinfomsg link{};
  link.ifi_type = ARPHRD_LOOPBACK;
  link.ifi_index = kLoopbackIndex;
  link.ifi_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING | 0x10000;  // IFF_LOWER_UP
  out.Begin(RTM_NEWLINK, link);
  out.Attribute(IFLA_IFNAME, "lo", 3);
  out.Attribute<uint32_t>(IFLA_TXQLEN, 1000);
  out.Attribute<uint8_t>(IFLA_OPERSTATE, 0);
  out.Attribute<uint8_t>(IFLA_LINKMODE, 0);
  out.Attribute<uint32_t>(IFLA_MTU, 65536);
  out.Attribute(IFLA_QDISC, "noqueue", 8);
  const uint8_t zero[6] = {};
  out.Attribute(IFLA_ADDRESS, zero, sizeof zero);
  out.Attribute(IFLA_BROADCAST, zero, sizeof zero);
  out.End();
}

void AddAddress(Builder& out, int family) {
  const ifaddrmsg address{static_cast<uint8_t>(family),
                          static_cast<uint8_t>(family == AF_INET ? 8 : 128), IFA_F_PERMANENT,
                          RT_SCOPE_HOST, kLoopbackIndex};
  const ifa_cacheinfo forever{0xffffffff, 0xffffffff, 0, 0};
  out.Begin(RTM_NEWADDR, address);
  if (family == AF_INET) {
    const uint32_t ip = htonl(INADDR_LOOPBACK);
    out.Attribute(IFA_ADDRESS, ip);
    out.Attribute(IFA_LOCAL, ip);
    out.Attribute(IFA_LABEL, "lo", 3);
  } else {
    out.Attribute(IFA_ADDRESS, in6addr_loopback);
  }
  out.Attribute(IFA_CACHEINFO, forever);
  out.Attribute<uint32_t>(IFA_FLAGS, IFA_F_PERMANENT);
  out.End();
}

}  // namespace

RouteSocket::RouteSocket(vfs::Location location, int flags, int type)
    : Socket(std::move(location), flags, AF_NETLINK, type, NETLINK_ROUTE), answers_(queue_) {}

uint32_t RouteSocket::Port(const vfs::OpContext& ctx) {
  uint32_t expected = 0;
  port_.compare_exchange_strong(expected, static_cast<uint32_t>(ctx.tgid));
  return port_.load();
}

Result<> RouteSocket::Bind(const vfs::WalkContext& walk, const Address& address) {
  if (address.size() < sizeof(abi::SockaddrNl) || address.family() != AF_NETLINK) {
    return Errno::kEINVAL;
  }
  const auto name = address.As<abi::SockaddrNl>();
  // Groups only bring news, and there never is any.
  if (name.pid != 0) {
    port_.store(name.pid);
  } else {
    Port(walk.op);
  }
  return Ok();
}

Result<> RouteSocket::Connect(const vfs::WalkContext& walk, const Address& address) {
  if (address.size() < sizeof(abi::SockaddrNl) || address.family() != AF_NETLINK) {
    return Errno::kEINVAL;
  }
  if (address.As<abi::SockaddrNl>().pid != 0) return Errno::kECONNREFUSED;
  Port(walk.op);
  return Ok();
}

Result<Address> RouteSocket::LocalAddress() {
  return Address::Of(abi::SockaddrNl{AF_NETLINK, 0, port_.load(), 0});
}

Result<Address> RouteSocket::PeerAddress() {
  return Address::Of(abi::SockaddrNl{AF_NETLINK, 0, 0, 0});
}

Result<std::string> RouteSocket::GetFamilyOption(int level, int name) {
  if (level != SOL_NETLINK || name > NETLINK_GET_STRICT_CHK) return Errno::kENOPROTOOPT;
  return IntOption(0);
}

Result<> RouteSocket::SetFamilyOption(const vfs::OpContext&, int level, int name,
                                      std::string_view) {
  // They change what news and errors look like; the answers below are the same with all of them.
  if (level != SOL_NETLINK || name < NETLINK_ADD_MEMBERSHIP || name > NETLINK_GET_STRICT_CHK) {
    return Errno::kENOPROTOOPT;
  }
  return Ok();
}

Result<> RouteSocket::Answer(std::string_view request, uint32_t port) {
  nlmsghdr header;
  std::memcpy(&header, request.data(), sizeof header);
  const uint8_t family =
      request.size() > sizeof header ? static_cast<uint8_t>(request[sizeof header]) : AF_UNSPEC;
  const bool dump = (header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  Builder out(header.nlmsg_seq, port, dump ? NLM_F_MULTI : 0);
  int error = 0;
  switch (header.nlmsg_type) {
    case RTM_GETLINK:
      AddLink(out);
      break;
    case RTM_GETADDR:
      if (!dump) error = -EOPNOTSUPP;
      if (family != AF_INET6) AddAddress(out, AF_INET);
      if (family != AF_INET) AddAddress(out, AF_INET6);
      break;
    case RTM_GETROUTE:
    case RTM_GETRULE:
    case RTM_GETNEIGH:
      if (!dump) error = -ENETUNREACH;
      break;  // none
    default:
      // Everything else changes something, or asks for what is configured out.
      error = header.nlmsg_type < RTM_BASE   ? 0
              : (header.nlmsg_type & 3) == 2 ? -EOPNOTSUPP
                                             : -EPERM;
  }
  if (header.nlmsg_type < RTM_BASE) return Ok();  // NLMSG_NOOP and such
  const RefPtr<Queue> nobody;
  const auto push = [&](std::string data) {
    Message message;
    message.data = std::move(data);
    message.from = Address::Of(abi::SockaddrNl{AF_NETLINK, 0, 0, 0});
    Result<> pushed = answers_.Push(std::move(message), kMaxAnswers, nobody);
    return pushed.ok() ? pushed : Result<>(Errno::kENOBUFS);
  };
  if (error == 0 && dump) {
    std::string links = out.Take();
    if (!links.empty()) TRY(push(std::move(links)));
    Builder done(header.nlmsg_seq, port, NLM_F_MULTI);
    done.Begin(NLMSG_DONE, int32_t{0});
    done.End();
    return push(done.Take());
  }
  if (error == 0) TRY(push(out.Take()));
  if (error != 0 || (header.nlmsg_flags & NLM_F_ACK)) {
    Builder answer(header.nlmsg_seq, port, 0);
    const nlmsgerr body{error, header};
    answer.Begin(NLMSG_ERROR, body);
    answer.End();
    return push(answer.Take());
  }
  return Ok();
}

Result<size_t> RouteSocket::Send(const vfs::WalkContext& walk, mm::IoSequence& from,
                                 SendArgs& args) {
  if (args.to != nullptr && args.to->As<abi::SockaddrNl>().pid != 0) return Errno::kECONNREFUSED;
  if (from.size() > kMaxRequest) return Errno::kEMSGSIZE;
  std::string requests(from.size(), '\0');
  const size_t size = requests.size();
  if (TRY(from.CopyIn(std::as_writable_bytes(std::span(requests)))) < size) return Errno::kEFAULT;
  const uint32_t port = Port(walk.op);
  std::string_view rest = requests;
  while (rest.size() >= sizeof(nlmsghdr)) {
    uint32_t length;
    std::memcpy(&length, rest.data(), sizeof length);
    if (length < sizeof(nlmsghdr) || length > rest.size()) break;
    TRY(Answer(rest.substr(0, length), port));
    rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(length), rest.size()));
  }
  return size;
}

Result<size_t> RouteSocket::Receive(const vfs::OpContext&, mm::IoSequence& to, ReceiveArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  std::optional<Message> message = TRY(args.flags & MSG_PEEK ? answers_.Peek() : answers_.Pop());
  if (!message) return size_t{0};
  const size_t size = message->data.size();
  const size_t n = std::min(size, to.size());
  TRY(to.CopyOut(std::as_bytes(std::span(message->data.data(), n))));
  if (n < size) args.message_flags |= MSG_TRUNC;
  args.from = message->from;
  return args.flags & MSG_TRUNC ? size : n;
}

sched::EventMask RouteSocket::Readiness(sched::EventMask mask) {
  sched::EventMask ready = sched::kOut | sched::kWrNorm;
  if (!answers_.empty()) ready |= sched::kIn | sched::kRdNorm;
  return ready & mask;
}

Result<RefPtr<Socket>> MakeNetlinkSocket(const vfs::OpContext& ctx, int flags, int type,
                                         int protocol) {
  if (type != SOCK_RAW && type != SOCK_DGRAM) return Errno::kESOCKTNOSUPPORT;
  if (protocol != NETLINK_ROUTE) return Errno::kEPROTONOSUPPORT;
  return RefPtr<Socket>(MakeRef<RouteSocket>(MakeSocketLocation(ctx), flags, type));
}

}  // namespace msentry::net
