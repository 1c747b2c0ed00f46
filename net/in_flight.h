// Descriptors in flight: sent with SCM_RIGHTS and not received yet. They are counted, so that a
// guest cannot hide without bound what it has closed, and sockets among them are watched for
// circles: a socket in its own queue, or two in each other's, which nobody can reach any more and
// whose references never end by themselves.
//
//   Message message; message.control.rights = ...;
//   message.in_flight = InFlight(message.control.rights);   // before it is in a queue
//
// An InFlight lives beside the rights it counts and goes before them, or when they are received.
//
// Lock: one registry mutex. A queue's lock may be taken under it, so no InFlight is made or
// destroyed with one held.
#pragma once

#include <cstddef>
#include <vector>

#include "sentry/base/ref_ptr.h"
#include "vfs/file_description.h"

namespace msentry::net {

class Socket;

using Rights = std::vector<RefPtr<vfs::FileDescription>>;  // SCM_RIGHTS

class InFlight {
 public:
  InFlight() = default;
  explicit InFlight(const Rights& rights);
  InFlight(InFlight&& o) noexcept : count_(std::exchange(o.count_, 0)), sockets_(o.TakeSockets()) {}
  InFlight& operator=(InFlight&& o) noexcept {
    std::swap(count_, o.count_);
    sockets_.swap(o.sockets_);
    return *this;
  }
  ~InFlight();

  // Would `more` be over the limit (ETOOMANYREFS)? Collects circles before it says so.
  static bool TooMany(size_t more);

 private:
  std::vector<Socket*> TakeSockets() { return std::exchange(sockets_, {}); }

  size_t count_ = 0;
  std::vector<Socket*> sockets_;
};

// Empties the queues of sockets that only each other's queues refer to. No lock may be held.
void CollectCircles();
// A socket has been closed: the time to look, as on Linux. It looks at every socket in flight, so
// with many of those not at every close.
void SocketClosed();

}  // namespace msentry::net
