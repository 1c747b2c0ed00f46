// AF_UNIX sockets (unix(7)): stream, datagram and sequenced packets; names in the file system and
// in the abstract name space; descriptors and credentials as ancillary data.
#pragma once

#include "net/connection.h"
#include "net/endpoint.h"
#include "net/socket.h"

namespace msentry::net {

class UnixSocket : public Socket {
 public:
  UnixSocket(vfs::Location location, int flags, int type);
  ~UnixSocket() override;

  // socketpair(2).
  static std::pair<RefPtr<UnixSocket>, RefPtr<UnixSocket>> MakePair(const vfs::OpContext& ctx,
                                                                    int flags, int type);

  Result<> Bind(const vfs::WalkContext& walk, const Address& address) override;
  Result<> Listen(const vfs::OpContext& ctx, int backlog) override;
  Result<RefPtr<Socket>> Accept(const vfs::OpContext& ctx, int flags) override;
  Result<> Connect(const vfs::WalkContext& walk, const Address& address) override;
  Result<size_t> Send(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args) override;
  Result<size_t> Receive(const vfs::OpContext& ctx, mm::IoSequence& to, ReceiveArgs& args) override;
  Result<> Shutdown(int how) override;
  Result<Address> LocalAddress() override;
  Result<Address> PeerAddress() override;
  Result<std::string> GetFamilyOption(int level, int name) override;
  int TakeError() override;
  bool listening() const override { return endpoint_->listening(); }
  size_t Unread() override;
  size_t Unsent() override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  void VisitQueued(absl::FunctionRef<void(Socket&)> visit) override;
  void DropQueued() override;

 private:
  // The connection, or the datagram peer, and which side we are.
  struct Peer {
    RefPtr<Connection> connection;
    int side = 0;
    RefPtr<Endpoint> endpoint;
  };
  Peer GetPeer();
  void SetConnection(RefPtr<Connection> connection, int side);
  Result<> BindAbstract(const std::string& name, const Address& address);
  Result<> AutoBind();
  Result<> CheckUnbound();
  void SetBound(const Address& address, std::string abstract_name);
  Result<> ConnectStream(const vfs::WalkContext& walk, const Address& address);
  Result<> ConnectDatagram(const vfs::WalkContext& walk, const Address& address);
  Result<size_t> SendMessage(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args,
                             const Peer& peer);
  Result<size_t> ReceiveMessage(MessageQueue& queue, mm::IoSequence& to, ReceiveArgs& args);
  Address Name();

  const RefPtr<Endpoint> endpoint_;
  Mutex mutex_;
  Peer peer_ ABSL_GUARDED_BY(mutex_);
  Address name_ ABSL_GUARDED_BY(mutex_);
  std::string abstract_name_ ABSL_GUARDED_BY(mutex_);
  // Where the name is: keeps the inode, and with it our attachment, in memory while we live.
  vfs::Location bound_at_ ABSL_GUARDED_BY(mutex_);
  bool receive_shut_ ABSL_GUARDED_BY(mutex_) = false;  // datagrams
  bool send_shut_ ABSL_GUARDED_BY(mutex_) = false;
};

// socket(2). EPROTONOSUPPORT, ESOCKTNOSUPPORT.
Result<RefPtr<Socket>> MakeUnixSocket(const vfs::OpContext& ctx, int flags, int type, int protocol);

}  // namespace msentry::net
