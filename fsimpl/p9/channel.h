// Channel: 9P requests and replies over one stream socket, many at a time.
//
//   Channel::Response response;
//   R reply = TRY(channel.Call<Twalk, Rwalk>(request, response));   // views into response.message
//
// Callers on fibers are parked until their reply comes; threads that are no fibers (boot, tests)
// wait in poll(2) and receive for everybody. A caller whose worker has nothing else to do waits
// for its reply itself first: spinning where there are CPUs for the gofer and the guest as well,
// else in poll(2), so that the host runs the gofer where we ran. Only when that takes long does it
// park, and only then does the scheduler's epoll set look at the socket: a reply wakes nobody but
// its caller.
//
// The peer is not trusted. A reply with an unknown tag, a wrong type or a bad length, or the end of
// the stream, ends the channel: every call waiting or to come is EIO.
//
// Locks: send_mutex_, interest_mutex_, receive_mutex_, then mutex_; none is held while waiting.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "gofer/wire/messages.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"

namespace msentry::p9 {

class Channel {
 public:
  struct Response {
    std::vector<uint8_t> message;  // without the header
    ScopedFd fd;                   // donated with it
  };

  // `scheduler` may be null: then no fiber may call.
  static Result<std::unique_ptr<Channel>> Create(ScopedFd socket, sched::Scheduler* scheduler);
  ~Channel();

  bool alive() const { return !dead_.load(std::memory_order_acquire); }
  // Requests that somebody waited for so far (tests and benchmarks).
  uint64_t exchanges() const { return exchanges_.load(std::memory_order_relaxed); }
  // Replies may be this long; set once the version is agreed on.
  void SetMaxMessage(uint32_t bytes) {
    max_message_ = bytes;
    negotiated_ = true;
  }

  // What to do when the server runs out of fds: gives back some of our fids (Clunk) and returns
  // whether there were any; the request is then sent again. Set once, before the first call.
  void SetRelief(absl::AnyInvocable<bool()> relief) { relief_ = std::move(relief); }
  static bool IsShortOfFds(Errno e) { return e == Errno::kEMFILE || e == Errno::kENFILE; }
  static constexpr int kReliefs = 4;  // attempts
  bool Relieve() { return relief_ && relief_(); }

  template <typename T, typename R>
  Result<R> Call(const T& request, Response& response) {
    std::vector<uint8_t> bytes;
    Encode(bytes, kNoTag, request);
    Result<> exchanged = Exchange(bytes, R::kType, response);
    for (int i = 0; !exchanged.ok() && IsShortOfFds(exchanged.error()) && i < kReliefs; ++i) {
      if (!Relieve()) break;
      exchanged = Exchange(bytes, R::kType, response);
    }
    if (!exchanged.ok()) return exchanged.error();
    R reply;
    if (!Decode(std::span<const uint8_t>(response.message), reply)) {
      Die("malformed reply");
      return Errno::kEIO;
    }
    return reply;
  }

  // Bytes of whole messages that want no reply (tag kNoTag); they go out with the next request, at
  // the latest after some milliseconds, and are done before anything that is sent later. Never
  // parks, takes no lock of a caller's.
  void SendLater(std::span<const uint8_t> messages);
  // Whether more of that would pile up before a server that does not keep up.
  bool Congested() const { return have_backlog_.load(std::memory_order_relaxed); }
  // How many of them the server could not do. Each is logged.
  uint32_t refusals() const { return refusals_.load(std::memory_order_acquire); }
  // Sends one request now and forgets about it; the reply is dropped. Never parks.
  void SendUnawaited(std::vector<uint8_t>& request);

 private:
  struct Waiting {
    Response* response = nullptr;
    uint8_t type = 0;  // the reply we want
    Errno error = Errno::kEIO;
    bool failed = false;
    bool parked = false;  // guarded by mutex_
    sched::Fiber* fiber = nullptr;
    std::atomic<bool> done{false};
  };

  Channel(ScopedFd socket, sched::Scheduler* scheduler);

  // A tag for `waiting`; kEIO on a dead channel or with too many requests under way.
  Result<uint16_t> TakeTag(Waiting* waiting);

  // Sends `request` (its tag is filled in here) and waits for the reply of `type`.
  Result<> Exchange(std::vector<uint8_t>& request, uint8_t type, Response& response);
  void Send(std::span<const uint8_t> bytes);
  void FlushBacklog() ABSL_EXCLUSIVE_LOCKS_REQUIRED(send_mutex_);
  void Wait(Waiting& waiting);
  void WaitHere(Waiting& waiting);
  void ParkUntilDone(Waiting& waiting);
  // Makes the scheduler watch the socket for what is needed now, and nothing else.
  void UpdateInterest();
  // Takes in whatever the socket has, if no other thread is at it.
  void TryReceive();
  // The same, but stops when the reply for `waiting` is there: what is left, the next poll(2) or
  // OnSocketEvent finds.
  void TryReceiveFor(Waiting& waiting);
  void ReceiveLocked(const Waiting* until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(receive_mutex_);
  // Hands out the complete messages in the buffer; false on a protocol violation.
  bool Deliver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(receive_mutex_);
  void OnSocketEvent();
  void Die(const char* why);
  void Complete(Waiting& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::AnyInvocable<bool()> relief_;
  const ScopedFd socket_;
  sched::Scheduler* const scheduler_;
  const int64_t spin_ns_;
  std::atomic<uint32_t> max_message_{kMaxMsize};
  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> exchanges_{0};
  std::atomic<uint32_t> refusals_{0};
  std::atomic<bool> negotiated_{false};
  std::atomic<int> parked_{0};             // fibers that sleep until somebody receives
  std::atomic<bool> have_backlog_{false};  // the socket was full
  std::atomic<bool> waiting_here_{false};  // one caller waits in poll(2) or spins

  Mutex send_mutex_;
  std::vector<uint8_t> later_ ABSL_GUARDED_BY(send_mutex_);
  std::vector<uint8_t> backlog_ ABSL_GUARDED_BY(send_mutex_);  // the socket was full
  bool timer_armed_ ABSL_GUARDED_BY(send_mutex_) = false;

  // What the scheduler watches in place of the socket: it has the socket in it only while somebody
  // cannot look for himself.
  ScopedFd epoll_;  // set by Create
  Mutex interest_mutex_;
  uint32_t interest_ ABSL_GUARDED_BY(interest_mutex_) = 0;

  Mutex receive_mutex_;
  std::vector<uint8_t> buffer_ ABSL_GUARDED_BY(receive_mutex_);
  size_t begin_ ABSL_GUARDED_BY(receive_mutex_) = 0, end_ ABSL_GUARDED_BY(receive_mutex_) = 0;
  std::deque<ScopedFd> fds_ ABSL_GUARDED_BY(receive_mutex_);  // came, not yet claimed by a reply

  Mutex mutex_;
  std::vector<Waiting*> by_tag_ ABSL_GUARDED_BY(mutex_);  // null: free
  std::vector<uint16_t> free_tags_ ABSL_GUARDED_BY(mutex_);

  Waiting discard_;  // stands in by_tag_ for replies that nobody awaits; never changed

  std::unique_ptr<sched::HostFdWatch> watch_;  // set once
  std::unique_ptr<sched::Timer> timer_;
};

// Replies of these types carry one fd.
inline bool CarriesFd(uint8_t type) { return type == Ropenfd::kType || type == Rcreatefd::kType; }

}  // namespace msentry::p9
