#include "net/unix/unix_socket.h"

#include <sys/socket.h>

#include "absl/strings/str_format.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::net {
namespace {

constexpr size_t kStreamCapacity = 262144;  // the power of two above SO_SNDBUF's default
constexpr size_t kMinAddress = sizeof(uint16_t);

abi::Ucred CredentialsOf(const vfs::OpContext& ctx) {
  return {ctx.tgid, ctx.creds.euid, ctx.creds.egid};
}

// ---- the abstract name space: one a sandbox ----

struct AbstractNames {
  Mutex mutex;
  absl::flat_hash_map<std::string, RefPtr<Endpoint>> names ABSL_GUARDED_BY(mutex);
  uint32_t next_auto ABSL_GUARDED_BY(mutex) = 1;
};

AbstractNames& Names() {
  static auto* names = new AbstractNames;
  return *names;
}

// The path in an address, up to its NUL or the end; empty for abstract and unnamed ones.
std::string PathOf(const Address& address) {
  const char* path = reinterpret_cast<const char*>(address.data()) + kMinAddress;
  return std::string(path, strnlen(path, address.size() - kMinAddress));
}

// With its NUL, also where a path fills sun_path without one (as Linux's getsockname(2) does).
Address PathAddress(const std::string& path) {
  std::string bytes(kMinAddress, '\0');
  const uint16_t family = AF_UNIX;
  std::memcpy(bytes.data(), &family, sizeof family);
  bytes += path;
  return Address(bytes.c_str(), bytes.size() + 1);
}

Result<> CheckAddress(const Address& address) {
  if (address.size() <= kMinAddress || address.size() > sizeof(abi::SockaddrUn)) {
    return Errno::kEINVAL;
  }
  return address.family() == AF_UNIX ? Result<>(Ok()) : Errno::kEINVAL;
}

bool IsAbstract(const Address& address) {
  return address.size() > kMinAddress && address.data()[kMinAddress] == std::byte{0};
}

std::string AbstractNameOf(const Address& address) {
  return std::string(reinterpret_cast<const char*>(address.data()) + kMinAddress,
                     address.size() - kMinAddress);
}

// Who answers at `address`. ECONNREFUSED when nobody does.
Result<RefPtr<Endpoint>> Find(const vfs::WalkContext& walk, const Address& address) {
  TRY(CheckAddress(address));
  if (IsAbstract(address)) {
    AbstractNames& names = Names();
    MutexLock lock(names.mutex);
    auto it = names.names.find(AbstractNameOf(address));
    if (it == names.names.end() || !it->second->alive()) return Errno::kECONNREFUSED;
    return it->second;
  }
  const vfs::Location at = TRY(vfs::PathWalker(walk, vfs::kWalkFollow).Resolve(PathOf(address)));
  TRY(vfs::CheckAccess(walk.op, at.inode(), vfs::kMayWrite));
  if (at.inode().type() != S_IFSOCK) return Errno::kECONNREFUSED;
  RefPtr<vfs::InodeAttachment> attachment = at.inode().attachment();
  if (!attachment) return Errno::kECONNREFUSED;
  RefPtr<Endpoint> endpoint(static_cast<Endpoint*>(attachment.get()));  // only we attach to sockets
  if (!endpoint->alive()) return Errno::kECONNREFUSED;
  return endpoint;
}

}  // namespace

UnixSocket::UnixSocket(vfs::Location location, int flags, int type)
    : Socket(std::move(location), flags, AF_UNIX, type, 0),
      endpoint_(MakeRef<Endpoint>(type, queue_)) {}

UnixSocket::~UnixSocket() {
  endpoint_->Die();
  std::string abstract_name;
  Peer peer;
  {
    MutexLock lock(mutex_);
    abstract_name = std::move(abstract_name_);
    peer = std::move(peer_);
  }
  if (!abstract_name.empty()) {
    AbstractNames& names = Names();
    RefPtr<Endpoint> dropped;
    MutexLock lock(names.mutex);
    auto it = names.names.find(abstract_name);
    if (it != names.names.end() && it->second == endpoint_) {
      dropped = std::move(it->second);
      names.names.erase(it);
    }
  }
  if (peer.connection) peer.connection->Close(peer.side);
  SocketClosed();
}

