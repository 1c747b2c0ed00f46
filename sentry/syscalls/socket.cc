// Sockets: names, connections, options. Data is in socket_io.cc.
#include <fcntl.h>
#include <sys/socket.h>

#include "net/inet/inet_socket.h"
#include "net/netlink/route_socket.h"
#include "net/unix/unix_socket.h"
#include "sentry/syscalls/calls_socket.h"
#include "sentry/syscalls/socket_util.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

constexpr int kTypeMask = 0xf;  // SOCK_TYPE_MASK
static_assert(SOCK_NONBLOCK == O_NONBLOCK && SOCK_CLOEXEC == O_CLOEXEC);

Result<int> CheckType(int type) {
  if (type & ~(kTypeMask | SOCK_NONBLOCK | SOCK_CLOEXEC)) return Errno::kEINVAL;
  return type & kTypeMask;
}

Result<int64_t> Accept(Task& t, const SyscallArgs& a, int flags) {
  if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) return Errno::kEINVAL;
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const vfs::OpContext ctx = t.FileContext();
  RefPtr<net::Socket> accepted =
      TRY(RetryBlocking(t, *socket, kReadEvents, socket->ReadTimeoutNs(),
                        [&] { return socket->Accept(ctx, flags & SOCK_NONBLOCK); }));
  if (a[1] != 0) {
    const Result<net::Address> peer = accepted->PeerAddress();
    if (!peer.ok()) return Errno::kECONNABORTED;
    TRY(CopyOutAddress(t, *peer, a[1], a[2]));
  }
  return TRY(t.InstallFile(std::move(accepted), flags & SOCK_CLOEXEC));
}

constexpr uint32_t kMaxOption = 4096;

}  // namespace

Result<RefPtr<net::Socket>> GetSocket(Task& t, int fd) {
  RefPtr<FileDescription> file = TRY(t.GetFile(fd));
  auto* socket = vfs::FileCast<net::Socket>(*file);
  if (socket == nullptr) return Errno::kENOTSOCK;
  return RefPtr<net::Socket>(socket);
}

Result<net::Address> CopyInAddress(Task& t, uint64_t address, uint32_t size) {
  if (static_cast<int32_t>(size) < 0 || size > abi::kSockaddrMax) return Errno::kEINVAL;
  std::byte bytes[abi::kSockaddrMax];
  TRY(t.memory().CopyInBytes(address, std::span(bytes).first(size)));
  return net::Address(bytes, size);
}

Result<> CopyOutAddress(Task& t, const net::Address& name, uint64_t address, uint64_t size) {
  const int32_t room = TRY(t.memory().CopyIn(GuestPtr<int32_t>(size)));
  if (room < 0) return Errno::kEINVAL;
  TRY(t.memory().CopyOutBytes(
      address, {name.data(), std::min<size_t>(name.size(), static_cast<size_t>(room))}));
  // The full length, also when the name was cut.
  return t.memory().CopyOut(GuestPtr<int32_t>(size), static_cast<int32_t>(name.size()));
}

Result<int64_t> SysSocket(Task& t, const SyscallArgs& a) {
  const int domain = a.Int(0), type = TRY(CheckType(a.Int(1)));
  const int flags = a.Int(1) & SOCK_NONBLOCK;
  const vfs::OpContext ctx = t.FileContext();
  RefPtr<net::Socket> socket;
  switch (domain) {
    case AF_UNIX:
      socket = TRY(net::MakeUnixSocket(ctx, flags, type, a.Int(2)));
      break;
    case AF_INET:
    case AF_INET6:
      socket = TRY(net::MakeInetSocket(ctx, flags, domain, type, a.Int(2)));
      break;
    case AF_NETLINK:
      socket = TRY(net::MakeNetlinkSocket(ctx, flags, type, a.Int(2)));
      break;
    default:
      return Errno::kEAFNOSUPPORT;
  }
  return TRY(t.InstallFile(std::move(socket), a.Int(1) & SOCK_CLOEXEC));
}

