#include "vfs/inotify.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "absl/strings/str_format.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/inotify_watches.h"
#include "vfs/user_memory.h"
#include "vfs/vfs.h"

namespace msentry::vfs {

namespace {

constexpr uint32_t kMaskAdd = 0x20000000, kMaskCreate = 0x10000000, kExclUnlink = 0x04000000,
                   kOneshot = 0x80000000, kIsDir = 0x40000000;

std::atomic<int> watches_anywhere{0};
std::atomic<uint32_t> next_cookie{0};

struct Event {
  int32_t wd;
  uint32_t mask, cookie;
  std::string name;
  bool operator==(const Event&) const = default;
  size_t Size() const { return 16 + NameSpace(); }
  size_t NameSpace() const { return name.empty() ? 0 : (name.size() + 1 + 15) / 16 * 16; }
};

// Instances per user (/proc/sys/fs/inotify/max_user_instances), and watches.
struct UserCounts {
  Mutex mutex;
  std::map<uint32_t, int> instances ABSL_GUARDED_BY(mutex);
  std::map<uint32_t, int> watches ABSL_GUARDED_BY(mutex);
};
UserCounts& Counts() {
  static UserCounts* counts = new UserCounts;
  return *counts;
}

class Inotify;

}  // namespace

class InotifyWatch : public RefCounted<InotifyWatch> {
 public:
  InotifyWatch(Inotify* i, int32_t n, uint32_t m, RefPtr<Inode> w)
      : instance(i), wd(n), mask(m), inode(std::move(w)) {}
  Inotify* const instance;  // valid while the watch is in the inode's list
  const int32_t wd;
  std::atomic<uint32_t> mask;
  const RefPtr<Inode> inode;
};

InodeWatches::InodeWatches() = default;
InodeWatches::~InodeWatches() = default;

namespace {

class Inotify final : public FileDescription {
 public:
  static constexpr char kClassTag = 0;
  const void* ClassTag() const override { return &kClassTag; }

  Inotify(Location location, int flags, const InotifyLimits& limits, uint32_t uid)
      : FileDescription(std::move(location), flags), limits_(limits), uid_(uid) {}

  ~Inotify() override {
    std::map<int32_t, RefPtr<InotifyWatch>> watches;
    {
      MutexLock lock(mutex_);
      watches.swap(watches_);
    }
    for (auto& [wd, watch] : watches) Unhook(*watch);
    UserCounts& counts = Counts();
    MutexLock lock(counts.mutex);
    if (--counts.instances[uid_] == 0) counts.instances.erase(uid_);
  }

  Result<size_t> Read(const OpContext&, mm::IoSequence& to) override {
    size_t done = 0;
    for (;;) {
      Event event;
      {
        MutexLock lock(mutex_);
        if (queue_.empty()) break;
        if (queue_.front().Size() > to.size()) {
          if (done == 0) return Errno::kEINVAL;
          break;
        }
        event = std::move(queue_.front());
        queue_.pop_front();
        queued_bytes_ -= event.Size();
      }
      std::string raw(event.Size(), '\0');
      inotify_event head{event.wd, event.mask, event.cookie,
                         static_cast<uint32_t>(event.NameSpace())};
      memcpy(raw.data(), &head, sizeof head);
      memcpy(raw.data() + sizeof head, event.name.data(), event.name.size());
      done += TRY(to.CopyOut(std::as_bytes(std::span(raw))));
    }
    if (done == 0) return Errno::kEAGAIN;
    return done;
  }

  sched::EventMask Readiness(sched::EventMask mask) override {
    MutexLock lock(mutex_);
    return queue_.empty() ? 0 : mask & (sched::kIn | sched::kRdNorm);
  }
  sched::WaitQueue& wait_queue() override { return wait_; }

  Result<int64_t> Ioctl(const OpContext&, uint32_t command, uint64_t argument,
                        UserMemory& memory) override {
    if (command != FIONREAD) return Errno::kENOTTY;
    int bytes;
    {
      MutexLock lock(mutex_);
      bytes = static_cast<int>(queued_bytes_);
    }
    TRY(memory.Write(argument, bytes));
    return 0;
  }

