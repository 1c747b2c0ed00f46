// InodeWatches: who watches one inode. Internal to vfs (inode.cc, inotify.cc).
//
// The mutex is held while events are queued, so when a watch was removed under it no event of that
// watch is under way.
#pragma once

#include <vector>

#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"

namespace msentry::vfs {

class InotifyWatch;

class InodeWatches {
 public:
  InodeWatches();
  ~InodeWatches();

  Mutex mutex;
  std::vector<RefPtr<InotifyWatch>> list ABSL_GUARDED_BY(mutex);
};

}  // namespace msentry::vfs
