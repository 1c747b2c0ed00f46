// Node: one file of the host that a client has walked to, held by an O_PATH fd (or by the fd it was
// made with), so that neither renames nor replacements on the host change which file it is.
//
// Shared by the fids that were cloned from each other. Immutable but for where it was found and the
// listing state, which have their own lock. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "gofer/server/hidden.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::gofer {

class Attach;

class Node : public RefCounted<Node> {
 public:
  Node(Attach& attach, RefPtr<Node> parent, std::string_view name, ScopedFd fd,
       const host::Stat& stat, const HiddenEntry* replacement)
      : attach(attach),
        fd(std::move(fd)),
        id(stat.dev, stat.ino),
        type(stat.mode & S_IFMT),
        replacement(replacement),
        parent_(std::move(parent)),
        name_(name) {}

  bool IsDir() const { return type == S_IFDIR; }
  bool IsRegular() const { return type == S_IFREG; }

  Attach& attach;
  const ScopedFd fd;    // invalid for an empty directory that stands for something else
  const FileId id;      // the host's; links to the same file have the same
  const uint32_t type;  // S_IFMT bits on the host (a mapped device is S_IFREG)
  const HiddenEntry* const replacement;  // not null: shown instead of a hidden or a special place

  // The directory and name it was reached by; the attach point's root has no parent. May be out of
  // date when others rename: users verify.
  RefPtr<Node> parent() const {
    MutexLock lock(mutex_);
    return parent_;
  }
  std::string name() const {
    MutexLock lock(mutex_);
    return name_;
  }
  void MoveTo(RefPtr<Node> parent, std::string_view name) {
    {
      MutexLock lock(mutex_);
      parent_.swap(parent);
      name_ = name;
    }  // the old parent is released here, unlocked
  }

  // The directory as an open file for listing; kept between the messages of one listing.
  struct Listing {
    ScopedFd fd;
    uint64_t next = 0;  // the cookie its position stands for
  };
  Mutex listing_mutex;
  Listing listing ABSL_GUARDED_BY(listing_mutex);

 private:
  mutable Mutex mutex_;
  RefPtr<Node> parent_ ABSL_GUARDED_BY(mutex_);
  std::string name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::gofer
