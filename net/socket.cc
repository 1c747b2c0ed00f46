#include "net/socket.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/interface_ioctl.h"
#include "sentry/abi/time.h"
#include "vfs/user_memory.h"
#include "vfs/vfs.h"

namespace msentry::net {
namespace {

constexpr int kMinSendBuffer = 4608, kMinReceiveBuffer = 2304, kMaxBuffer = 212992 * 2;

// SO_SNDTIMEO and SO_RCVTIMEO: zero means for ever.
Result<int64_t> ParseTimeout(std::string_view value) {
  if (value.size() < sizeof(abi::Timeval)) return Errno::kEINVAL;
  abi::Timeval tv;
  std::memcpy(&tv, value.data(), sizeof tv);
  if (tv.usec < 0 || tv.usec >= 1000000) return Errno::kEDOM;
  if (tv.sec < 0) return int64_t{0};
  const int64_t ns = abi::ToNs({tv.sec, tv.usec * 1000});
  return ns == 0 ? sched::kNever : ns;
}

std::string FormatTimeout(int64_t ns) {
  const abi::Timeval tv = ns == sched::kNever ? abi::Timeval{} : abi::ToTimeval(ns);
  return std::string(reinterpret_cast<const char*>(&tv), sizeof tv);
}

}  // namespace

const char Socket::kClassTag = 0;

void DropRights(Rights rights) {
  static Mutex mutex;
  static Rights* waiting = new Rights;
  static bool draining = false;
  {
    MutexLock lock(mutex);
    for (RefPtr<vfs::FileDescription>& file : rights) waiting->push_back(std::move(file));
    if (draining) return;  // whoever drains, perhaps further up on our own stack, takes these too
    draining = true;
  }
  for (;;) {
    RefPtr<vfs::FileDescription> file;
    {
      MutexLock lock(mutex);
      if (waiting->empty()) {
        draining = false;
        return;
      }
      file = std::move(waiting->back());
      waiting->pop_back();
    }
  }
}

void Control::VisitSockets(absl::FunctionRef<void(Socket&)> visit) const {
  for (const RefPtr<vfs::FileDescription>& file : rights) {
    if (auto* socket = vfs::FileCast<Socket>(*file)) visit(*socket);
  }
}

vfs::Location MakeSocketLocation(const vfs::OpContext& ctx) {
  return vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, S_IFSOCK | 0777),
                                    "socket:");
}

std::string IntOption(int value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

Result<int> ParseIntOption(std::string_view value) {
  int number;
  if (value.size() < sizeof number) return Errno::kEINVAL;
  std::memcpy(&number, value.data(), sizeof number);
  return number;
}

Socket::Socket(vfs::Location location, int flags, int domain, int type, int protocol)
    : FileDescription(std::move(location), O_RDWR | flags),
      domain_(domain),
      type_(type),
      protocol_(protocol) {}

Result<> Socket::Listen(const vfs::OpContext&, int) { return Errno::kEOPNOTSUPP; }
Result<RefPtr<Socket>> Socket::Accept(const vfs::OpContext&, int) { return Errno::kEOPNOTSUPP; }
Result<std::string> Socket::GetFamilyOption(int, int) { return Errno::kENOPROTOOPT; }
Result<> Socket::SetFamilyOption(const vfs::OpContext&, int, int, std::string_view) {
  return Errno::kENOPROTOOPT;
}

Result<size_t> Socket::Read(const vfs::OpContext& ctx, mm::IoSequence& to) {
  ReceiveArgs args;
  return Receive(ctx, to, args);
}

Result<size_t> Socket::Write(const vfs::OpContext& ctx, mm::IoSequence& from) {
  SendArgs args;
  // Without an address nothing is resolved.
  const vfs::Location nowhere;
  const vfs::WalkContext walk{ctx, nowhere, nowhere};
  return Send(walk, from, args);
}

Result<int64_t> Socket::Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                              vfs::UserMemory& memory) {
  switch (command) {
    case FIONREAD:  // SIOCINQ
      if (listening()) return Errno::kEINVAL;
      TRY(memory.Write<int32_t>(argument, static_cast<int32_t>(Unread())));
      return 0;
    case SIOCOUTQ:
      if (listening()) return Errno::kEINVAL;
      TRY(memory.Write<int32_t>(argument, static_cast<int32_t>(Unsent())));
      return 0;
  }
  return InterfaceIoctl(command, argument, memory);
}

