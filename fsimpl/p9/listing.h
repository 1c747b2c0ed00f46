// Listing: a directory's entries as the server sent them, checked, without "." and "..". Immutable
// once built and shared by the descriptions that read it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fsimpl/p9/client.h"

namespace msentry::p9 {

class Listing {
 public:
  // Reads all of it.
  static Result<std::shared_ptr<const Listing>> Fetch(Client& client, FidNumber dir);
  // Null when it does not fit into one message.
  static Result<std::shared_ptr<const Listing>> FetchSmall(Client& client, FidNumber dir);

  size_t size() const { return starts_.size(); }
  // Views into this listing.
  Dirent entry(size_t index) const;
  size_t bytes() const { return bytes_.size() + starts_.size() * sizeof(uint32_t); }

 private:
  static Result<std::shared_ptr<const Listing>> Fetch(Client& client, FidNumber dir, bool small);

  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> starts_;
};

}  // namespace msentry::p9