void UnixSocket::VisitQueued(absl::FunctionRef<void(Socket&)> visit) {
  endpoint_->VisitSockets(visit);
  MutexLock lock(mutex_);  // not GetPeer(): no reference may end here
  if (peer_.connection) peer_.connection->VisitSockets(peer_.side, visit);
}

void UnixSocket::DropQueued() {
  endpoint_->Die();
  const Peer peer = GetPeer();
  if (peer.connection) peer.connection->Close(peer.side);
}

std::pair<RefPtr<UnixSocket>, RefPtr<UnixSocket>> UnixSocket::MakePair(const vfs::OpContext& ctx,
                                                                       int flags, int type) {
  auto a = MakeRef<UnixSocket>(MakeSocketLocation(ctx), flags, type);
  auto b = MakeRef<UnixSocket>(MakeSocketLocation(ctx), flags, type);
  if (type == SOCK_DGRAM) {
    {
      MutexLock lock(a->mutex_);
      a->peer_.endpoint = b->endpoint_;
    }
    MutexLock lock(b->mutex_);
    b->peer_.endpoint = a->endpoint_;
    return {std::move(a), std::move(b)};
  }
  auto connection =
      MakeRef<Connection>(type == SOCK_SEQPACKET, a->queue_, b->queue_, kStreamCapacity);
  connection->credentials[0] = connection->credentials[1] = CredentialsOf(ctx);
  a->SetConnection(connection, 0);
  b->SetConnection(std::move(connection), 1);
  return {std::move(a), std::move(b)};
}

UnixSocket::Peer UnixSocket::GetPeer() {
  MutexLock lock(mutex_);
  return peer_;
}

void UnixSocket::SetConnection(RefPtr<Connection> connection, int side) {
  MutexLock lock(mutex_);
  peer_.connection = std::move(connection);
  peer_.side = side;
}

Address UnixSocket::Name() {
  MutexLock lock(mutex_);
  return name_;
}

// ---- names ----

Result<> UnixSocket::CheckUnbound() {
  MutexLock lock(mutex_);
  if (!name_.empty()) return Errno::kEINVAL;
  return Ok();
}

void UnixSocket::SetBound(const Address& address, std::string abstract_name) {
  MutexLock lock(mutex_);
  name_ = address;
  abstract_name_ = std::move(abstract_name);
}

Result<> UnixSocket::BindAbstract(const std::string& name, const Address& address) {
  endpoint_->set_name(address);
  AbstractNames& names = Names();
  {
    MutexLock lock(names.mutex);
    if (!names.names.emplace(name, endpoint_).second) return Errno::kEADDRINUSE;
  }
  SetBound(address, name);
  return Ok();
}

// A name of five hexadecimal digits, chosen by us (unix(7), autobind).
Result<> UnixSocket::AutoBind() {
  for (int tries = 0; tries < 1 << 20; tries++) {
    uint32_t number;
    {
      AbstractNames& names = Names();
      MutexLock lock(names.mutex);
      number = names.next_auto++ & 0xfffff;
    }
    abi::SockaddrUn sun{};
    sun.family = AF_UNIX;
    snprintf(sun.path + 1, sizeof sun.path - 1, "%05x", number);
    const Address address(&sun, kMinAddress + 6);
    Result<> bound = BindAbstract(AbstractNameOf(address), address);
    if (bound.ok() || bound.error() != Errno::kEADDRINUSE) return bound;
  }
  return Errno::kENOSPC;
}

Result<> UnixSocket::Bind(const vfs::WalkContext& walk, const Address& address) {
  if (address.family() != AF_UNIX || address.size() > sizeof(abi::SockaddrUn)) {
    return Errno::kEINVAL;
  }
  TRY(CheckUnbound());
  if (address.size() == kMinAddress) return AutoBind();
  if (IsAbstract(address)) return BindAbstract(AbstractNameOf(address), address);
  const std::string path = PathOf(address);
  Result<vfs::Location> at = vfs::MakeNode(walk, path, S_IFSOCK | 0777, 0);
  if (!at.ok()) return at.error() == Errno::kEEXIST ? Errno::kEADDRINUSE : at.error();
  const Address name = PathAddress(path);
  endpoint_->set_name(name);
  at->inode().AttachOnce([&] { return RefPtr<vfs::InodeAttachment>(endpoint_); });
  SetBound(name, "");
  MutexLock lock(mutex_);
  bound_at_ = *std::move(at);
  return Ok();
}

