// Host ids and the ids a client sees, per attach point.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gofer/config.h"

namespace msentry::gofer {

inline constexpr uint32_t kOverflowId = 65534;

class IdMap {
 public:
  IdMap() = default;
  explicit IdMap(std::vector<IdRange> ranges) : ranges_(std::move(ranges)) {}

  // What the client sees; kOverflowId outside every range.
  uint32_t ToInside(uint32_t outside) const {
    if (ranges_.empty()) return outside;
    for (const IdRange& r : ranges_) {
      if (outside >= r.outside && outside - r.outside < r.count) {
        return r.inside + (outside - r.outside);
      }
    }
    return kOverflowId;
  }
  std::optional<uint32_t> ToOutside(uint32_t inside) const {
    if (ranges_.empty()) return inside;
    for (const IdRange& r : ranges_) {
      if (inside >= r.inside && inside - r.inside < r.count) return r.outside + (inside - r.inside);
    }
    return std::nullopt;
  }

 private:
  std::vector<IdRange> ranges_;  // immutable
};

}  // namespace msentry::gofer
