#include "net/inet/port_table.h"

#include <sys/random.h>

namespace msentry::net {
namespace {

// Do two claims on one port cover a common address?
bool Overlap(const PortTable::Claim& a, const PortTable::Claim& b) {
  const auto covers = [](const PortTable::Claim& wide, const PortTable::Claim& other) {
    if (!wide.address.IsWildcard()) return wide.address.ip == other.address.ip;
    if (wide.address.IsV4())
      return other.address.IsV4() || (other.address.IsWildcard() && !other.v6_only);
    return !other.address.IsV4() || !wide.v6_only;
  };
  return covers(a, b) || covers(b, a);
}

}  // namespace

PortTable& PortTable::Tcp() {
  static auto* table = new PortTable;
  return *table;
}

PortTable& PortTable::Udp() {
  static auto* table = new PortTable;
  return *table;
}

bool PortTable::Conflicts(const Claim& claim, const Endpoint& endpoint) const {
  auto [first, last] = claims_.equal_range(claim.address.port);
  for (auto it = first; it != last; ++it) {
    const Entry& other = it->second;
    if (other.endpoint.get() == &endpoint || !Overlap(claim, other.claim)) continue;
    if (claim.reuse_port && other.claim.reuse_port && claim.uid == other.claim.uid) continue;
    const bool stream = endpoint.type() == SOCK_STREAM;
    if (claim.reuse_address && other.claim.reuse_address &&
        !(stream && other.endpoint->listening())) {
      continue;
    }
    return true;
  }
  return false;
}

Result<> PortTable::Bind(Claim* claim, const RefPtr<Endpoint>& endpoint) {
  MutexLock lock(mutex_);
  if (claim->address.port != 0) {
    if (Conflicts(*claim, *endpoint)) return Errno::kEADDRINUSE;
  } else {
    // Each search goes on where the last one ended, so that a port just freed is not taken at once.
    Claim trial = *claim;
    trial.reuse_address = trial.reuse_port = false;
    bool found = false;
    for (int tries = kLastEphemeral - kFirstEphemeral + 1; tries > 0 && !found; tries--) {
      trial.address.port = next_ephemeral_;
      next_ephemeral_ = next_ephemeral_ == kLastEphemeral ? kFirstEphemeral : next_ephemeral_ + 1;
      found = !Conflicts(trial, *endpoint);
    }
    if (!found) return Errno::kEADDRINUSE;
    claim->address.port = trial.address.port;
  }
  claims_.emplace(claim->address.port, Entry{*claim, endpoint});
  return Ok();
}

Result<> PortTable::CheckListen(const RefPtr<Endpoint>& endpoint) {
  MutexLock lock(mutex_);
  for (const auto& [port, entry] : claims_) {
    if (entry.endpoint != endpoint) continue;
    auto [first, last] = claims_.equal_range(port);
    for (auto it = first; it != last; ++it) {
      const Entry& other = it->second;
      if (other.endpoint == endpoint || !other.endpoint->listening()) continue;
      if (entry.claim.reuse_port && other.claim.reuse_port) continue;
      if (Overlap(entry.claim, other.claim)) return Errno::kEADDRINUSE;
    }
  }
  return Ok();
}

void PortTable::Unbind(const RefPtr<Endpoint>& endpoint) {
  std::vector<Entry> dropped;
  MutexLock lock(mutex_);
  for (auto it = claims_.begin(); it != claims_.end();) {
    if (it->second.endpoint == endpoint) {
      dropped.push_back(std::move(it->second));
      it = claims_.erase(it);
    } else {
      ++it;
    }
  }
}

RefPtr<Endpoint> PortTable::Find(const InetAddress& address, bool listening) {
  MutexLock lock(mutex_);
  auto [first, last] = claims_.equal_range(address.port);
  const Entry* best = nullptr;
  int best_score = -1;
  for (auto it = first; it != last; ++it) {
    const Entry& entry = it->second;
    if (!entry.endpoint->alive() || (listening && !entry.endpoint->listening())) continue;
    int score;
    if (entry.claim.address.ip == address.ip) {
      score = 2;
    } else if (!entry.claim.address.IsWildcard()) {
      continue;
    } else if (entry.claim.address.IsV4() == address.IsV4()) {
      score = 1;
    } else if (address.IsV4() && !entry.claim.v6_only) {
      score = 0;  // an IPv6 wildcard takes IPv4 as well
    } else {
      continue;
    }
    // Among equals the latest wins, as with datagram sockets that share a port.
    if (score >= best_score) {
      best = &entry;
      best_score = score;
    }
  }
  return best ? best->endpoint : nullptr;
}

std::vector<PortTable::Entry> PortTable::List() {
  std::vector<Entry> list;
  MutexLock lock(mutex_);
  for (const auto& [port, entry] : claims_) list.push_back(entry);
  return list;
}

}  // namespace msentry::net