  std::string FdInfo() override {
    std::string out;
    MutexLock lock(mutex_);
    for (const auto& [wd, watch] : watches_) {
      absl::StrAppendFormat(&out, "inotify wd:%d ino:%x sdev:%x mask:%x ignored_mask:0\n", wd,
                            watch->inode->ino(), watch->inode->fs().dev(),
                            watch->mask.load(std::memory_order_relaxed));
    }
    return out;
  }

  Result<int32_t> AddWatch(Inode& inode, uint32_t mask) {
    const uint32_t kept = mask & (IN_ALL_EVENTS | IN_UNMOUNT | kExclUnlink | kOneshot);
    {
      // A second watch on the same inode changes the first.
      InodeWatches& all = inode.watches();
      MutexLock lock(all.mutex);
      for (const RefPtr<InotifyWatch>& w : all.list) {
        if (w->instance != this) continue;
        if (mask & kMaskCreate) return Errno::kEEXIST;
        w->mask.store(mask & kMaskAdd ? w->mask.load() | kept : kept, std::memory_order_relaxed);
        return w->wd;
      }
    }
    {
      UserCounts& counts = Counts();
      MutexLock lock(counts.mutex);
      int& n = counts.watches[uid_];
      if (n >= limits_.max_user_watches.load(std::memory_order_relaxed)) return Errno::kENOSPC;
      ++n;
    }
    RefPtr<InotifyWatch> watch;
    {
      MutexLock lock(mutex_);
      watch = MakeRef<InotifyWatch>(this, next_wd_++, kept, RefPtr<Inode>(&inode));
      watches_[watch->wd] = watch;
    }
    InodeWatches& all = inode.watches();
    MutexLock lock(all.mutex);
    all.list.push_back(watch);
    watches_anywhere.fetch_add(1, std::memory_order_relaxed);
    return watch->wd;
  }

  Result<> RemoveWatch(int32_t wd) {
    RefPtr<InotifyWatch> watch;
    {
      MutexLock lock(mutex_);
      auto it = watches_.find(wd);
      if (it == watches_.end()) return Errno::kEINVAL;
      watch = std::move(it->second);
      watches_.erase(it);
    }
    if (Unhook(*watch)) Queue({wd, IN_IGNORED, 0, {}});
    return Ok();
  }

  // The inode's list is locked and has dropped the watch already; the reference goes to the caller.
  RefPtr<InotifyWatch> Forget(int32_t wd) {
    Queue({wd, IN_IGNORED, 0, {}});
    CountWatch(-1);
    MutexLock lock(mutex_);
    auto it = watches_.find(wd);
    if (it == watches_.end()) return nullptr;
    RefPtr<InotifyWatch> watch = std::move(it->second);
    watches_.erase(it);
    return watch;
  }

  void Queue(Event event) {
    {
      MutexLock lock(mutex_);
      if (!queue_.empty() && queue_.back() == event) return;
      if (queue_.size() >= static_cast<size_t>(limits_.max_queued_events.load())) {
        event = {-1, IN_Q_OVERFLOW, 0, {}};
        if (queue_.back() == event) return;
      }
      queued_bytes_ += event.Size();
      queue_.push_back(std::move(event));
    }
    wait_.Notify(sched::kIn | sched::kRdNorm);
  }

 private:
  void CountWatch(int change) {
    watches_anywhere.fetch_add(change, std::memory_order_relaxed);
    UserCounts& counts = Counts();
    MutexLock lock(counts.mutex);
    int& n = counts.watches[uid_];
    n += change;
    if (n <= 0) counts.watches.erase(uid_);
  }

  bool Unhook(InotifyWatch& watch) {
    RefPtr<InotifyWatch> drop;
    {
      InodeWatches& all = watch.inode->watches();
      MutexLock lock(all.mutex);
      for (auto it = all.list.begin(); it != all.list.end(); ++it) {
        if (it->get() != &watch) continue;
        drop = std::move(*it);
        all.list.erase(it);
        break;
      }
    }
    if (drop) CountWatch(-1);
    return drop != nullptr;
  }

