#include "net/in_flight.h"

#include "absl/container/flat_hash_map.h"
#include "net/socket.h"
#include "sentry/base/mutex.h"

namespace msentry::net {
namespace {

constexpr size_t kLimit = 65536;

// Sockets in flight, with how often.
struct Registry {
  Mutex mutex;
  absl::flat_hash_map<Socket*, size_t> sockets ABSL_GUARDED_BY(mutex);
  std::atomic<size_t> socket_count{0};  // of `sockets`
  std::atomic<size_t> total{0};         // descriptors of any kind
};
Registry& TheRegistry() {
  static auto* registry = new Registry;
  return *registry;
}

// Which sockets nobody can reach: found like any garbage, by marking what can be reached. A socket
// with more references than the queues of sockets in flight hold is in somebody's hands (a
// descriptor table's, a running call's), and whatever it holds can be received.
//
// Queues change while we look, but only in the hands of calls, which refer to the socket they work
// on until the InFlight of what they took or put is settled; and that waits for the registry mutex.
// So a socket whose references are all found in queues has no call at work on it.
class Marker {
 public:
  explicit Marker(const absl::flat_hash_map<Socket*, size_t>& sockets) {
    for (const auto& [socket, times] : sockets) nodes_[socket];
    for (auto& [socket, node] : nodes_) {
      socket->VisitQueued([this, &node = node](Socket& queued) {
        auto it = nodes_.find(&queued);
        if (it == nodes_.end()) return;
        ++it->second.found;
        node.holds.push_back(&queued);
      });
    }
  }

  std::vector<Socket*> Unreachable() {
    for (auto& [socket, node] : nodes_) {
      if (static_cast<size_t>(socket->ref_count()) > node.found) Mark(socket);
    }
    std::vector<Socket*> out;
    for (auto& [socket, node] : nodes_) {
      if (!node.reachable) out.push_back(socket);
    }
    return out;
  }

 private:
  struct Node {
    size_t found = 0;  // references to it from queues
    bool reachable = false;
    std::vector<Socket*> holds;
  };

  void Mark(Socket* first) {
    std::vector<Socket*> todo = {first};
    while (!todo.empty()) {
      Node& node = nodes_.find(todo.back())->second;
      todo.pop_back();
      if (std::exchange(node.reachable, true)) continue;
      todo.insert(todo.end(), node.holds.begin(), node.holds.end());
    }
  }

  absl::flat_hash_map<Socket*, Node> nodes_;
};

void CollectOnce(Registry& registry) {
  std::vector<RefPtr<Socket>> circles;
  {
    MutexLock lock(registry.mutex);
    for (Socket* socket : Marker(registry.sockets).Unreachable()) {
      circles.push_back(RefPtr<Socket>(socket));
    }
  }
  for (const RefPtr<Socket>& socket : circles) socket->DropQueued();
}

}  // namespace

InFlight::InFlight(const Rights& rights) : count_(rights.size()) {
  Registry& registry = TheRegistry();
  registry.total.fetch_add(count_);
  for (const RefPtr<vfs::FileDescription>& file : rights) {
    if (auto* socket = vfs::FileCast<Socket>(*file)) sockets_.push_back(socket);
  }
  if (sockets_.empty()) return;
  MutexLock lock(registry.mutex);
  for (Socket* socket : sockets_) ++registry.sockets[socket];
  registry.socket_count.store(registry.sockets.size());
}

InFlight::~InFlight() {
  if (count_ == 0) return;
  Registry& registry = TheRegistry();
  registry.total.fetch_sub(count_);
  if (sockets_.empty()) return;
  MutexLock lock(registry.mutex);
  for (Socket* socket : sockets_) {
    auto it = registry.sockets.find(socket);
    if (--it->second == 0) registry.sockets.erase(it);
  }
  registry.socket_count.store(registry.sockets.size());
}

bool InFlight::TooMany(size_t more) {
  Registry& registry = TheRegistry();
  if (registry.total.load() + more <= kLimit) return false;
  CollectCircles();
  return registry.total.load() + more > kLimit;
}

void CollectCircles() {
  Registry& registry = TheRegistry();
  if (registry.socket_count.load() == 0) return;
  // One at a time: what it drops are sockets, whose ends ask for another round.
  static std::atomic<int> asked{0};
  if (asked.fetch_add(1) > 0) return;
  int done = 0;
  do {
    done = asked.load();
    CollectOnce(registry);
  } while (!asked.compare_exchange_strong(done, 0));
}

void SocketClosed() {
  static std::atomic<size_t> closed{0};
  constexpr size_t kEach = 16;  // sockets in flight that one close pays for
  const size_t in_flight = TheRegistry().socket_count.load();
  if (in_flight == 0 || (closed.fetch_add(1) + 1) * kEach < in_flight) return;
  closed.store(0);
  CollectCircles();
}

}  // namespace msentry::net