Result<Address> UnixSocket::LocalAddress() {
  Address name = Name();
  if (!name.empty()) return name;
  const uint16_t family = AF_UNIX;
  return Address(&family, sizeof family);
}

Result<Address> UnixSocket::PeerAddress() {
  const Peer peer = GetPeer();
  Address name;
  if (peer.connection) {
    name = peer.connection->names[1 - peer.side];
  } else if (peer.endpoint) {
    name = peer.endpoint->name();
  } else {
    return Errno::kENOTCONN;
  }
  if (!name.empty()) return name;
  const uint16_t family = AF_UNIX;
  return Address(&family, sizeof family);
}

// ---- connecting ----

Result<> UnixSocket::Listen(const vfs::OpContext& ctx, int backlog) {
  if (type() == SOCK_DGRAM) return Errno::kEOPNOTSUPP;
  {
    MutexLock lock(mutex_);
    if (name_.empty() || peer_.connection) return Errno::kEINVAL;
  }
  endpoint_->Listen(backlog, CredentialsOf(ctx));
  return Ok();
}

Result<RefPtr<Socket>> UnixSocket::Accept(const vfs::OpContext& ctx, int flags) {
  if (type() == SOCK_DGRAM) return Errno::kEOPNOTSUPP;
  if (!endpoint_->listening()) return Errno::kEINVAL;
  RefPtr<Socket> socket = TRY(endpoint_->Take());
  if (flags & O_NONBLOCK) TRY(socket->SetStatusFlags(ctx, O_NONBLOCK));
  return socket;
}

Result<> UnixSocket::Connect(const vfs::WalkContext& walk, const Address& address) {
  return type() == SOCK_DGRAM ? ConnectDatagram(walk, address) : ConnectStream(walk, address);
}

Result<> UnixSocket::ConnectStream(const vfs::WalkContext& walk, const Address& address) {
  RefPtr<Endpoint> target = TRY(Find(walk, address));
  if (target->type() != type()) return Errno::kEPROTOTYPE;
  if (listening()) return Errno::kEINVAL;
  {
    MutexLock lock(mutex_);
    if (peer_.connection) return Errno::kEISCONN;
  }
  TRY(target->CheckOffer(queue_));
  auto accepted = MakeRef<UnixSocket>(MakeSocketLocation(walk.op), 0, type());
  auto connection =
      MakeRef<Connection>(type() == SOCK_SEQPACKET, queue_, accepted->queue_, kStreamCapacity);
  connection->names[0] = Name();
  connection->names[1] = target->name();
  connection->credentials[0] = CredentialsOf(walk.op);
  connection->credentials[1] = target->credentials();
  accepted->SetConnection(connection, 1);
  accepted->SetBound(target->name(), "");
  TRY(target->Offer(accepted, queue_));
  SetConnection(std::move(connection), 0);
  queue_->queue.Notify(sched::kOut | sched::kWrNorm);
  return Ok();
}

Result<> UnixSocket::ConnectDatagram(const vfs::WalkContext& walk, const Address& address) {
  RefPtr<Endpoint> target;
  if (address.family() != AF_UNSPEC) {  // AF_UNSPEC undoes a connect
    target = TRY(Find(walk, address));
    if (target->type() != SOCK_DGRAM) return Errno::kEPROTOTYPE;
  }
  Peer old;  // dropped after the lock
  MutexLock lock(mutex_);
  old.endpoint = std::exchange(peer_.endpoint, std::move(target));
  return Ok();
}

// ---- data ----

