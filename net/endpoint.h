// Endpoint: what an address leads to: the part of a bound socket that others find by its name. It
// is attached to the inode of a UNIX path, stands in the abstract name space, or in a port table.
// It does not keep the socket open: a closed socket leaves a dead endpoint behind (ECONNREFUSED).
#pragma once

#include "net/connection.h"
#include "vfs/inode.h"

namespace msentry::net {

class Endpoint : public vfs::InodeAttachment {
 public:
  Endpoint(int type, RefPtr<Socket::Queue> queue);
  ~Endpoint() override;

  int type() const { return type_; }
  bool alive() const { return alive_.load(); }
  // The socket is closed: connections that wait to be accepted are dropped.
  void Die();

  // ---- Listening (stream, seqpacket) ----
  // `credentials`: who listens, for SO_PEERCRED of those who connect.
  void Listen(int backlog, const abi::Ucred& credentials);
  bool listening() const { return backlog_limit_.load() >= 0; }
  abi::Ucred credentials();
  bool HasWaiting();
  // A connection for the listener to accept: its socket, ready. ECONNREFUSED when nobody listens,
  // EAGAIN when too many wait (`sender` is notified with kOut when one was accepted).
  Result<> Offer(RefPtr<Socket> accepted, const RefPtr<Socket::Queue>& sender);
  // Could Offer succeed now? Same errors.
  Result<> CheckOffer(const RefPtr<Socket::Queue>& sender);
  Result<RefPtr<Socket>> Take();  // EAGAIN

  // The sockets among the descriptors in the inbox, and on their way to those that wait to be
  // accepted.
  void VisitSockets(absl::FunctionRef<void(Socket&)> visit);

  // ---- Datagrams ----
  MessageQueue& inbox() { return inbox_; }

  const Address& name() const { return name_; }
  void set_name(const Address& name) { name_ = name; }  // before it can be found

 private:
  const int type_;
  const RefPtr<Socket::Queue> queue_;
  Address name_;
  std::atomic<bool> alive_{true};
  std::atomic<int> backlog_limit_{-1};
  MessageQueue inbox_;
  Mutex mutex_;
  std::deque<RefPtr<Socket>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<RefPtr<Socket::Queue>> senders_ ABSL_GUARDED_BY(mutex_);
  abi::Ucred credentials_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace msentry::net