Result<std::string> Socket::GetOption(int level, int name) {
  if (level != SOL_SOCKET) return GetFamilyOption(level, name);
  switch (name) {
    case SO_TYPE:
      return IntOption(type_);
    case SO_DOMAIN:
      return IntOption(domain_);
    case SO_PROTOCOL:
      return IntOption(protocol_);
    case SO_ERROR:
      return IntOption(TakeError());
    case SO_ACCEPTCONN:
      return IntOption(listening());
    case SO_SNDBUF:
      return IntOption(send_buffer_.load());
    case SO_RCVBUF:
      return IntOption(receive_buffer_.load());
    case SO_REUSEADDR:
      return IntOption(reuse_address_.load());
    case SO_REUSEPORT:
      return IntOption(reuse_port_.load());
    case SO_KEEPALIVE:
      return IntOption(keep_alive_.load());
    case SO_BROADCAST:
      return IntOption(broadcast_.load());
    case SO_OOBINLINE:
      return IntOption(oob_inline_.load());
    case SO_PASSCRED:
      return IntOption(queue_->pass_credentials.load());
    case SO_TIMESTAMP:
      return IntOption(timestamp_.load());
    case SO_NO_CHECK:
      return IntOption(no_check_.load());
    case SO_PRIORITY:
      return IntOption(priority_.load());
    case SO_RCVLOWAT:
      return IntOption(receive_low_water_.load());
    case SO_SNDLOWAT:
      return IntOption(1);
    case SO_MARK:
    case SO_DONTROUTE:
    case SO_DEBUG:
      return IntOption(0);
    case SO_RCVTIMEO:
      return FormatTimeout(receive_timeout_ns_.load());
    case SO_SNDTIMEO:
      return FormatTimeout(send_timeout_ns_.load());
    case SO_LINGER: {
      const int64_t both = linger_.load();
      return std::string(reinterpret_cast<const char*>(&both), sizeof both);
    }
  }
  return GetFamilyOption(level, name);
}

Result<> Socket::SetOption(const vfs::OpContext& ctx, int level, int name, std::string_view value) {
  if (level != SOL_SOCKET) return SetFamilyOption(ctx, level, name, value);
  const auto flag = [&](std::atomic<bool>& which) -> Result<> {
    which.store(TRY(ParseIntOption(value)) != 0);
    return Ok();
  };
  switch (name) {
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
      // Linux doubles what is asked for, for its own bookkeeping, and shows the double.
      send_buffer_.store(std::clamp(std::min(TRY(ParseIntOption(value)), kMaxBuffer / 2) * 2,
                                    kMinSendBuffer, kMaxBuffer));
      return Ok();
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
      receive_buffer_.store(std::clamp(std::min(TRY(ParseIntOption(value)), kMaxBuffer / 2) * 2,
                                       kMinReceiveBuffer, kMaxBuffer));
      return Ok();
    case SO_REUSEADDR:
      return flag(reuse_address_);
    case SO_REUSEPORT:
      return flag(reuse_port_);
    case SO_KEEPALIVE:
      return flag(keep_alive_);
    case SO_BROADCAST:
      return flag(broadcast_);
    case SO_OOBINLINE:
      return flag(oob_inline_);
    case SO_PASSCRED:
      return flag(queue_->pass_credentials);
    case SO_TIMESTAMP:
      return flag(timestamp_);
    case SO_NO_CHECK:
      return flag(no_check_);
    case SO_PRIORITY: {
      const int priority = TRY(ParseIntOption(value));
      if ((priority < 0 || priority > 6) && !ctx.creds.HasCap(auth::Cap::kNetAdmin)) {
        return Errno::kEPERM;
      }
      priority_.store(priority);
      return Ok();
    }
    case SO_RCVLOWAT:
      receive_low_water_.store(std::max(1, TRY(ParseIntOption(value))));
      return Ok();
    case SO_RCVTIMEO:
      receive_timeout_ns_.store(TRY(ParseTimeout(value)));
      return Ok();
    case SO_SNDTIMEO:
      send_timeout_ns_.store(TRY(ParseTimeout(value)));
      return Ok();
    case SO_LINGER: {
      int64_t both;
      if (value.size() < sizeof both) return Errno::kEINVAL;
      std::memcpy(&both, value.data(), sizeof both);
      linger_.store(both);
      return Ok();
    }
    case SO_DEBUG:
    case SO_MARK:
      if (!ctx.creds.HasCap(auth::Cap::kNetAdmin)) return Errno::kEPERM;
      return TRY(ParseIntOption(value)) == 0 ? Result<>(Ok()) : Errno::kEOPNOTSUPP;
    case SO_DONTROUTE:
      return TRY(ParseIntOption(value)) >= 0 ? Result<>(Ok()) : Errno::kEINVAL;
    case SO_TYPE:
    case SO_DOMAIN:
    case SO_PROTOCOL:
    case SO_ERROR:
    case SO_ACCEPTCONN:
      return Errno::kENOPROTOOPT;
  }
  return SetFamilyOption(ctx, level, name, value);
}

}  // namespace msentry::net
