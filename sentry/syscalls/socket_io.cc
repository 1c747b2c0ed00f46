// Sockets: sending and receiving, with ancillary data (cmsg(3)).
#include <fcntl.h>
#include <sys/socket.h>

#include "sentry/abi/socket.h"
#include "sentry/syscalls/calls_socket.h"
#include "sentry/syscalls/socket_util.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

constexpr uint64_t kMaxControl = 65536;
constexpr unsigned kMaxMessages = 1024;  // sendmmsg and recvmmsg cut there (UIO_MAXIOV)

// ---- ancillary data in ----

Result<> AddRights(Task& t, std::span<const std::byte> data, net::Rights* rights) {
  const size_t count = data.size() / sizeof(int32_t);
  if (rights->size() + count > abi::kScmMaxFd) return Errno::kEINVAL;
  if (net::InFlight::TooMany(count)) return Errno::kETOOMANYREFS;
  for (size_t i = 0; i < count; i++) {
    int32_t fd;
    std::memcpy(&fd, data.data() + i * sizeof fd, sizeof fd);
    rights->push_back(TRY(t.GetFile(fd, /*path_only_too=*/true)));
  }
  return Ok();
}

// Who may claim to be whom (unix(7)): the process itself, or a privileged one anybody.
Result<abi::Ucred> CheckCredentials(Task& t, std::span<const std::byte> data) {
  abi::Ucred claimed;
  if (data.size() != sizeof claimed) return Errno::kEINVAL;
  std::memcpy(&claimed, data.data(), sizeof claimed);
  const auth::CredsRef creds = t.creds();
  const bool pid_ok = claimed.pid == t.tgid() || creds->HasCap(auth::Cap::kSysAdmin);
  const bool uid_ok = claimed.uid == creds->uid || claimed.uid == creds->euid ||
                      claimed.uid == creds->suid || creds->HasCap(auth::Cap::kSetuid);
  const bool gid_ok = claimed.gid == creds->gid || claimed.gid == creds->egid ||
                      claimed.gid == creds->sgid || creds->HasCap(auth::Cap::kSetgid);
  if (!pid_ok || !uid_ok || !gid_ok) return Errno::kEPERM;
  return claimed;
}

Result<net::Control> CopyInControl(Task& t, const net::Socket& socket, const abi::Msghdr& header) {
  net::Control control;
  if (header.controllen == 0) return control;
  if (header.controllen > kMaxControl) return Errno::kENOBUFS;
  std::vector<std::byte> bytes(header.controllen);
  TRY(t.memory().CopyInBytes(header.control, bytes));
  for (size_t at = 0; at + sizeof(abi::Cmsghdr) <= bytes.size();) {
    abi::Cmsghdr cmsg;
    std::memcpy(&cmsg, &bytes[at], sizeof cmsg);
    if (cmsg.len < sizeof cmsg || cmsg.len > bytes.size() - at) return Errno::kEINVAL;
    const std::span<const std::byte> data(&bytes[at] + sizeof cmsg, cmsg.len - sizeof cmsg);
    if (cmsg.level == SOL_SOCKET && socket.domain() == AF_UNIX) {
      if (cmsg.type == SCM_RIGHTS) {
        TRY(AddRights(t, data, &control.rights));
      } else if (cmsg.type == SCM_CREDENTIALS) {
        control.credentials = TRY(CheckCredentials(t, data));
      } else {
        return Errno::kEINVAL;
      }
    }
    at += abi::CmsgAlign(cmsg.len);
  }
  return control;
}

// ---- ancillary data out ----

class ControlWriter {
 public:
  ControlWriter(Task& t, const abi::Msghdr& header)
      : t_(t), address_(header.control), room_(header.controllen) {}

  // One record; false when it does not fit (MSG_CTRUNC).
  Result<bool> Add(int type, std::span<const std::byte> data) {
    const size_t length = sizeof(abi::Cmsghdr) + data.size();
    if (room_ - used_ < length) return false;
    const abi::Cmsghdr cmsg{length, SOL_SOCKET, type};
    TRY(t_.memory().CopyOutBytes(address_ + used_, std::as_bytes(std::span(&cmsg, 1))));
    TRY(t_.memory().CopyOutBytes(address_ + used_ + sizeof cmsg, data));
    used_ += std::min<size_t>(abi::CmsgAlign(length), room_ - used_);
    return true;
  }
  // How many ints fit in a record.
  size_t RoomForInts() const {
    const size_t left = room_ - used_;
    return left <= sizeof(abi::Cmsghdr) ? 0 : (left - sizeof(abi::Cmsghdr)) / sizeof(int32_t);
  }
  size_t used() const { return used_; }

 private:
  Task& t_;
  const uint64_t address_;
  const size_t room_;
  size_t used_ = 0;
};