Result<int64_t> SysSocketpair(Task& t, const SyscallArgs& a) {
  const int type = TRY(CheckType(a.Int(1)));
  if (a.Int(0) != AF_UNIX) {
    return a.Int(0) == AF_INET || a.Int(0) == AF_INET6 ? Errno::kEOPNOTSUPP : Errno::kEAFNOSUPPORT;
  }
  if (a.Int(2) != 0 && a.Int(2) != AF_UNIX) return Errno::kEPROTONOSUPPORT;
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET && type != SOCK_RAW) {
    return Errno::kESOCKTNOSUPPORT;
  }
  auto [one, other] = net::UnixSocket::MakePair(t.FileContext(), a.Int(1) & SOCK_NONBLOCK,
                                                type == SOCK_RAW ? SOCK_DGRAM : type);
  const bool close_on_exec = a.Int(1) & SOCK_CLOEXEC;
  int fds[2];
  fds[0] = TRY(t.InstallFile(std::move(one), close_on_exec));
  Result<int> second = t.InstallFile(std::move(other), close_on_exec);
  Result<> copied = Ok();
  if (second.ok()) {
    fds[1] = *second;
    copied = t.memory().CopyOutArray(GuestPtr<int>(a[3]), std::span<const int>(fds));
    if (copied.ok()) return 0;
    (void)t.fd_table().Remove(fds[1]);
  }
  (void)t.fd_table().Remove(fds[0]);
  return second.ok() ? copied.error() : second.error();
}

Result<int64_t> SysBind(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const net::Address address = TRY(CopyInAddress(t, a[1], a.Uint(2)));
  Walk walk(t);
  TRY(socket->Bind(walk.context, address));
  return 0;
}

Result<int64_t> SysListen(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  TRY(socket->Listen(t.FileContext(), a.Int(1)));
  return 0;
}

Result<int64_t> SysAccept(Task& t, const SyscallArgs& a) { return Accept(t, a, 0); }
Result<int64_t> SysAccept4(Task& t, const SyscallArgs& a) { return Accept(t, a, a.Int(3)); }

Result<int64_t> SysConnect(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const net::Address address = TRY(CopyInAddress(t, a[1], a.Uint(2)));
  Walk walk(t);
  TRY(RetryBlocking(t, *socket, kWriteEvents, socket->WriteTimeoutNs(),
                    [&] { return socket->Connect(walk.context, address); }));
  return 0;
}

Result<int64_t> SysGetsockname(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  TRY(CopyOutAddress(t, TRY(socket->LocalAddress()), a[1], a[2]));
  return 0;
}

Result<int64_t> SysGetpeername(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  TRY(CopyOutAddress(t, TRY(socket->PeerAddress()), a[1], a[2]));
  return 0;
}

Result<int64_t> SysShutdown(Task& t, const SyscallArgs& a) {
  TRY(TRY(GetSocket(t, a.Int(0)))->Shutdown(a.Int(1)));
  return 0;
}

Result<int64_t> SysSetsockopt(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  if (a.Int(4) < 0) return Errno::kEINVAL;
  std::string value(std::min(a.Uint(4), kMaxOption), '\0');
  TRY(t.memory().CopyInBytes(a[3], std::as_writable_bytes(std::span(value))));
  TRY(socket->SetOption(t.FileContext(), a.Int(1), a.Int(2), value));
  return 0;
}

Result<int64_t> SysGetsockopt(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const int32_t room = TRY(t.memory().CopyIn(GuestPtr<int32_t>(a[4])));
  if (room < 0) return Errno::kEINVAL;
  std::string value = TRY(socket->GetOption(a.Int(1), a.Int(2)));
  if (value.size() > static_cast<size_t>(room)) value.resize(room);
  TRY(t.memory().CopyOutBytes(a[3], std::as_bytes(std::span(value))));
  TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[4]), static_cast<int32_t>(value.size())));
  return 0;
}

}  // namespace msentry::syscalls
