#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net/inet/inet_socket.h"

namespace msentry::net {
namespace {

constexpr size_t kStreamCapacity = 262144;

}  // namespace

TcpSocket::~TcpSocket() {
  Peer peer;
  {
    MutexLock lock(mutex_);
    peer = std::move(peer_);
  }
  if (peer.connection) peer.connection->Close(peer.side);
}

TcpSocket::Peer TcpSocket::GetPeer() {
  MutexLock lock(mutex_);
  return peer_;
}

Result<> TcpSocket::Listen(const vfs::OpContext& ctx, int backlog) {
  if (GetPeer().connection) return Errno::kEINVAL;
  TRY(BindIfNeeded(ctx));
  TRY(Ports().CheckListen(endpoint_));
  endpoint_->Listen(backlog, {ctx.tgid, ctx.creds.euid, ctx.creds.egid});
  return Ok();
}

Result<RefPtr<Socket>> TcpSocket::Accept(const vfs::OpContext& ctx, int flags) {
  if (!endpoint_->listening() || !endpoint_->alive()) return Errno::kEINVAL;
  RefPtr<Socket> socket = TRY(endpoint_->Take());
  if (flags & O_NONBLOCK) TRY(socket->SetStatusFlags(ctx, O_NONBLOCK));
  return socket;
}

Result<> TcpSocket::Connect(const vfs::WalkContext& walk, const Address& address) {
  if (address.family() == AF_UNSPEC && address.size() >= sizeof(uint16_t)) {
    Peer old;
    {
      MutexLock lock(mutex_);
      old = std::move(peer_);
      peer_ = {};
      remote_.reset();
    }
    if (old.connection) old.connection->Close(old.side);
    return Ok();
  }
  InetAddress to = TRY(InetAddress::Parse(domain(), address));
  if (listening()) return Errno::kEISCONN;
  if (GetPeer().connection) return Errno::kEISCONN;
  to = TRY(Route(to));
  RefPtr<Endpoint> target = PortTable::Tcp().Find(to, /*listening=*/true);
  if (!target) return Errno::kECONNREFUSED;
  TRY(BindIfNeeded(walk.op));
  TRY(target->CheckOffer(queue_));
  InetAddress from;
  {
    MutexLock lock(mutex_);
    // A connection from the wildcard has the loopback's address.
    if (local_.IsWildcard()) local_ = InetAddress::Loopback(to.IsV4(), local_.port);
    from = local_;
  }
  // The listener's family decides what its accepted sockets are: IPv4 comes mapped to an IPv6 one.
  const int accepted_domain = target->name().family() != 0 ? target->name().family() : domain();
  auto accepted =
      MakeRef<TcpSocket>(MakeSocketLocation(walk.op), 0, accepted_domain, SOCK_STREAM, IPPROTO_TCP);
  auto connection = MakeRef<Connection>(false, queue_, accepted->queue_, kStreamCapacity);
  {
    MutexLock lock(accepted->mutex_);
    accepted->bound_ = true;
    accepted->local_ = to;
    accepted->remote_ = from;
    accepted->peer_ = {connection, 1};
  }
  TRY(target->Offer(accepted, queue_));
  {
    MutexLock lock(mutex_);
    remote_ = to;
    peer_ = {std::move(connection), 0};
  }
  queue_->queue.Notify(sched::kOut | sched::kWrNorm);
  return Ok();
}

Result<size_t> TcpSocket::Send(const vfs::WalkContext&, mm::IoSequence& from, SendArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  const Peer peer = GetPeer();
  if (!peer.connection) return Errno::kEPIPE;
  Control nothing;
  return peer.connection->SendStream(peer.side, from, nothing);
}

Result<size_t> TcpSocket::Receive(const vfs::OpContext&, mm::IoSequence& to, ReceiveArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEINVAL;
  if (args.flags & MSG_ERRQUEUE) return Errno::kEAGAIN;
  const Peer peer = GetPeer();
  if (!peer.connection) return Errno::kENOTCONN;
  if (args.flags & MSG_TRUNC) {  // TCP: the bytes are thrown away
    std::byte scratch[4096];
    mm::IoSequence sink =
        mm::IoSequence::ForReading(std::span(scratch).first(std::min(sizeof scratch, to.size())));
    return peer.connection->ReceiveStream(peer.side, sink, args);
  }
  return peer.connection->ReceiveStream(peer.side, to, args);
}

Result<> TcpSocket::Shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Errno::kEINVAL;
  const Peer peer = GetPeer();
  if (!peer.connection) {
    if (!listening()) return Errno::kENOTCONN;
    if (how != SHUT_WR) endpoint_->Die();
    queue_->queue.Notify(sched::kAllEvents);
    return Ok();
  }
  if (how != SHUT_RD) peer.connection->ShutdownSend(peer.side);
  if (how != SHUT_WR) peer.connection->ShutdownReceive(peer.side);
  return Ok();
}

int TcpSocket::TakeError() {
  const Peer peer = GetPeer();
  return peer.connection ? peer.connection->TakeError(peer.side) : 0;
}

size_t TcpSocket::Unread() {
  const Peer peer = GetPeer();
  return peer.connection ? peer.connection->Unread(peer.side) : 0;
}

size_t TcpSocket::Unsent() { return 0; }  // what is sent has arrived

Result<std::string> TcpSocket::GetFamilyOption(int level, int name) {
  if (level != IPPROTO_TCP || name != TCP_INFO) return InetSocket::GetFamilyOption(level, name);
  tcp_info info{};
  const Peer peer = GetPeer();
  info.tcpi_state = peer.connection ? TCP_ESTABLISHED : listening() ? TCP_LISTEN : TCP_CLOSE;
  info.tcpi_snd_mss = info.tcpi_rcv_mss = 65483;
  info.tcpi_snd_cwnd = 10;
  info.tcpi_pmtu = 65535;
  return std::string(reinterpret_cast<const char*>(&info), sizeof info);
}

sched::EventMask TcpSocket::Readiness(sched::EventMask mask) {
  const Peer peer = GetPeer();
  sched::EventMask ready = 0;
  if (peer.connection) {
    ready = peer.connection->Readiness(peer.side);
  } else if (listening()) {
    if (endpoint_->HasWaiting() || !endpoint_->alive()) ready |= sched::kIn | sched::kRdNorm;
  } else {
    ready = sched::kHup | sched::kOut | sched::kWrNorm;
  }
  return ready & (mask | sched::kErr | sched::kHup);
}

}  // namespace msentry::net
