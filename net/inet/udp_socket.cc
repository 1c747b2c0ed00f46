#include <netinet/in.h>

#include "net/inet/inet_socket.h"

namespace msentry::net {
namespace {

constexpr size_t kMaxDatagram = 65507;  // 64 KiB without the headers

}  // namespace

Result<> UdpSocket::Connect(const vfs::WalkContext& walk, const Address& address) {
  if (address.family() == AF_UNSPEC && address.size() >= sizeof(uint16_t)) {
    MutexLock lock(mutex_);
    remote_.reset();
    return Ok();
  }
  const InetAddress to = TRY(Route(TRY(InetAddress::Parse(domain(), address))));
  TRY(BindIfNeeded(walk.op));
  MutexLock lock(mutex_);
  if (local_.IsWildcard()) local_ = InetAddress::Loopback(to.IsV4(), local_.port);
  remote_ = to;
  return Ok();
}

Result<size_t> UdpSocket::Send(const vfs::WalkContext& walk, mm::IoSequence& from, SendArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  if (const int error = TakeError(); error != 0) return FromHost(error);
  if (send_shut_.load()) return Errno::kEPIPE;
  InetAddress to;
  if (args.to != nullptr) {
    to = TRY(InetAddress::Parse(domain(), *args.to));
    if (to.port == 0) return Errno::kEINVAL;
  } else {
    MutexLock lock(mutex_);
    if (!remote_) return Errno::kEDESTADDRREQ;
    to = *remote_;
  }
  to = TRY(Route(to));
  if (from.size() > kMaxDatagram) return Errno::kEMSGSIZE;
  TRY(BindIfNeeded(walk.op));
  Message message;
  mm::IoSequence content = from.Prefix(from.size());
  message.data.resize(content.size());
  if (TRY(content.CopyIn(std::as_writable_bytes(std::span(message.data)))) < message.data.size()) {
    return Errno::kEFAULT;
  }
  const size_t n = message.data.size();
  InetAddress source;
  bool connected;
  {
    MutexLock lock(mutex_);
    source = local_;
    connected = remote_.has_value();
  }
  if (source.IsWildcard()) source = InetAddress::Loopback(to.IsV4(), source.port);
  // In the receiver's form: it converts to its own family.
  message.from = source.ToSockaddr(AF_INET6);
  RefPtr<Endpoint> target = PortTable::Udp().Find(to, false);
  // Like any network, this one drops what a full receiver cannot take.
  if (target) {
    (void)target->inbox().Push(std::move(message), receive_buffer_.load(), nullptr);
  } else if (connected) {
    // The port unreachable message: the next call on a connected socket says so.
    error_.store(ECONNREFUSED);
    queue_->queue.Notify(sched::kErr | sched::kIn | sched::kOut);
  }
  from.Skip(n);
  return n;
}

Result<size_t> UdpSocket::Receive(const vfs::OpContext&, mm::IoSequence& to, ReceiveArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  if (args.flags & MSG_ERRQUEUE) return Errno::kEAGAIN;
  if (const int error = TakeError(); error != 0) return FromHost(error);
  MessageQueue& inbox = endpoint_->inbox();
  std::optional<Message> message;
  for (;;) {
    Result<std::optional<Message>> next = args.flags & MSG_PEEK ? inbox.Peek() : inbox.Pop();
    if (!next.ok()) {
      if (receive_shut_.load()) return size_t{0};
      return next.error();
    }
    message = *std::move(next);
    if (!message) return size_t{0};
    const InetAddress source = TRY(InetAddress::Parse(AF_INET6, message->from));
    std::optional<InetAddress> remote;
    {
      MutexLock lock(mutex_);
      remote = remote_;
    }
    // A connected socket hears only its peer.
    if (!remote || source == *remote) {
      args.from = source.ToSockaddr(domain());
      break;
    }
    if (args.flags & MSG_PEEK) (void)inbox.Pop();
  }
  const size_t size = message->data.size();
  const size_t n = std::min(size, to.size());
  TRY(to.CopyOut(std::as_bytes(std::span(message->data.data(), n))));
  if (n < size) args.message_flags |= MSG_TRUNC;
  return args.flags & MSG_TRUNC ? size : n;
}

Result<> UdpSocket::Shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Errno::kEINVAL;
  {
    MutexLock lock(mutex_);
    if (!remote_) return Errno::kENOTCONN;
  }
  if (how != SHUT_RD) send_shut_.store(true);
  if (how != SHUT_WR) receive_shut_.store(true);
  queue_->queue.Notify(sched::kAllEvents);
  return Ok();
}

sched::EventMask UdpSocket::Readiness(sched::EventMask mask) {
  sched::EventMask ready = sched::kOut | sched::kWrNorm;
  if (!endpoint_->inbox().empty() || receive_shut_.load() || error_.load() != 0) {
    ready |= sched::kIn | sched::kRdNorm;
  }
  if (receive_shut_.load()) ready |= sched::kRdHup;
  if (receive_shut_.load() && send_shut_.load()) ready |= sched::kHup;
  if (error_.load() != 0) ready |= sched::kErr;
  return ready & (mask | sched::kErr | sched::kHup);
}

}  // namespace msentry::net
