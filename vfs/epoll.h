// epoll(7): interest sets as file descriptions.
//
// An item watches one description (not one inode) under one fd number, and does not keep it open:
// the description's last reference takes it out of every set (FileDescription::Unref). Nothing
// here waits; epoll_wait(2) is the call layer's: BlockOn(epoll.wait_queue(), ..., Harvest).
//
// Locks: one topology mutex (items of sets, links of descriptions) → a file's wait queue → a set's
// ready mutex → the set's own wait queue. References are dropped with none held.
#pragma once

#include <map>
#include <span>

#include "sentry/abi/poll.h"
#include "vfs/file_description.h"

namespace msentry::vfs {

class Vfs;

class EpollFile : public FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  explicit EpollFile(Location location);
  ~EpollFile() override;

  // EPOLL_CTL_ADD: EEXIST, EPERM (file cannot be polled), ELOOP (sets in sets too deep or in a
  // circle), EINVAL (bad EPOLLEXCLUSIVE combinations), ENOSPC (over kMaxItems in this set).
  Result<> Add(FileDescription& target, int fd, const abi::EpollEvent& event);
  Result<> Modify(FileDescription& target, int fd, const abi::EpollEvent& event);  // ENOENT
  Result<> Remove(FileDescription& target, int fd);                                // ENOENT

  // Moves ready events out; EAGAIN when there is none.
  Result<size_t> Harvest(std::span<abi::EpollEvent> out);

  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return queue_; }
  std::string FdInfo() override;

  static constexpr size_t kMaxItems = 1 << 16;
  static constexpr size_t kMaxAllItems = 1 << 20;  // in all sets: fs.epoll.max_user_watches

 private:
  friend class EpollLinks;
  friend class FileDescription;
  struct Item;
  using Key = std::pair<FileDescription*, int>;

  void OnEvent(Item& item, sched::EventMask events);
  void Enqueue(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(ready_mutex_);
  void Dequeue(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(ready_mutex_);
  // Pops the first item with its target, whose reference the caller gets. Null: none.
  RefPtr<Item> Pop(RefPtr<FileDescription>* target);
  void Unlink(Item& item);                                // topology mutex held
  int DepthBelow(int limit) const;                        // topology mutex held; > limit: too deep
  bool Reaches(const EpollFile& other, int limit) const;  // topology mutex held

  std::map<Key, RefPtr<Item>> items_;  // guarded by the topology mutex
  Mutex ready_mutex_;
  Item* first_ ABSL_GUARDED_BY(ready_mutex_) = nullptr;
  Item* last_ ABSL_GUARDED_BY(ready_mutex_) = nullptr;
  size_t ready_count_ ABSL_GUARDED_BY(ready_mutex_) = 0;
  sched::WaitQueue queue_;
};

// epoll_create1(2).
RefPtr<EpollFile> MakeEpoll(const OpContext& ctx);

}  // namespace msentry::vfs
