// AF_NETLINK, NETLINK_ROUTE (rtnetlink(7)): the questions that getifaddrs(3), ip(8) and language
// run-times ask about interfaces, addresses and routes. There is one interface, lo, and nothing can
// be changed.
#pragma once

#include "net/connection.h"
#include "net/socket.h"

namespace msentry::net {

class RouteSocket : public Socket {
 public:
  RouteSocket(vfs::Location location, int flags, int type);

  Result<> Bind(const vfs::WalkContext& walk, const Address& address) override;
  Result<> Connect(const vfs::WalkContext& walk, const Address& address) override;
  // Requests are answered at once: the answers wait to be received.
  Result<size_t> Send(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args) override;
  Result<size_t> Receive(const vfs::OpContext& ctx, mm::IoSequence& to, ReceiveArgs& args) override;
  Result<> Shutdown(int) override { return Errno::kEOPNOTSUPP; }
  Result<Address> LocalAddress() override;
  Result<Address> PeerAddress() override;
  Result<std::string> GetFamilyOption(int level, int name) override;
  Result<> SetFamilyOption(const vfs::OpContext& ctx, int level, int name,
                           std::string_view value) override;
  size_t Unread() override { return answers_.FirstSize(); }
  sched::EventMask Readiness(sched::EventMask mask) override;

 private:
  uint32_t Port(const vfs::OpContext& ctx);
  Result<> Answer(std::string_view request, uint32_t port);

  MessageQueue answers_;
  std::atomic<uint32_t> port_{0};  // 0: not bound yet
};

// socket(2). EPROTONOSUPPORT for other netlink protocols.
Result<RefPtr<Socket>> MakeNetlinkSocket(const vfs::OpContext& ctx, int flags, int type,
                                         int protocol);

}  // namespace msentry::net
