#include "vfs/epoll.h"

#include <sys/epoll.h>

#include "absl/strings/str_format.h"
#include "vfs/vfs.h"

namespace msentry::vfs {
namespace {

constexpr int kMaxNesting = 5;  // sets in sets, as Linux's EP_MAX_NESTS

// Reported whether asked for or not.
constexpr uint32_t kUnasked = EPOLLERR | EPOLLHUP;
constexpr uint32_t kPrivateBits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

// Guards which description is in which set. Short: nothing under it parks.
size_t item_count = 0;  // guarded by the topology mutex

Mutex& TopologyMutex() {
  static Mutex* mutex = new Mutex;  // never destroyed: descriptions may outlive main()
  return *mutex;
}

}  // namespace

const char EpollFile::kClassTag = 0;

struct EpollFile::Item : RefCounted<EpollFile::Item> {
  Item(EpollFile& e, FileDescription& t, int f, const abi::EpollEvent& ev)
      : epoll(e),
        target(t),
        fd(f),
        events(ev.events),
        data(ev.data),
        waiter(sched::kAllEvents, [this](sched::EventMask m) { epoll.OnEvent(*this, m); }) {
    waiter.exclusive = ev.events & EPOLLEXCLUSIVE;
  }

  EpollFile& epoll;
  FileDescription& target;  // alive until LeaveEpollSets has unlinked this item
  const int fd;
  std::atomic<uint32_t> events;  // 0 but for the private bits: disarmed (EPOLLONESHOT)
  std::atomic<uint64_t> data;
  sched::Waiter waiter;

  // Guarded by epoll.ready_mutex_.
  bool queued = false;
  bool dead = false;  // unlinked: must not be queued again
  Item* next = nullptr;
  Item* prev = nullptr;
};

// The items that watch one description. Guarded by the topology mutex.
class EpollLinks {
 public:
  std::vector<EpollFile::Item*> items;

