// What connected sockets share: a Connection with a stream or a message queue in each direction,
// and the MessageQueue that datagram sockets receive from.
//
// The two sockets never refer to each other, only to the Connection: side 0 connected, side 1 was
// accepted (or they came from socketpair(2)).
#pragma once

#include <deque>
#include <string>

#include "fsimpl/pipefs/pipe.h"
#include "net/socket.h"

namespace msentry::net {

struct Message {
  std::string data;
  Address from;
  Control control;
  InFlight in_flight;
};

// A bounded queue of messages. Any fiber; the mutex is never held over a copy.
class MessageQueue {
 public:
  // `owner` is notified with kIn when there is something.
  explicit MessageQueue(RefPtr<Socket::Queue> owner) : owner_(std::move(owner)) {}
  ~MessageQueue();

  // EAGAIN when full (and `sender`, if given, is notified with kOut once there is room); EPIPE
  // after Close(). `limit`: bytes, the receiver's SO_RCVBUF.
  Result<> Push(Message message, size_t limit, const RefPtr<Socket::Queue>& sender);
  // EAGAIN when empty and open, nullopt when empty and finished.
  Result<std::optional<Message>> Pop();
  // Copies the first message's data, without its rights.
  Result<std::optional<Message>> Peek();

  bool empty();
  bool HasRoom(size_t limit);
  size_t FirstSize();  // FIONREAD of a datagram socket
  // No more messages will come: readers get what is there, then the end.
  void Finish();
  // Nobody reads any more: drops what is there, further pushes get EPIPE.
  void Close();
  bool finished();
  bool closed();
  void VisitSockets(absl::FunctionRef<void(Socket&)> visit);

 private:
  static constexpr size_t kOverhead = 512;     // what a message costs on top of its bytes
  static constexpr size_t kMaxMessages = 512;  // net.unix.max_dgram_qlen
  static constexpr size_t kTotalBytes = size_t{512} << 20;  // in all queues; then ENOBUFS
  static std::atomic<size_t> total_;
  void WakeSenders();

  const RefPtr<Socket::Queue> owner_;
  Mutex mutex_;
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<RefPtr<Socket::Queue>> senders_ ABSL_GUARDED_BY(mutex_);  // who wait for room
};

struct Connection : RefCounted<Connection> {
  // `messages`: SOCK_SEQPACKET, else a stream.
  Connection(bool messages, RefPtr<Socket::Queue> queue0, RefPtr<Socket::Queue> queue1,
             size_t stream_capacity);
  ~Connection();

  // `side` sends `from`, or receives. Streams: EPIPE when the other side does not read any more.
  Result<size_t> SendStream(int side, mm::IoSequence& from, Control& control);
  Result<size_t> ReceiveStream(int side, mm::IoSequence& to, ReceiveArgs& args);

  // shutdown(2) and close(2) of one side's directions; each at most once.
  void ShutdownSend(int side);
  void ShutdownReceive(int side);
  bool send_shut(int side) const { return send_shut_[side].load(); }
  bool receive_shut(int side) const { return receive_shut_[side].load(); }
  // close(2): both directions; the peer gets ECONNRESET when `side` had unread data.
  void Close(int side);

  // The sockets among the descriptors on their way to `side`.
  void VisitSockets(int side, absl::FunctionRef<void(Socket&)> visit);

  sched::EventMask Readiness(int side);
  int TakeError(int side) { return error_[side].exchange(0); }
  bool closed(int side) const { return closed_[side].load(); }
  size_t Unread(int side);
  size_t Unsent(int side);

  pipefs::Pipe& incoming(int side) { return *streams_[1 - side]; }
  pipefs::Pipe& outgoing(int side) { return *streams_[side]; }
  MessageQueue& inbox(int side) { return *inboxes_[side]; }
  bool messages() const { return inboxes_[0] != nullptr; }

  // Set before the sockets are published; immutable then.
  Address names[2];
  abi::Ucred credentials[2] = {};  // SO_PEERCRED of the other side

  const RefPtr<Socket::Queue> queues[2];

 private:
  // Ancillary data of a stream: belongs to the bytes [start, end) of one direction.
  struct Mark {
    uint64_t start, end;
    Control control;
    InFlight in_flight;
  };
  // What a read takes out of the marks: settled once the lock is released.
  struct Taken {
    std::deque<Mark> marks;
    InFlight in_flight;
  };
  size_t LimitAtMarks(int direction, uint64_t position, size_t available, size_t wanted, bool peek,
                      ReceiveArgs& args, Taken& taken);

  std::unique_ptr<pipefs::Pipe> streams_[2];  // [s]: what side s sends
  std::unique_ptr<MessageQueue> inboxes_[2];  // [s]: what side s receives
  std::atomic<bool> send_shut_[2] = {}, receive_shut_[2] = {}, closed_[2] = {};
  std::atomic<int> error_[2] = {};
  Mutex marks_mutex_;
  std::deque<Mark> marks_[2] ABSL_GUARDED_BY(marks_mutex_);  // by direction: the sender's side
  std::atomic<size_t> mark_count_[2] = {};
};

}  // namespace msentry::net