Result<size_t> UnixSocket::Send(const vfs::WalkContext& walk, mm::IoSequence& from,
                                SendArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  const Peer peer = GetPeer();
  // Credentials travel with every message; with a stream's bytes only if somebody asks for them.
  if (!args.control.credentials &&
      (type() != SOCK_STREAM || passes_credentials() ||
       (peer.connection && peer.connection->queues[1 - peer.side]->pass_credentials.load()))) {
    args.control.credentials = CredentialsOf(walk.op);
  }
  if (type() == SOCK_DGRAM) return SendMessage(walk, from, args, peer);
  if (args.to != nullptr) return peer.connection ? Errno::kEISCONN : Errno::kEOPNOTSUPP;
  if (!peer.connection) return Errno::kENOTCONN;
  if (type() == SOCK_SEQPACKET) return SendMessage(walk, from, args, peer);
  // A stream says EPIPE even when the peer left unread data; ECONNRESET stays for the next read.
  if (peer.connection->closed(1 - peer.side)) return Errno::kEPIPE;
  return peer.connection->SendStream(peer.side, from, args.control);
}

Result<size_t> UnixSocket::SendMessage(const vfs::WalkContext& walk, mm::IoSequence& from,
                                       SendArgs& args, const Peer& peer) {
  MessageQueue* queue;
  RefPtr<Endpoint> target = peer.endpoint;
  if (peer.connection) {
    if (const int error = peer.connection->TakeError(peer.side); error != 0) return FromHost(error);
    if (peer.connection->send_shut(peer.side)) return Errno::kEPIPE;
    queue = &peer.connection->inbox(1 - peer.side);
  } else {
    {
      MutexLock lock(mutex_);
      if (send_shut_) return Errno::kEPIPE;
    }
    if (args.to != nullptr) {
      target = TRY(Find(walk, *args.to));
      if (target->type() != SOCK_DGRAM) return Errno::kEPROTOTYPE;
    }
    if (!target) return Errno::kENOTCONN;
    queue = &target->inbox();
  }
  if (from.size() > static_cast<size_t>(send_buffer_.load())) return Errno::kEMSGSIZE;
  // The sequence moves on only when the message is in the queue: a send that has to wait is tried
  // again with the same one.
  mm::IoSequence content = from.Prefix(from.size());
  Message message;
  message.data.resize(content.size());
  if (TRY(content.CopyIn(std::as_writable_bytes(std::span(message.data)))) < message.data.size()) {
    return Errno::kEFAULT;
  }
  const size_t n = message.data.size();
  message.from = Name();
  message.control.credentials = args.control.credentials;
  // Descriptors are shared with the arguments until it is known that the message went.
  message.control.rights = args.control.rights;
  message.in_flight = InFlight(message.control.rights);
  Result<> pushed = queue->Push(std::move(message), receive_buffer_.load(), queue_);
  if (!pushed.ok()) {
    if (pushed.error() == Errno::kEPIPE && !peer.connection) {
      // The receiver is gone, or does not listen any more.
      if (target->alive()) return Errno::kEPIPE;
      MutexLock lock(mutex_);
      if (args.to == nullptr && peer_.endpoint == target) peer_.endpoint.Reset();
      return Errno::kECONNREFUSED;
    }
    return pushed.error();
  }
  from.Skip(n);
  return n;
}

Result<size_t> UnixSocket::Receive(const vfs::OpContext&, mm::IoSequence& to, ReceiveArgs& args) {
  if (args.flags & MSG_OOB) return Errno::kEOPNOTSUPP;
  if (args.flags & MSG_ERRQUEUE) return Errno::kEAGAIN;
  const Peer peer = GetPeer();
  Result<size_t> n = Errno::kENOTCONN;
  if (type() == SOCK_DGRAM) {
    n = ReceiveMessage(endpoint_->inbox(), to, args);
    if (!n.ok() && n.error() == Errno::kEAGAIN) {
      MutexLock lock(mutex_);
      if (receive_shut_) return size_t{0};
    }
  } else if (!peer.connection) {
    return type() == SOCK_STREAM ? Errno::kEINVAL : Errno::kENOTCONN;
  } else if (type() == SOCK_SEQPACKET) {
    n = ReceiveMessage(peer.connection->inbox(peer.side), to, args);
  } else {
    n = peer.connection->ReceiveStream(peer.side, to, args);
  }
  if (!passes_credentials()) args.control.credentials.reset();
  return n;
}

