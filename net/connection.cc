#include "net/connection.h"

#include <sys/socket.h>

namespace msentry::net {
namespace {

constexpr sched::EventMask kReadable = sched::kIn | sched::kRdNorm;
constexpr sched::EventMask kWritable = sched::kOut | sched::kWrNorm;
constexpr size_t kMaxMarks = 1024;  // messages with ancillary data in flight in one direction

}  // namespace

// ---- MessageQueue ----

std::atomic<size_t> MessageQueue::total_{0};

MessageQueue::~MessageQueue() { total_.fetch_sub(bytes_); }

void MessageQueue::WakeSenders() {
  std::vector<RefPtr<Socket::Queue>> senders;
  {
    MutexLock lock(mutex_);
    senders.swap(senders_);
  }
  for (const RefPtr<Socket::Queue>& sender : senders) {
    sender->queue.Notify(kWritable | sched::kErr | sched::kHup);
  }
}

Result<> MessageQueue::Push(Message message, size_t limit, const RefPtr<Socket::Queue>& sender) {
  {
    MutexLock lock(mutex_);
    if (closed_ || finished_) return Errno::kEPIPE;
    if (!messages_.empty() &&
        (bytes_ + message.data.size() > limit || messages_.size() >= kMaxMessages)) {
      if (sender && std::find(senders_.begin(), senders_.end(), sender) == senders_.end()) {
        senders_.push_back(sender);
      }
      return Errno::kEAGAIN;
    }
    if (total_.load() > kTotalBytes) return Errno::kENOBUFS;
    total_.fetch_add(message.data.size() + kOverhead);
    bytes_ += message.data.size() + kOverhead;
    messages_.push_back(std::move(message));
  }
  owner_->queue.Notify(kReadable);
  return Ok();
}

Result<std::optional<Message>> MessageQueue::Pop() {
  std::optional<Message> message;
  {
    MutexLock lock(mutex_);
    if (messages_.empty()) {
      if (finished_ || closed_) return message;
      return Errno::kEAGAIN;
    }
    message = std::move(messages_.front());
    messages_.pop_front();
    bytes_ -= message->data.size() + kOverhead;
    total_.fetch_sub(message->data.size() + kOverhead);
  }
  WakeSenders();
  return message;
}

Result<std::optional<Message>> MessageQueue::Peek() {
  std::optional<Message> message;
  MutexLock lock(mutex_);
  if (messages_.empty()) {
    if (finished_ || closed_) return message;
    return Errno::kEAGAIN;
  }
  message.emplace();
  message->data = messages_.front().data;
  message->from = messages_.front().from;
  message->control.credentials = messages_.front().control.credentials;
  return message;
}

bool MessageQueue::empty() {
  MutexLock lock(mutex_);
  return messages_.empty();
}

bool MessageQueue::HasRoom(size_t limit) {
  MutexLock lock(mutex_);
  return messages_.empty() || (bytes_ < limit && messages_.size() < kMaxMessages);
}

size_t MessageQueue::FirstSize() {
  MutexLock lock(mutex_);
  return messages_.empty() ? 0 : messages_.front().data.size();
}

void MessageQueue::Finish() {
  {
    MutexLock lock(mutex_);
    finished_ = true;
  }
  owner_->queue.Notify(kReadable | sched::kHup | sched::kRdHup);
  WakeSenders();
}

void MessageQueue::Close() {
  std::deque<Message> dropped;  // after the lock
  {
    MutexLock lock(mutex_);
    closed_ = true;
    dropped.swap(messages_);
    total_.fetch_sub(bytes_);
    bytes_ = 0;
  }
  owner_->queue.Notify(kReadable | sched::kHup);
  WakeSenders();
}

void MessageQueue::VisitSockets(absl::FunctionRef<void(Socket&)> visit) {
  MutexLock lock(mutex_);
  for (const Message& message : messages_) message.control.VisitSockets(visit);
}

bool MessageQueue::finished() {
  MutexLock lock(mutex_);
  return finished_ || closed_;
}

bool MessageQueue::closed() {
  MutexLock lock(mutex_);
  return closed_;
}

// ---- Connection ----

Connection::Connection(bool messages, RefPtr<Socket::Queue> queue0, RefPtr<Socket::Queue> queue1,
                       size_t stream_capacity)
    : queues{std::move(queue0), std::move(queue1)} {
  for (int side = 0; side < 2; side++) {
    if (messages) {
      inboxes_[side] = std::make_unique<MessageQueue>(queues[side]);
    } else {
      streams_[side] = std::make_unique<pipefs::Pipe>(stream_capacity, &queues[1 - side]->queue,
                                                      &queues[side]->queue);
      streams_[side]->AddReader();
      streams_[side]->AddWriter();
    }
  }
}

Connection::~Connection() = default;

void Connection::ShutdownSend(int side) {
  if (send_shut_[side].exchange(true)) return;
  if (messages()) {
    inbox(1 - side).Finish();
  } else {
    outgoing(side).RemoveWriter();
  }
  for (const auto& queue : queues) queue->queue.Notify(sched::kAllEvents);
}

void Connection::ShutdownReceive(int side) {
  if (receive_shut_[side].exchange(true)) return;
  if (messages()) {
    inbox(side).Finish();
  } else {
    incoming(side).RemoveReader();
  }
  for (const auto& queue : queues) queue->queue.Notify(sched::kAllEvents);
}

void Connection::Close(int side) {
  closed_[side].store(true);
  if (Unread(side) > 0) error_[1 - side].store(ECONNRESET);
  ShutdownSend(side);
  ShutdownReceive(side);
  if (messages()) {
    inbox(side).Close();
    return;
  }
  std::deque<Mark> dropped;  // nobody will read these descriptors; after the lock
  MutexLock lock(marks_mutex_);
  dropped.swap(marks_[1 - side]);
  mark_count_[1 - side].store(0);
}

Result<size_t> Connection::SendStream(int side, mm::IoSequence& from, Control& control) {
  if (const int error = TakeError(side); error != 0) return FromHost(error);
  if (send_shut_[side].load()) return Errno::kEPIPE;
  pipefs::Pipe& pipe = outgoing(side);
  if (control.rights.empty() && !control.credentials) [[likely]]
    return pipe.Write(from, false);
  if (mark_count_[side].load() >= kMaxMarks) return Errno::kETOOMANYREFS;
  return pipe.WriteSome(from, false, [&](uint64_t start, uint64_t end) {
    InFlight in_flight(control.rights);
    MutexLock lock(marks_mutex_);
    marks_[side].push_back({start, end, std::move(control), std::move(in_flight)});
    mark_count_[side].store(marks_[side].size());
    control = Control();
  });
}

// How far a read of `wanted` bytes may go that begins at `position`, taking over the ancillary data
// it meets. As on Linux a read goes on into bytes that came with descriptors, and stops behind
// them; it stops before bytes that only have credentials of their own.
size_t Connection::LimitAtMarks(int direction, uint64_t position, size_t available, size_t wanted,
                                bool peek, ReceiveArgs& args, Taken& taken) {
  if (mark_count_[direction].load() == 0) return available;
  MutexLock lock(marks_mutex_);
  std::deque<Mark>& marks = marks_[direction];
  while (!marks.empty() && marks.front().end <= position) {
    taken.marks.push_back(std::move(marks.front()));
    marks.pop_front();
    mark_count_[direction].store(marks.size());
  }
  if (marks.empty()) return available;
  Mark& mark = marks.front();
  if (position < mark.start && (mark.control.rights.empty() || position + wanted <= mark.start)) {
    return std::min<size_t>(available, mark.start - position);
  }
  args.control.credentials = mark.control.credentials;
  if (peek) {
    args.control.rights = mark.control.rights;  // each gets references of its own
  } else {
    args.control.rights = std::move(mark.control.rights);
    mark.control.rights.clear();
    taken.in_flight = std::move(mark.in_flight);
  }
  return std::min<size_t>(available, mark.end - position);
}

Result<size_t> Connection::ReceiveStream(int side, mm::IoSequence& to, ReceiveArgs& args) {
  const int direction = 1 - side;
  const bool peek = args.flags & MSG_PEEK;
  Taken taken;
  Result<size_t> n = incoming(side).ReadSome(
      to,
      [&](uint64_t position, size_t available) {
        return LimitAtMarks(direction, position, available, to.size(), peek, args, taken);
      },
      peek);
  if (n.ok() && *n > 0) return n;
  if (n.ok() || receive_shut_[side].load()) {
    if (const int error = TakeError(side); error != 0) return FromHost(error);
    if (receive_shut_[side].load()) return size_t{0};
  }
  return n;
}

void Connection::VisitSockets(int side, absl::FunctionRef<void(Socket&)> visit) {
  if (messages()) return inbox(side).VisitSockets(visit);
  MutexLock lock(marks_mutex_);
  for (const Mark& mark : marks_[1 - side]) mark.control.VisitSockets(visit);
}

sched::EventMask Connection::Readiness(int side) {
  sched::EventMask ready = 0;
  const bool peer_gone = closed_[1 - side].load();
  const bool incoming_end = send_shut_[1 - side].load() || receive_shut_[side].load();
  bool readable, writable;
  if (messages()) {
    readable = !inbox(side).empty();
    writable = send_shut_[side].load() || inbox(1 - side).HasRoom(212992);
  } else {
    readable = incoming(side).Available() > 0;
    writable =
        send_shut_[side].load() || peer_gone || outgoing(side).Room() >= pipefs::Pipe::kAtomicWrite;
  }
  if (readable || incoming_end) ready |= kReadable;
  if (incoming_end) ready |= sched::kRdHup;
  if (writable) ready |= kWritable;
  if (peer_gone || (send_shut_[side].load() && incoming_end)) ready |= sched::kHup;
  if (error_[side].load() != 0) ready |= sched::kErr;
  return ready;
}

size_t Connection::Unread(int side) {
  return messages() ? inbox(side).FirstSize() : incoming(side).Available();
}

size_t Connection::Unsent(int side) { return messages() ? 0 : outgoing(side).Available(); }

}  // namespace msentry::net
