#include "fsimpl/p9/dir_names.h"

#include <atomic>

namespace msentry::p9 {
namespace {

std::atomic<size_t> names_of_all{0};

}  // namespace

void DirNames::BeginEmpty() {
  Forget();
  names_ = std::make_unique<Set>();
}

void DirNames::BeginWith(const Listing& listing) {
  Forget();
  if (listing.size() > kMaxNames) {
    too_large_ = true;
    return;
  }
  BeginEmpty();
  names_->reserve(listing.size());
  for (size_t i = 0; i < listing.size() && names_; ++i) Add(listing.entry(i).name);
}

void DirNames::Forget() {
  if (!names_) return;
  names_of_all.fetch_sub(names_->size(), std::memory_order_relaxed);
  names_.reset();
  misses_ = 0;
}

void DirNames::Add(std::string_view name) {
  if (!names_ || !names_->emplace(name).second) return;
  size_t all = names_of_all.fetch_add(1, std::memory_order_relaxed);
  if (names_->size() <= kMaxNames && all < kMaxNamesOfAll) return;
  Forget();
  too_large_ = true;
}

void DirNames::Remove(std::string_view name) {
  if (!names_) return;
  auto it = names_->find(name);
  if (it == names_->end()) return;
  names_->erase(it);
  names_of_all.fetch_sub(1, std::memory_order_relaxed);
}

bool DirNames::MissCallsForListing(uint32_t enough) {
  return !names_ && !too_large_ && ++misses_ >= enough;
}

}  // namespace msentry::p9
