// NameMap<T>: a hash map from names to T that is looked up by std::string_view (Debian's abseil has
// a string_view of its own).
#pragma once

#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"

namespace msentry::vfs {

struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return absl::Hash<std::string_view>()(s); }
};
struct NameEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};
template <typename T>
using NameMap = absl::flat_hash_map<std::string, T, NameHash, NameEqual>;

}  // namespace msentry::vfs
