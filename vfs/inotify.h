// inotify(7): instances, watches, and the calls by which vfs raises events.
//
// An instance is a FileDescription with a bounded queue; watches hang on inodes (InodeWatches).
// When nothing is watched anywhere, raising an event costs one load.
//
// Locks: an inode's watch list → an instance's queue → its wait queue. Raising never parks.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/context.h"

namespace msentry::vfs {

class Dentry;
class FileDescription;
class Inode;

// /proc/sys/fs/inotify.
struct InotifyLimits {
  std::atomic<int> max_queued_events{16384};
  std::atomic<int> max_user_instances{128};
  std::atomic<int> max_user_watches{8192};
};

// inotify_init1(2): `flags` has O_NONBLOCK or not. EMFILE over the user's instances.
Result<RefPtr<FileDescription>> MakeInotify(const OpContext& ctx, int flags);
// inotify_add_watch(2) on a resolved inode; returns the watch descriptor. EINVAL when `file` is not
// an inotify instance, ENOSPC over the limit. Read permission is the caller's check.
Result<int32_t> AddInotifyWatch(const OpContext& ctx, FileDescription& file, Inode& inode,
                                uint32_t mask);
Result<> RemoveInotifyWatch(FileDescription& file, int32_t watch);

// An event on an inode itself (IN_ATTRIB, IN_DELETE_SELF ...) and, with the name, on its parent.
// `mask` without IN_ISDIR: it is added here.
void NotifyInode(Inode& inode, uint32_t mask);
void NotifyFile(Dentry& dentry, uint32_t mask);
// An event about a name in the directory `dir` (IN_CREATE, IN_DELETE, IN_MOVED_*).
void NotifyName(Inode& dir, std::string_view name, bool is_dir, uint32_t mask, uint32_t cookie = 0);
uint32_t NextMoveCookie();
// The inode's last name is gone: IN_DELETE_SELF, IN_IGNORED, watches end. (Umount: IN_UNMOUNT.)
void EndWatches(Inode& inode, uint32_t last_event);
// Does anybody watch anything?
bool InotifyActive();

}  // namespace msentry::vfs
