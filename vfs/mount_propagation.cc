// Shared, slave, private and unbindable mounts (mount_namespaces(7)). The topology lock is held
// everywhere here.
#include <algorithm>

#include "vfs/inode.h"
#include "vfs/mount_namespace.h"

namespace msentry::vfs {
namespace {

int next_peer_group = 1;  // topology

}  // namespace

void MountNamespace::JoinPeers(Mount& mount, RefPtr<PeerGroup> group) {
  group->peers.push_back(&mount);
  mount.shared_ = std::move(group);
}

void MountNamespace::BecomeSlave(Mount& mount, RefPtr<PeerGroup> master) {
  master->slaves.push_back(&mount);
  mount.master_ = std::move(master);
}

void MountNamespace::MakeShared(Mount& mount) {
  if (mount.shared_) return;
  JoinPeers(mount, MakeRef<PeerGroup>(next_peer_group++));
  mount.unbindable_ = false;
}

void MountNamespace::LeaveMaster(Mount& mount) {
  if (!mount.master_) return;
  std::erase(mount.master_->slaves, &mount);
  mount.master_.Reset();
}

// The last peer's slaves become those of its own master, or of nobody.
void MountNamespace::LeavePeers(Mount& mount) {
  RefPtr<PeerGroup> group;
  group.swap(mount.shared_);
  if (!group) return;
  std::erase(group->peers, &mount);
  if (!group->peers.empty()) return;
  for (Mount* slave : std::exchange(group->slaves, {})) {
    slave->master_.Reset();
    if (mount.master_) BecomeSlave(*slave, mount.master_);
  }
}

void MountNamespace::Change(Mount& mount, Propagation kind) {
  switch (kind) {
    case Propagation::kShared:
      return MakeShared(mount);
    case Propagation::kSlave: {
      // Of the peers it had; without others, of the master it has, or private.
      const RefPtr<PeerGroup> group = mount.shared_;
      if (!group) return;
      LeavePeers(mount);
      if (group->peers.empty()) return;
      LeaveMaster(mount);
      return BecomeSlave(mount, group);
    }
    case Propagation::kPrivate:
    case Propagation::kUnbindable:
      LeavePeers(mount);
      LeaveMaster(mount);
      mount.unbindable_ = kind == Propagation::kUnbindable;
      return;
  }
}

std::vector<MountNamespace::Receiver> MountNamespace::Receivers(const Mount& mount) {
  std::vector<Receiver> found;
  if (!mount.shared_) return found;
  // Groups whose peers and slaves are still to be looked at; a group is reached only once, because
  // masters form a tree.
  std::vector<std::pair<PeerGroup*, bool>> groups{{mount.shared_.get(), false}};
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto [group, slave] = groups[i];
    for (Mount* peer : group->peers) {
      if (peer != &mount) found.push_back({RefPtr<Mount>(peer), slave});
    }
    for (Mount* below : group->slaves) {
      if (!below->shared_) {
        found.push_back({RefPtr<Mount>(below), true});
      } else if (std::none_of(groups.begin(), groups.end(),
                              [&](const auto& g) { return g.first == below->shared_.get(); })) {
        groups.push_back({below->shared_.get(), true});
      }
    }
  }
  return found;
}

Result<> MountNamespace::Propagate(const std::vector<RefPtr<Mount>>& tree, const Location& at) {
  for (const Receiver& receiver : Receivers(*at.mount)) {
    Mount& mount = *receiver.mount;
    if (mount.namespace_ == nullptr || !at.dentry->IsInside(*mount.root_)) continue;
    std::vector<RefPtr<Mount>> copy = TRY(CopyTree(
        tree[0], tree[0]->root(), true, receiver.slave ? CopyKind::kSlave : CopyKind::kLike));
    // A slave with peers of its own shares with them.
    if (receiver.slave && mount.shared_) {
      for (const RefPtr<Mount>& m : copy) MakeShared(*m);
    }
    mount.namespace_->Link(copy[0], Top({receiver.mount, at.dentry}));
    mount.namespace_->Adopt(copy);
  }
  return Ok();
}

}  // namespace msentry::vfs
