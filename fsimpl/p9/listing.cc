#include "fsimpl/p9/listing.h"

namespace msentry::p9 {
namespace {

// Beyond this a server is not telling the truth, or nobody can use the answer.
constexpr size_t kMaxBytes = 512u << 20;

}  // namespace

Result<std::shared_ptr<const Listing>> Listing::Fetch(Client& client, FidNumber dir) {
  return Fetch(client, dir, false);
}

Result<std::shared_ptr<const Listing>> Listing::FetchSmall(Client& client, FidNumber dir) {
  return Fetch(client, dir, true);
}

Result<std::shared_ptr<const Listing>> Listing::Fetch(Client& client, FidNumber dir, bool small) {
  auto listing = std::make_shared<Listing>();
  uint64_t offset = 0;
  for (;;) {
    bool at_end = false;
    std::vector<uint8_t> chunk = TRY(client.List(dir, offset, &at_end));
    if (chunk.empty()) break;
    if (listing->bytes_.size() + chunk.size() > kMaxBytes) return Errno::kEIO;
    size_t base = listing->bytes_.size();
    std::span<const uint8_t> rest(chunk);
    Dirent entry;
    uint64_t last = offset;
    while (!rest.empty()) {
      size_t at = chunk.size() - rest.size();
      if (!TakeDirent(rest, entry)) return Errno::kEIO;
      last = entry.offset;
      if (entry.name == "." || entry.name == "..") continue;
      listing->starts_.push_back(static_cast<uint32_t>(base + at));
    }
    listing->bytes_.insert(listing->bytes_.end(), chunk.begin(), chunk.end());
    if (at_end) break;
    if (small && offset != 0) return std::shared_ptr<const Listing>();
    if (last == offset) return Errno::kEIO;  // no progress
    offset = last;
  }
  listing->bytes_.shrink_to_fit();
  listing->starts_.shrink_to_fit();
  return std::shared_ptr<const Listing>(std::move(listing));
}

Dirent Listing::entry(size_t index) const {
  std::span<const uint8_t> rest(bytes_);
  rest = rest.subspan(starts_[index]);
  Dirent entry;
  CHECK(TakeDirent(rest, entry));  // checked when it came
  return entry;
}

}  // namespace msentry::p9
