// Session::Fid: what a fid number of the client stands for.
#pragma once

#include "gofer/server/session.h"

namespace msentry::gofer {

struct Session::Fid : RefCounted<Session::Fid> {
  explicit Fid(RefPtr<Node> node) : node(std::move(node)) {}

  const RefPtr<Node> node;
  Mutex mutex;
  // Tlopen and Tlcreate. A directory's listing state is with the node.
  bool opened ABSL_GUARDED_BY(mutex) = false;
  ScopedFd file ABSL_GUARDED_BY(mutex);
  // Txattrwalk (reading) and Txattrcreate (collecting what is written, set on clunk).
  enum class Xattr : uint8_t { kNone, kRead, kWrite };
  Xattr xattr ABSL_GUARDED_BY(mutex) = Xattr::kNone;
  std::string xattr_name ABSL_GUARDED_BY(mutex);
  std::string xattr_value ABSL_GUARDED_BY(mutex);
  uint64_t xattr_size ABSL_GUARDED_BY(mutex) = 0;
  int xattr_flags ABSL_GUARDED_BY(mutex) = 0;

  // The open file as a fd of the caller's own: another thread may clunk meanwhile.
  Result<ScopedFd> File() {
    MutexLock lock(mutex);
    if (!opened || !file) return Errno::kEBADF;
    return file.Duplicate();
  }
};

}  // namespace msentry::gofer
