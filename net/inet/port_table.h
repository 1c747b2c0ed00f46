// PortTable: who is bound to which port of the sandbox's loopback, for one protocol. One table each
// for TCP and UDP; one network a sandbox.
#pragma once

#include <sys/socket.h>

#include <map>

#include "net/endpoint.h"
#include "net/inet/inet_address.h"

namespace msentry::net {

class PortTable {
 public:
  static PortTable& Tcp();
  static PortTable& Udp();

  struct Claim {
    InetAddress address;
    bool v6_only = false;  // an IPv6 wildcard that leaves IPv4 alone
    bool reuse_address = false, reuse_port = false;
    uint32_t uid = 0;
  };
  // Binds; port 0 picks a free one (32768..60999) and stores it in claim->address. EADDRINUSE.
  // TCP with SO_REUSEADDR may share a port that nobody listens on; UDP shares when all set it.
  Result<> Bind(Claim* claim, const RefPtr<Endpoint>& endpoint);
  // The claims on a port again once the socket begins to listen: EADDRINUSE if another listens.
  Result<> CheckListen(const RefPtr<Endpoint>& endpoint);
  void Unbind(const RefPtr<Endpoint>& endpoint);
  // Who gets what is sent to `address`: the most specific claim; null when there is none. With
  // `listening`, only listeners.
  RefPtr<Endpoint> Find(const InetAddress& address, bool listening);

  struct Entry {
    Claim claim;
    RefPtr<Endpoint> endpoint;
  };
  std::vector<Entry> List();  // /proc/net/tcp

 private:
  static constexpr uint16_t kFirstEphemeral = 32768, kLastEphemeral = 60999;
  bool Conflicts(const Claim& claim, const Endpoint& endpoint) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::multimap<uint16_t, Entry> claims_ ABSL_GUARDED_BY(mutex_);
  uint16_t next_ephemeral_ ABSL_GUARDED_BY(mutex_) = kFirstEphemeral;
};

}  // namespace msentry::net
