// Location: a place in the mount tree, what Linux calls a path: a mount and a dentry in it.
#pragma once

#include "sentry/base/ref_ptr.h"
#include "vfs/dentry.h"
#include "vfs/mount.h"

namespace msentry::vfs {

struct Location {
  RefPtr<Mount> mount;
  RefPtr<Dentry> dentry;

  explicit operator bool() const { return dentry != nullptr; }
  bool operator==(const Location& o) const { return mount == o.mount && dentry == o.dentry; }
  Inode& inode() const { return *dentry->inode(); }  // CHECK-fails on a negative dentry
};

}  // namespace msentry::vfs
