#include "gofer/server/server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "gofer/server/connection.h"

namespace msentry::gofer {
namespace {

int64_t NowNs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void Ring(const ScopedFd& eventfd) {
  uint64_t one = 1;
  (void)!write(eventfd.get(), &one, sizeof one);
}

// Connection pointers are real addresses; these are not.
constexpr uint64_t kKickEvent = 0, kStopEvent = 1;

}  // namespace

struct ThreadState {
  Reply reply{p9::kMaxMsize};
  std::vector<uint8_t> request;
};

Server::Server(std::vector<Attach*> attaches, const Options& options)
    : attaches_(std::move(attaches)),
      options_(options),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      kick_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(epoll_ && kick_ && stop_);
  struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data = {.u64 = kKickEvent}};
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, kick_.get(), &event) == 0);
  event = {.events = EPOLLIN, .data = {.u64 = kStopEvent}};
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event) == 0);
}

Server::~Server() = default;

Result<> Server::Add(ScopedFd socket) {
  auto connection = std::make_unique<Connection>(std::move(socket), attaches_);
  struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                              .data = {.u64 = reinterpret_cast<uint64_t>(connection.get())}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection->fd(), &event) < 0) return FromHost(errno);
  connections_.push_back(std::move(connection));
  ++open_;
  return Ok();
}

void Server::Run() {
  if (open_ == 0) return;
  std::vector<std::thread> threads;
  for (int i = 1; i < options_.threads; ++i) threads.emplace_back([this] { Work(); });
  Work();
  for (std::thread& thread : threads) thread.join();
}

// Serves what the connection has; whether anything was there.
bool Server::ServeAll(Connection& connection, ThreadState& state) {
  bool served = false;
  for (;;) {
    bool more = false, drained = false;
    switch (connection.TakeRequest(state.request, more, drained)) {
      case Connection::Next::kRequest:
        // What we have buffered, epoll does not know of: another thread must be told.
        if (more && options_.threads > 1) Ring(kick_);
        connection.Serve(state.request, state.reply);
        served = true;
        // What has come since then, epoll_wait tells: no look in vain.
        if (drained && !more && options_.spin_ns == 0) return served;
        break;
      case Connection::Next::kNothing:
        return served;
      case Connection::Next::kClosed:
        if (connection.MarkClosed()) {
          epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd(), nullptr);
          if (--open_ == 0) Ring(stop_);
        }
        return served;
    }
  }
}

void Server::Work() {
  ThreadState state;
  for (;;) {
    struct epoll_event event;
    int n = epoll_wait(epoll_.get(), &event, 1, -1);
    if (n <= 0) continue;  // EINTR
    if (event.data.u64 == kStopEvent) return;
    if (event.data.u64 == kKickEvent) {
      uint64_t count;
      (void)!read(kick_.get(), &count, sizeof count);
      for (auto& connection : connections_) ServeAll(*connection, state);
      continue;
    }
    auto& connection = *reinterpret_cast<Connection*>(event.data.u64);
    while (ServeAll(connection, state)) {
      if (options_.spin_ns == 0 || spinning_.exchange(true)) break;
      int64_t end = NowNs() + options_.spin_ns;
      bool served = false;
      while (!(served = ServeAll(connection, state)) && NowNs() < end) __builtin_ia32_pause();
      spinning_ = false;
      if (!served) break;
    }
  }
}

}  // namespace msentry::gofer
