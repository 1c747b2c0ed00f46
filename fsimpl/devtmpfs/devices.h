// The memory devices (mem(4), random(4)) and the contents of /dev.
#pragma once

#include <string>
#include <vector>

#include "sentry/base/result.h"
#include "vfs/vfs.h"

namespace msentry::devtmpfs {

// Registers char devices 1:3 null, 1:5 zero, 1:7 full, 1:8 random, 1:9 urandom.
void RegisterDevices(vfs::Vfs& vfs);

// What stands in /dev: device nodes (mode with type, rdev), links (target), directories.
struct Node {
  std::string name;
  uint32_t mode = 0;  // type and permission bits
  uint64_t rdev = 0;
  std::string target;  // symlinks
};
const std::vector<Node>& Nodes();

// Makes Nodes() in the directory `dev` (an empty, writable file system, e.g. a fresh tmpfs).
Result<> Populate(const vfs::OpContext& ctx, const vfs::Location& dev);

}  // namespace msentry::devtmpfs