  static EpollLinks& Of(FileDescription& file) {
    EpollLinks* links = file.epoll_links_.load(std::memory_order_acquire);
    if (links == nullptr) {
      links = new EpollLinks;
      file.epoll_links_.store(links, std::memory_order_release);
    }
    return *links;
  }
};

void FileDescription::LeaveEpollSets() const {
  std::vector<RefPtr<EpollFile::Item>> gone;  // dropped after the lock
  EpollLinks* links = epoll_links_.load(std::memory_order_acquire);
  {
    MutexLock lock(TopologyMutex());
    while (!links->items.empty()) {
      EpollFile::Item& item = *links->items.back();
      gone.emplace_back(&item);
      item.epoll.Unlink(item);
    }
    epoll_links_.store(nullptr, std::memory_order_release);
  }
  delete links;
}

EpollFile::EpollFile(Location location) : FileDescription(std::move(location), O_RDWR) {}

EpollFile::~EpollFile() {
  std::vector<RefPtr<Item>> gone;
  MutexLock lock(TopologyMutex());
  while (!items_.empty()) {
    gone.push_back(items_.begin()->second);
    Unlink(*gone.back());
  }
}

void EpollFile::Unlink(Item& item) {
  item.target.wait_queue().Remove(&item.waiter);
  {
    MutexLock lock(ready_mutex_);
    item.dead = true;
    if (item.queued) Dequeue(item);
  }
  std::erase(EpollLinks::Of(item.target).items, &item);
  item_count--;
  items_.erase(Key(&item.target, item.fd));  // the caller holds a reference of the item
}

int EpollFile::DepthBelow(int limit) const {
  if (limit < 0) return 1;
  int depth = 0;
  for (const auto& [key, item] : items_) {
    if (auto* inner = FileCast<EpollFile>(item->target)) {
      depth = std::max(depth, 1 + inner->DepthBelow(limit - 1));
    }
  }
  return depth;
}

bool EpollFile::Reaches(const EpollFile& other, int limit) const {
  if (this == &other || limit < 0) return true;
  for (const auto& [key, item] : items_) {
    auto* inner = FileCast<EpollFile>(item->target);
    if (inner != nullptr && inner->Reaches(other, limit - 1)) return true;
  }
  return false;
}

Result<> EpollFile::Add(FileDescription& target, int fd, const abi::EpollEvent& event) {
  if (!target.SupportsEpoll()) return Errno::kEPERM;
  auto* inner = FileCast<EpollFile>(target);
  if (inner == this) return Errno::kEINVAL;
  if (event.events & EPOLLEXCLUSIVE) {
    constexpr uint32_t kAllowed =
        EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
    if (inner != nullptr || (event.events & ~kAllowed)) return Errno::kEINVAL;
  }
  abi::EpollEvent asked = event;
  asked.events |= kUnasked;
  RefPtr<Item> item = MakeRef<Item>(*this, target, fd, asked);
  {
    MutexLock lock(TopologyMutex());
    if (items_.contains(Key(&target, fd))) return Errno::kEEXIST;
    if (items_.size() >= kMaxItems || item_count >= kMaxAllItems) return Errno::kENOSPC;
    if (inner != nullptr &&
        (inner->Reaches(*this, kMaxNesting) || inner->DepthBelow(kMaxNesting) + 1 >= kMaxNesting)) {
      return Errno::kELOOP;
    }
    items_.emplace(Key(&target, fd), item);
    item_count++;
    EpollLinks::Of(target).items.push_back(item.get());
    target.wait_queue().Add(&item->waiter);
  }
  const sched::EventMask ready = target.Readiness((event.events | kUnasked) & ~kPrivateBits);
  if (ready != 0) OnEvent(*item, ready);
  return Ok();
}

Result<> EpollFile::Modify(FileDescription& target, int fd, const abi::EpollEvent& event) {
  RefPtr<Item> item;
  {
    MutexLock lock(TopologyMutex());
    auto it = items_.find(Key(&target, fd));
    if (it == items_.end()) return Errno::kENOENT;
    item = it->second;
    if ((event.events | item->events.load()) & EPOLLEXCLUSIVE) return Errno::kEINVAL;
    item->data.store(event.data);
    item->events.store(event.events | kUnasked);
  }
  const sched::EventMask ready = target.Readiness((event.events | kUnasked) & ~kPrivateBits);
  if (ready != 0) OnEvent(*item, ready);
  return Ok();
}

Result<> EpollFile::Remove(FileDescription& target, int fd) {
  RefPtr<Item> item;
  MutexLock lock(TopologyMutex());
  auto it = items_.find(Key(&target, fd));
  if (it == items_.end()) return Errno::kENOENT;
  item = it->second;
  Unlink(*item);
  return Ok();
}

// Runs under the target's wait queue lock.
void EpollFile::OnEvent(Item& item, sched::EventMask events) {
  const uint32_t wanted = item.events.load(std::memory_order_acquire) & ~kPrivateBits;
  if (wanted == 0) return;
  if ((events & (wanted | sched::kErr | sched::kHup)) == 0) return;
  {
    MutexLock lock(ready_mutex_);
    if (item.dead) return;
    if (!item.queued) Enqueue(item);
  }
  queue_.Notify(sched::kIn | sched::kRdNorm);
}

void EpollFile::Enqueue(Item& item) {
  item.queued = true;
  item.next = nullptr;
  item.prev = last_;
  (last_ ? last_->next : first_) = &item;
  last_ = &item;
  ready_count_++;
}

void EpollFile::Dequeue(Item& item) {
  item.queued = false;
  (item.prev ? item.prev->next : first_) = item.next;
  (item.next ? item.next->prev : last_) = item.prev;
  item.next = item.prev = nullptr;
  ready_count_--;
}

RefPtr<EpollFile::Item> EpollFile::Pop(RefPtr<FileDescription>* target) {
  MutexLock lock(ready_mutex_);
  while (first_ != nullptr) {
    Item& item = *first_;
    Dequeue(item);
    // A description whose last reference is being dropped is on its way out of the set.
    if (!item.target.TryRef()) continue;
    *target = RefPtr<FileDescription>::Adopt(&item.target);
    return RefPtr<Item>(&item);
  }
  return nullptr;
}

Result<size_t> EpollFile::Harvest(std::span<abi::EpollEvent> out) {
  size_t found = 0;
  size_t budget;  // items looked at: level-triggered ones go back to the end of the list
  {
    MutexLock lock(ready_mutex_);
    budget = ready_count_;
  }
  for (; found < out.size() && budget > 0; budget--) {
    RefPtr<FileDescription> target;
    RefPtr<Item> item = Pop(&target);
    if (!item) break;
    uint32_t events = item->events.load(std::memory_order_acquire);
    const uint32_t wanted = events & ~kPrivateBits;
    if (wanted == 0) continue;
    const sched::EventMask ready = target->Readiness(wanted) & (wanted | sched::kErr | sched::kHup);
    if (ready == 0) continue;
    out[found++] = {ready, item->data.load()};
    if (events & EPOLLONESHOT) {
      item->events.compare_exchange_strong(events, events & kPrivateBits);
    } else if (!(events & EPOLLET)) {
      MutexLock lock(ready_mutex_);
      if (!item->dead && !item->queued) Enqueue(*item);
    }
  }
  if (found == 0) return Errno::kEAGAIN;
  return found;
}

sched::EventMask EpollFile::Readiness(sched::EventMask mask) {
  size_t budget;
  {
    MutexLock lock(ready_mutex_);
    budget = ready_count_;
  }
  for (; budget > 0; budget--) {
    RefPtr<FileDescription> target;
    RefPtr<Item> item = Pop(&target);
    if (!item) return 0;
    const uint32_t wanted = item->events.load(std::memory_order_acquire) & ~kPrivateBits;
    if (wanted == 0 || target->Readiness(wanted) == 0) continue;
    MutexLock lock(ready_mutex_);
    if (!item->dead && !item->queued) Enqueue(*item);
    return mask & (sched::kIn | sched::kRdNorm);
  }
  return 0;
}

std::string EpollFile::FdInfo() {
  std::string text;
  MutexLock lock(TopologyMutex());
  for (const auto& [key, item] : items_) {
    absl::StrAppendFormat(&text, "tfd: %8d events: %8x data: %16x\n", item->fd, item->events.load(),
                          item->data.load());
  }
  return text;
}

RefPtr<EpollFile> MakeEpoll(const OpContext& ctx) {
  return MakeRef<EpollFile>(MakeAnonymousLocation(MakeAnonymousInode(ctx.vfs, ctx.creds, 0600),
                                                  "anon_inode:[eventpoll]"));
}

}  // namespace msentry::vfs
