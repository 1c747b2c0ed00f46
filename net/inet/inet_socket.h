// AF_INET and AF_INET6 over the sandbox's own loopback: TCP as connections inside the sentry, UDP
// as queues of datagrams. There is no other network: whatever is not loopback is ENETUNREACH.
#pragma once

#include "net/connection.h"
#include "net/endpoint.h"
#include "net/inet/port_table.h"

namespace msentry::net {

class InetSocket : public Socket {
 public:
  InetSocket(vfs::Location location, int flags, int domain, int type, int protocol);
  ~InetSocket() override;

  Result<> Bind(const vfs::WalkContext& walk, const Address& address) override;
  Result<Address> LocalAddress() override;
  Result<Address> PeerAddress() override;
  Result<std::string> GetFamilyOption(int level, int name) override;
  Result<> SetFamilyOption(const vfs::OpContext& ctx, int level, int name,
                           std::string_view value) override;

 protected:
  PortTable& Ports() { return type() == SOCK_STREAM ? PortTable::Tcp() : PortTable::Udp(); }
  bool v4() const { return domain() == AF_INET; }
  // Binds to the wildcard and a port of our choice unless bound.
  Result<> BindIfNeeded(const vfs::OpContext& ctx);
  Result<> BindTo(const vfs::OpContext& ctx, InetAddress address);
  // Where something for `address` goes, with the local address it comes from. ENETUNREACH for what
  // is not on the loopback.
  Result<InetAddress> Route(const InetAddress& to) const;

  const RefPtr<Endpoint> endpoint_;
  Mutex mutex_;
  InetAddress local_ ABSL_GUARDED_BY(mutex_);
  std::optional<InetAddress> remote_ ABSL_GUARDED_BY(mutex_);
  bool bound_ ABSL_GUARDED_BY(mutex_) = false;
  bool in_table_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> v6_only_{false};
  // Options that are kept and shown; on a loopback without packets they change nothing a program
  // can see.
  absl::flat_hash_map<uint64_t, int> kept_ ABSL_GUARDED_BY(mutex_);
};

class TcpSocket : public InetSocket {
 public:
  using InetSocket::InetSocket;
  ~TcpSocket() override;

  Result<> Listen(const vfs::OpContext& ctx, int backlog) override;
  Result<RefPtr<Socket>> Accept(const vfs::OpContext& ctx, int flags) override;
  Result<> Connect(const vfs::WalkContext& walk, const Address& address) override;
  Result<size_t> Send(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args) override;
  Result<size_t> Receive(const vfs::OpContext& ctx, mm::IoSequence& to, ReceiveArgs& args) override;
  Result<> Shutdown(int how) override;
  int TakeError() override;
  bool listening() const override { return endpoint_->listening(); }
  size_t Unread() override;
  size_t Unsent() override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  Result<std::string> GetFamilyOption(int level, int name) override;

 private:
  struct Peer {
    RefPtr<Connection> connection;
    int side = 0;
  };
  Peer GetPeer();
  Peer peer_ ABSL_GUARDED_BY(mutex_);
};

class UdpSocket : public InetSocket {
 public:
  using InetSocket::InetSocket;

  Result<> Connect(const vfs::WalkContext& walk, const Address& address) override;
  Result<size_t> Send(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args) override;
  Result<size_t> Receive(const vfs::OpContext& ctx, mm::IoSequence& to, ReceiveArgs& args) override;
  Result<> Shutdown(int how) override;
  int TakeError() override { return error_.exchange(0); }
  size_t Unread() override { return endpoint_->inbox().FirstSize(); }
  sched::EventMask Readiness(sched::EventMask mask) override;

 private:
  std::atomic<int> error_{0};  // ECONNREFUSED of an earlier send, on connected sockets
  std::atomic<bool> send_shut_{false}, receive_shut_{false};
};

// socket(2). EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM (raw sockets).
Result<RefPtr<Socket>> MakeInetSocket(const vfs::OpContext& ctx, int flags, int domain, int type,
                                      int protocol);

}  // namespace msentry::net
