// Socket: the base of all socket descriptions (socket(7)): what every family shares, and the
// interface that the system calls use. Nothing here waits: EAGAIN, as for all files.
//
// Addresses and options are raw bytes as the guest passed them, already copied in; each family
// validates its own.
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "net/in_flight.h"
#include "sentry/abi/socket.h"
#include "vfs/file_description.h"
#include "vfs/path_walk.h"

namespace msentry::net {

// A socket address: family and the rest, at most sizeof(sockaddr_storage) bytes.
class Address {
 public:
  Address() = default;
  Address(const void* bytes, size_t size) : size_(std::min(size, sizeof bytes_)) {
    std::memcpy(bytes_, bytes, size_);
  }
  template <typename T>
  static Address Of(const T& sockaddr) {
    return Address(&sockaddr, sizeof sockaddr);
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::byte* data() const { return bytes_; }
  uint16_t family() const {
    uint16_t family = 0;
    if (size_ >= sizeof family) std::memcpy(&family, bytes_, sizeof family);
    return family;
  }
  // The address as a T, zero-filled where it is shorter.
  template <typename T>
  T As() const {
    T value{};
    std::memcpy(&value, bytes_, std::min(size_, sizeof value));
    return value;
  }

 private:
  alignas(8) std::byte bytes_[abi::kSockaddrMax] = {};
  size_t size_ = 0;
};

// Drops file descriptions that were in flight. They may be sockets with more in their queues: this
// goes through them one by one instead of recursing as deep as a guest cares to nest them.
void DropRights(Rights rights);

// Ancillary data (unix(7)).
struct Control {
  Rights rights;
  std::optional<abi::Ucred> credentials;
  void VisitSockets(absl::FunctionRef<void(Socket&)> visit) const;
  Control() = default;
  Control(Control&&) = default;
  Control& operator=(Control&&) = default;
  ~Control() {
    if (!rights.empty()) DropRights(std::move(rights));
  }
};

struct SendArgs {
  int flags = 0;  // MSG_*
  const Address* to = nullptr;
  Control control;
};
struct ReceiveArgs {
  int flags = 0;
  // Results.
  int message_flags = 0;  // MSG_TRUNC, MSG_EOR ...
  Address from;           // empty: none to report
  Control control;
};

class Socket : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const final { return &kClassTag; }

  // The wait queue is shared with whatever notifies it (connections, queues of messages), so it
  // outlives the socket.
  struct Queue : RefCounted<Queue> {
    sched::WaitQueue queue;
    // SO_PASSCRED: here, so that senders can see it.
    std::atomic<bool> pass_credentials{false};
  };

  Socket(vfs::Location location, int flags, int domain, int type, int protocol);

  int domain() const { return domain_; }
  int type() const { return type_; }
  int protocol() const { return protocol_; }

  // `walk`: on whose behalf, and how a path in an AF_UNIX address is resolved.
  virtual Result<> Bind(const vfs::WalkContext& walk, const Address& address) = 0;
  virtual Result<> Listen(const vfs::OpContext& ctx, int backlog);              // EOPNOTSUPP
  virtual Result<RefPtr<Socket>> Accept(const vfs::OpContext& ctx, int flags);  // O_NONBLOCK
  virtual Result<> Connect(const vfs::WalkContext& walk, const Address& address) = 0;
  virtual Result<size_t> Send(const vfs::WalkContext& walk, mm::IoSequence& from,
                              SendArgs& args) = 0;
  // With MSG_TRUNC a datagram's real length may be returned, which exceeds what was moved.
  virtual Result<size_t> Receive(const vfs::OpContext& ctx, mm::IoSequence& to,
                                 ReceiveArgs& args) = 0;
  virtual Result<> Shutdown(int how) = 0;  // SHUT_*
  virtual Result<Address> LocalAddress() = 0;
  virtual Result<Address> PeerAddress() = 0;  // ENOTCONN
  // Options the family adds; the common ones of SOL_SOCKET are handled before. ENOPROTOOPT.
  virtual Result<std::string> GetFamilyOption(int level, int name);
  virtual Result<> SetFamilyOption(const vfs::OpContext& ctx, int level, int name,
                                   std::string_view value);
  // SO_ERROR: the pending error, which it clears; 0 when none.
  virtual int TakeError() { return 0; }
  virtual bool listening() const { return false; }
  // Bytes to read, and written but not read by the peer (SIOCINQ, SIOCOUTQ).
  virtual size_t Unread() { return 0; }
  virtual size_t Unsent() { return 0; }

  // For CollectCircles(). Calls `visit` for each socket among the descriptors that wait to be
  // received here, once for each time; the registry mutex is held.
  virtual void VisitQueued(absl::FunctionRef<void(Socket&)>) {}
  // Nobody can reach this socket: lets go of all that waits, as closing does.
  virtual void DropQueued() {}

  Result<std::string> GetOption(int level, int name);
  Result<> SetOption(const vfs::OpContext& ctx, int level, int name, std::string_view value);

  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  Result<int64_t> Ioctl(const vfs::OpContext& ctx, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override;
  sched::WaitQueue& wait_queue() override { return queue_->queue; }
  int64_t ReadTimeoutNs() override { return receive_timeout_ns_.load(); }
  int64_t WriteTimeoutNs() override { return send_timeout_ns_.load(); }

  bool passes_credentials() const { return queue_->pass_credentials.load(); }

 protected:
  const RefPtr<Queue> queue_ = MakeRef<Queue>();
  std::atomic<int> send_buffer_{212992}, receive_buffer_{212992};
  std::atomic<bool> reuse_address_{false}, reuse_port_{false}, keep_alive_{false},
      broadcast_{false}, oob_inline_{false}, timestamp_{false}, no_check_{false};
  std::atomic<int> priority_{0}, receive_low_water_{1};
  std::atomic<int64_t> linger_{0};  // l_onoff in the low half, l_linger in the high

 private:
  const int domain_, type_, protocol_;
  std::atomic<int64_t> receive_timeout_ns_{sched::kNever}, send_timeout_ns_{sched::kNever};
};

// A location for a new socket: "socket:[ino]".
vfs::Location MakeSocketLocation(const vfs::OpContext& ctx);

// An integer option's bytes, and back (EINVAL when too short).
std::string IntOption(int value);
Result<int> ParseIntOption(std::string_view value);

}  // namespace msentry::net