// Returns the bytes used. Descriptors that do not fit are dropped, as Linux does.
Result<size_t> CopyOutControl(Task& t, net::ReceiveArgs& args, const abi::Msghdr& header,
                              bool close_on_exec) {
  ControlWriter writer(t, header);
  if (args.control.credentials) {
    if (!TRY(
            writer.Add(SCM_CREDENTIALS, std::as_bytes(std::span(&*args.control.credentials, 1))))) {
      args.message_flags |= MSG_CTRUNC;
    }
  }
  if (args.control.rights.empty()) return writer.used();
  std::vector<int32_t> fds;
  const size_t room = writer.RoomForInts();
  for (RefPtr<FileDescription>& file : args.control.rights) {
    if (fds.size() == room) break;
    Result<int> fd = t.InstallFile(std::move(file), close_on_exec);
    if (!fd.ok()) break;
    fds.push_back(*fd);
  }
  if (fds.size() < args.control.rights.size()) args.message_flags |= MSG_CTRUNC;
  if (!fds.empty()) {
    TRY(writer.Add(SCM_RIGHTS, std::as_bytes(std::span<const int32_t>(fds))));
  }
  return writer.used();
}

// ---- sending ----

// Sends one message, waiting as long as the socket and the flags say; a stream goes on until all is
// sent.
Result<int64_t> Send(Task& t, net::Socket& socket, mm::IoSequence& from, net::SendArgs& args) {
  const vfs::OpContext ctx = t.FileContext();
  vfs::Location root, start;
  if (args.to != nullptr) {  // else no path is resolved
    root = t.fs().root();
    start = t.fs().cwd();
  }
  const vfs::WalkContext walk{ctx, root, start};
  const bool wait = !(args.flags & MSG_DONTWAIT);
  const auto attempt = [&] { return socket.Send(walk, from, args); };
  Result<size_t> n = attempt();
  size_t done = n.ok() ? *n : 0;
  while (wait && !socket.is_nonblocking() &&
         (n.ok() ? socket.type() == SOCK_STREAM && *n > 0 && !from.empty()
                 : n.error() == Errno::kEAGAIN)) {
    n = RetryBlocking(t, socket, kWriteEvents, socket.WriteTimeoutNs(), attempt);
    if (!n.ok()) break;
    done += *n;
  }
  if (!n.ok() && done == 0) {
    if (n.error() == Errno::kEPIPE && !(args.flags & MSG_NOSIGNAL) && socket.type() != SOCK_DGRAM) {
      RaiseSigpipe(t);
    }
    return n.error();
  }
  t.group().io.written_bytes.fetch_add(done, std::memory_order_relaxed);
  return static_cast<int64_t>(done);
}

constexpr int kSendFlags = MSG_OOB | MSG_DONTROUTE | MSG_DONTWAIT | MSG_EOR | MSG_CONFIRM |
                           MSG_NOSIGNAL | MSG_MORE | MSG_FASTOPEN;

Result<int64_t> SendMsg(Task& t, net::Socket& socket, const abi::Msghdr& header, int flags) {
  net::SendArgs args;
  args.flags = flags & kSendFlags;
  net::Address to;
  if (header.name != 0 && header.namelen != 0) {
    to = TRY(CopyInAddress(t, header.name, std::min<uint32_t>(header.namelen, abi::kSockaddrMax)));
    args.to = &to;
  }
  mm::IoSequence from = TRY(t.memory().CopyInIovec(header.iov, header.iovlen));
  args.control = TRY(CopyInControl(t, socket, header));
  return Send(t, socket, from, args);
}

// ---- receiving ----

Result<int64_t> Receive(Task& t, net::Socket& socket, mm::IoSequence& to, net::ReceiveArgs& args,
                        int64_t timeout_ns) {
  const vfs::OpContext ctx = t.FileContext();
  const auto attempt = [&] { return socket.Receive(ctx, to, args); };
  const bool wait = !(args.flags & MSG_DONTWAIT);
  Result<size_t> n = wait ? RetryBlocking(t, socket, kReadEvents, timeout_ns, attempt) : attempt();
  if (!n.ok()) return n.error();
  size_t done = *n;
  // MSG_WAITALL: a stream goes on until the buffer is full, the end, or something to report.
  while ((args.flags & MSG_WAITALL) && !(args.flags & MSG_PEEK) && wait && *n > 0 &&
         socket.type() == SOCK_STREAM && !to.empty() && args.control.rights.empty()) {
    n = RetryBlocking(t, socket, kReadEvents, timeout_ns, attempt);
    if (!n.ok()) break;
    done += *n;
  }
  t.group().io.read_bytes.fetch_add(done, std::memory_order_relaxed);
  return static_cast<int64_t>(done);
}

