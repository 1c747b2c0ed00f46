// The fuzzed interface of path walk: one input is a few symlink targets, resolve flags and a path,
// in a small tree with a mount and a bind mount. What PathWalker says is compared with a plain
// resolver that works on component lists. Shared by the libFuzzer target and the bounded test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace msentry::vfs {

// Aborts (CHECK) when the two disagree.
void FuzzPathWalk(const uint8_t* data, size_t size);

}  // namespace msentry::vfs
