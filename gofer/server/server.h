// Server: sockets and threads around Sessions. All threads serve all connections: whoever is idle
// takes the next request, so a slow one holds up nobody while another thread is free.
//
//   Server server(attaches, {.threads = 3});
//   TRY(server.Add(std::move(socket)));
//   server.Run();      // returns when every connection is closed
#pragma once

#include <memory>
#include <vector>

#include "gofer/server/attach.h"
#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::gofer {

class Connection;

class Server {
 public:
  struct Options {
    int threads = 3;
    // How long a thread that has answered looks for the next request before it sleeps. A sleeping
    // thread costs its next caller a wake-up of several microseconds.
    int64_t spin_ns = 0;
  };
  Server(std::vector<Attach*> attaches, const Options& options);
  ~Server();

  // A connected stream socket. Before Run().
  Result<> Add(ScopedFd socket);
  // Serves on the calling thread and threads - 1 more until the last connection ends.
  void Run();

 private:
  void Work();
  bool ServeAll(Connection& connection, struct ThreadState& state);

  const std::vector<Attach*> attaches_;
  const Options options_;
  ScopedFd epoll_;
  ScopedFd kick_;  // eventfd: a connection has whole requests buffered
  ScopedFd stop_;  // eventfd, never read: wakes every thread for good
  std::vector<std::unique_ptr<Connection>> connections_;  // fixed once running
  std::atomic<size_t> open_{0};
  std::atomic<bool> spinning_{false};
};

}  // namespace msentry::gofer