  const InotifyLimits& limits_;
  const uint32_t uid_;
  sched::WaitQueue wait_;
  Mutex mutex_;
  std::deque<Event> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t next_wd_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<int32_t, RefPtr<InotifyWatch>> watches_ ABSL_GUARDED_BY(mutex_);
};

// Raises `mask` at the watches of `inode`.
void Raise(Inode& inode, uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked) {
  InodeWatches* all = inode.watches_if_any();
  if (!all) return;
  std::vector<RefPtr<InotifyWatch>> drop;
  MutexLock lock(all->mutex);
  for (size_t i = 0; i < all->list.size();) {
    InotifyWatch& w = *all->list[i];
    const uint32_t wanted = w.mask.load(std::memory_order_relaxed);
    if (!(wanted & mask & IN_ALL_EVENTS) || (unlinked && wanted & kExclUnlink)) {
      ++i;
      continue;
    }
    w.instance->Queue({w.wd, mask, cookie, std::string(name)});
    if (wanted & kOneshot) {
      drop.push_back(std::move(all->list[i]));
      all->list.erase(all->list.begin() + i);
      drop.push_back(drop.back()->instance->Forget(drop.back()->wd));
    } else {
      ++i;
    }
  }
}

}  // namespace

Result<RefPtr<FileDescription>> MakeInotify(const OpContext& ctx, int flags) {
  const uint32_t uid = ctx.creds.uid;
  InotifyLimits& limits = ctx.vfs.inotify_limits();
  {
    UserCounts& counts = Counts();
    MutexLock lock(counts.mutex);
    int& n = counts.instances[uid];
    if (n >= limits.max_user_instances.load(std::memory_order_relaxed)) return Errno::kEMFILE;
    ++n;
  }
  Location location =
      MakeAnonymousLocation(MakeAnonymousInode(ctx.vfs, ctx.creds, 0600), "anon_inode:inotify");
  return RefPtr<FileDescription>(
      MakeRef<Inotify>(std::move(location), O_RDONLY | (flags & O_NONBLOCK), limits, uid));
}

Result<int32_t> AddInotifyWatch(const OpContext&, FileDescription& file, Inode& inode,
                                uint32_t mask) {
  Inotify* instance = FileCast<Inotify>(file);
  if (!instance || !(mask & IN_ALL_EVENTS)) return Errno::kEINVAL;
  if (mask & kMaskAdd && mask & kMaskCreate) return Errno::kEINVAL;
  return instance->AddWatch(inode, mask);
}

Result<> RemoveInotifyWatch(FileDescription& file, int32_t watch) {
  Inotify* instance = FileCast<Inotify>(file);
  if (!instance) return Errno::kEINVAL;
  return instance->RemoveWatch(watch);
}

bool InotifyActive() { return watches_anywhere.load(std::memory_order_relaxed) != 0; }
uint32_t NextMoveCookie() { return next_cookie.fetch_add(1, std::memory_order_relaxed) + 1; }

void NotifyInode(Inode& inode, uint32_t mask) {
  if (!InotifyActive()) return;
  Raise(inode, mask | (inode.IsDir() ? kIsDir : 0), 0, {}, false);
}

void NotifyFile(Dentry& dentry, uint32_t mask) {
  if (!InotifyActive() || dentry.negative()) return;
  Inode& inode = *dentry.inode();
  if (inode.IsDir()) mask |= kIsDir;
  std::string name;
  RefPtr<Dentry> parent = dentry.ParentAndName(&name);
  if (parent && parent->inode()) Raise(*parent->inode(), mask, 0, name, dentry.IsDeleted());
  Raise(inode, mask, 0, {}, false);
}

void NotifyName(Inode& dir, std::string_view name, bool is_dir, uint32_t mask, uint32_t cookie) {
  if (!InotifyActive()) return;
  Raise(dir, mask | (is_dir ? kIsDir : 0), cookie, name, false);
}

void EndWatches(Inode& inode, uint32_t last_event) {
  if (!InotifyActive()) return;
  if (last_event == IN_UNMOUNT) {
    InodeWatches* all = inode.watches_if_any();
    if (!all) return;
    MutexLock lock(all->mutex);
    for (const auto& w : all->list) w->instance->Queue({w->wd, IN_UNMOUNT, 0, {}});
  } else {
    Raise(inode, last_event, 0, {}, false);
  }
  InodeWatches* all = inode.watches_if_any();
  if (!all) return;
  std::vector<RefPtr<InotifyWatch>> drop;
  MutexLock lock(all->mutex);
  drop.swap(all->list);
  const size_t n = drop.size();
  for (size_t i = 0; i < n; ++i) drop.push_back(drop[i]->instance->Forget(drop[i]->wd));
}

}  // namespace msentry::vfs
