#include "net/endpoint.h"

namespace msentry::net {
namespace {

constexpr int kMaxBacklog = 4096;  // net.core.somaxconn

}  // namespace

Endpoint::Endpoint(int type, RefPtr<Socket::Queue> queue)
    : type_(type), queue_(queue), inbox_(std::move(queue)) {}

Endpoint::~Endpoint() = default;

void Endpoint::Die() {
  alive_.store(false);
  inbox_.Close();
  std::deque<RefPtr<Socket>> waiting;
  std::vector<RefPtr<Socket::Queue>> senders;
  {
    MutexLock lock(mutex_);
    waiting.swap(waiting_);
    senders.swap(senders_);
  }
  for (const auto& sender : senders) sender->queue.Notify(sched::kAllEvents);
}

void Endpoint::VisitSockets(absl::FunctionRef<void(Socket&)> visit) {
  inbox_.VisitSockets(visit);
  MutexLock lock(mutex_);
  for (const RefPtr<Socket>& socket : waiting_) socket->VisitQueued(visit);
}

void Endpoint::Listen(int backlog, const abi::Ucred& credentials) {
  MutexLock lock(mutex_);
  // A negative backlog is the largest, as an unsigned comparison makes it on Linux.
  backlog_limit_.store(backlog < 0 ? kMaxBacklog : std::min(backlog, kMaxBacklog));
  credentials_ = credentials;
}

abi::Ucred Endpoint::credentials() {
  MutexLock lock(mutex_);
  return credentials_;
}

bool Endpoint::HasWaiting() {
  MutexLock lock(mutex_);
  return !waiting_.empty();
}

Result<> Endpoint::CheckOffer(const RefPtr<Socket::Queue>& sender) {
  MutexLock lock(mutex_);
  if (!alive_.load() || backlog_limit_.load() < 0) return Errno::kECONNREFUSED;
  if (waiting_.size() > static_cast<size_t>(backlog_limit_.load())) {
    if (std::find(senders_.begin(), senders_.end(), sender) == senders_.end()) {
      senders_.push_back(sender);
    }
    return Errno::kEAGAIN;
  }
  return Ok();
}

Result<> Endpoint::Offer(RefPtr<Socket> accepted, const RefPtr<Socket::Queue>& sender) {
  TRY(CheckOffer(sender));
  {
    MutexLock lock(mutex_);
    if (!alive_.load()) return Errno::kECONNREFUSED;
    waiting_.push_back(std::move(accepted));
  }
  queue_->queue.Notify(sched::kIn | sched::kRdNorm);
  return Ok();
}

Result<RefPtr<Socket>> Endpoint::Take() {
  RefPtr<Socket> socket;
  std::vector<RefPtr<Socket::Queue>> senders;
  {
    MutexLock lock(mutex_);
    if (waiting_.empty()) return Errno::kEAGAIN;
    socket = std::move(waiting_.front());
    waiting_.pop_front();
    senders.swap(senders_);
  }
  for (const auto& sender : senders) sender->queue.Notify(sched::kOut | sched::kWrNorm);
  return socket;
}

}  // namespace msentry::net