Result<size_t> UnixSocket::ReceiveMessage(MessageQueue& queue, mm::IoSequence& to,
                                          ReceiveArgs& args) {
  std::optional<Message> message = TRY(args.flags & MSG_PEEK ? queue.Peek() : queue.Pop());
  if (!message) {
    const Peer peer = GetPeer();
    if (peer.connection) {
      if (const int error = peer.connection->TakeError(peer.side); error != 0) {
        return FromHost(error);
      }
    }
    return size_t{0};
  }
  const size_t size = message->data.size();
  const size_t n = std::min(size, to.size());
  TRY(to.CopyOut(std::as_bytes(std::span(message->data.data(), n))));
  if (n < size) args.message_flags |= MSG_TRUNC;
  if (type() == SOCK_SEQPACKET) args.message_flags |= MSG_EOR;
  args.from = message->from;
  args.control = std::move(message->control);
  return args.flags & MSG_TRUNC ? size : n;
}

Result<> UnixSocket::Shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return Errno::kEINVAL;
  const Peer peer = GetPeer();
  if (peer.connection) {
    if (how != SHUT_RD) peer.connection->ShutdownSend(peer.side);
    if (how != SHUT_WR) peer.connection->ShutdownReceive(peer.side);
    return Ok();
  }
  if (listening() && how != SHUT_WR) {
    endpoint_->Die();
    queue_->queue.Notify(sched::kAllEvents);
    return Ok();
  }
  if (type() != SOCK_DGRAM) return Errno::kENOTCONN;
  {
    MutexLock lock(mutex_);
    if (how != SHUT_RD) send_shut_ = true;
    if (how != SHUT_WR) receive_shut_ = true;
  }
  if (how != SHUT_WR) endpoint_->inbox().Finish();
  queue_->queue.Notify(sched::kAllEvents);
  return Ok();
}

Result<std::string> UnixSocket::GetFamilyOption(int level, int name) {
  if (level != SOL_SOCKET || name != SO_PEERCRED) return Errno::kENOPROTOOPT;
  const Peer peer = GetPeer();
  const abi::Ucred nobody{0, ~0u, ~0u};
  const abi::Ucred credentials =
      peer.connection ? peer.connection->credentials[1 - peer.side] : nobody;
  return std::string(reinterpret_cast<const char*>(&credentials), sizeof credentials);
}

int UnixSocket::TakeError() {
  const Peer peer = GetPeer();
  return peer.connection ? peer.connection->TakeError(peer.side) : 0;
}

size_t UnixSocket::Unread() {
  const Peer peer = GetPeer();
  if (peer.connection) return peer.connection->Unread(peer.side);
  return endpoint_->inbox().FirstSize();
}

size_t UnixSocket::Unsent() {
  const Peer peer = GetPeer();
  return peer.connection ? peer.connection->Unsent(peer.side) : 0;
}

sched::EventMask UnixSocket::Readiness(sched::EventMask mask) {
  const Peer peer = GetPeer();
  sched::EventMask ready = 0;
  if (peer.connection) {
    ready = peer.connection->Readiness(peer.side);
  } else if (type() == SOCK_DGRAM) {
    if (!endpoint_->inbox().empty() || endpoint_->inbox().finished()) {
      ready |= sched::kIn | sched::kRdNorm;
    }
    if (!peer.endpoint || !peer.endpoint->alive() ||
        peer.endpoint->inbox().HasRoom(receive_buffer_.load())) {
      ready |= sched::kOut | sched::kWrNorm;
    }
  } else if (listening()) {
    if (endpoint_->HasWaiting()) ready |= sched::kIn | sched::kRdNorm;
    if (!endpoint_->alive()) ready |= sched::kHup | sched::kIn;
  } else {
    ready = sched::kHup | sched::kOut | sched::kWrNorm;  // neither connected nor listening
  }
  return ready & (mask | sched::kErr | sched::kHup);
}

Result<RefPtr<Socket>> MakeUnixSocket(const vfs::OpContext& ctx, int flags, int type,
                                      int protocol) {
  if (protocol != 0 && protocol != AF_UNIX) return Errno::kEPROTONOSUPPORT;
  if (type == SOCK_RAW) type = SOCK_DGRAM;  // as Linux
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) {
    return Errno::kESOCKTNOSUPPORT;
  }
  return RefPtr<Socket>(MakeRef<UnixSocket>(MakeSocketLocation(ctx), flags, type));
}

}  // namespace msentry::net