// The results of recvmsg(2) that go back into the header at `address`.
Result<> CopyOutHeader(Task& t, uint64_t address, const abi::Msghdr& header, net::ReceiveArgs& args,
                       size_t control_used) {
  const mm::GuestMemory memory = t.memory();
  if (header.name != 0) {
    TRY(memory.CopyOutBytes(
        header.name, {args.from.data(), std::min<size_t>(args.from.size(), header.namelen)}));
    TRY(memory.CopyOut(GuestPtr<uint32_t>(address + offsetof(abi::Msghdr, namelen)),
                       static_cast<uint32_t>(args.from.size())));
  }
  TRY(memory.CopyOut(GuestPtr<uint64_t>(address + offsetof(abi::Msghdr, controllen)),
                     control_used));
  return memory.CopyOut(GuestPtr<uint32_t>(address + offsetof(abi::Msghdr, flags)),
                        static_cast<uint32_t>(args.message_flags));
}

Result<int64_t> ReceiveMsg(Task& t, net::Socket& socket, uint64_t address, int flags,
                           int64_t timeout_ns) {
  const auto header = TRY(t.memory().CopyIn(GuestPtr<abi::Msghdr>(address)));
  if (static_cast<int32_t>(header.namelen) < 0) return Errno::kEINVAL;
  mm::IoSequence to = TRY(t.memory().CopyInIovec(header.iov, header.iovlen));
  net::ReceiveArgs args;
  args.flags = flags & ~MSG_CMSG_CLOEXEC;
  const int64_t n = TRY(Receive(t, socket, to, args, timeout_ns));
  if (flags & MSG_CMSG_CLOEXEC) args.message_flags |= MSG_CMSG_CLOEXEC;
  const size_t used = TRY(CopyOutControl(t, args, header, flags & MSG_CMSG_CLOEXEC));
  TRY(CopyOutHeader(t, address, header, args, used));
  return n;
}

}  // namespace

Result<int64_t> SysSendto(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  net::SendArgs args;
  args.flags = a.Int(3) & kSendFlags;
  net::Address to;
  if (a[4] != 0) {
    to = TRY(CopyInAddress(t, a[4], a.Uint(5)));
    args.to = &to;
  }
  mm::IoSequence from(t.memory(), a[1], std::min<uint64_t>(a[2], abi::kRwMax));
  return Send(t, *socket, from, args);
}

Result<int64_t> SysRecvfrom(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  mm::IoSequence to(t.memory(), a[1], std::min<uint64_t>(a[2], abi::kRwMax));
  net::ReceiveArgs args;
  args.flags = a.Int(3);
  const int64_t n = TRY(Receive(t, *socket, to, args, socket->ReadTimeoutNs()));
  if (a[4] != 0) TRY(CopyOutAddress(t, args.from, a[4], a[5]));
  return n;
}

Result<int64_t> SysSendmsg(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  return SendMsg(t, *socket, TRY(t.memory().CopyIn(GuestPtr<abi::Msghdr>(a[1]))), a.Int(2));
}

Result<int64_t> SysRecvmsg(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  return ReceiveMsg(t, *socket, a[1], a.Int(2), socket->ReadTimeoutNs());
}

Result<int64_t> SysSendmmsg(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const unsigned count = std::min(a.Uint(2), kMaxMessages);
  const GuestPtr<abi::Mmsghdr> messages(a[1]);
  unsigned sent = 0;
  for (; sent < count; sent++) {
    const auto at = messages + sent;
    const Result<abi::Msghdr> header = t.memory().CopyIn(at.Cast<abi::Msghdr>());
    Result<int64_t> n =
        header.ok() ? SendMsg(t, *socket, *header, a.Int(3)) : Result<int64_t>(header.error());
    if (n.ok()) {
      const Result<> stored = t.memory().CopyOut(at.At<uint32_t>(offsetof(abi::Mmsghdr, len)),
                                                 static_cast<uint32_t>(*n));
      if (!stored.ok()) n = stored.error();
    }
    if (!n.ok()) {
      if (sent == 0) return n.error();
      break;
    }
  }
  return sent;
}

Result<int64_t> SysRecvmmsg(Task& t, const SyscallArgs& a) {
  RefPtr<net::Socket> socket = TRY(GetSocket(t, a.Int(0)));
  const int64_t timeout = TRY(CopyInTimeout(t, a[4]));
  const int64_t deadline = DeadlineAfter(timeout);
  const unsigned count = std::min(a.Uint(2), kMaxMessages);
  const GuestPtr<abi::Mmsghdr> messages(a[1]);
  int flags = a.Int(3);
  unsigned received = 0;
  for (; received < count; received++) {
    const auto at = messages + received;
    Result<int64_t> n =
        ReceiveMsg(t, *socket, at.address(), flags & ~MSG_WAITFORONE, socket->ReadTimeoutNs());
    if (n.ok()) {
      const Result<> stored = t.memory().CopyOut(at.At<uint32_t>(offsetof(abi::Mmsghdr, len)),
                                                 static_cast<uint32_t>(*n));
      if (!stored.ok()) n = stored.error();
    }
    if (!n.ok()) {
      if (received == 0) return n.error();
      break;
    }
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    // As on Linux the timeout is looked at only between messages.
    if (sched::NowNs() >= deadline) {
      received++;
      break;
    }
  }
  return received;
}

}  // namespace msentry::syscalls
