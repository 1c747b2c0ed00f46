// DirNames: all names of a directory that nobody but us changes, so that a name that is not there
// is known to be absent without a message. Overlay asks that for every file it makes and removes.
//
//   DirNames names;
//   names.BeginEmpty();            // we made the directory
//   names.BeginWith(listing);      // or: the server has listed it
//   if (names.IsAbsent("x")) return Errno::kENOENT;
//
// Knowledge is given up when a directory, or all of them together, have too many names, and when a
// change failed in a way that leaves it open what is there. The owner's lock guards it; changes and
// questions come under the directory's dir_mutex, so that they are in the order the server sees.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "fsimpl/p9/listing.h"
#include "vfs/name_map.h"

namespace msentry::p9 {

class DirNames {
 public:
  static constexpr size_t kMaxNames = 16384;            // of one directory
  static constexpr size_t kMaxNamesOfAll = 512 * 1024;  // of the process

  ~DirNames() { Forget(); }

  bool known() const { return names_ != nullptr; }
  void BeginEmpty();
  void BeginWith(const Listing& listing);
  void Forget();
  // The server could not list it, or there are too many: not again.
  void GiveUp() { too_large_ = true; }

  // False also when nothing is known.
  bool IsAbsent(std::string_view name) const { return names_ && !names_->contains(name); }
  void Add(std::string_view name);
  void Remove(std::string_view name);

  // Counts the messages that found a name absent; true when there were `enough` to make a listing
  // worth its message, and there is hope that it helps.
  bool MissCallsForListing(uint32_t enough);

 private:
  using Set = absl::flat_hash_set<std::string, vfs::NameHash, vfs::NameEqual>;

  std::unique_ptr<Set> names_;  // null: not known
  uint32_t misses_ = 0;
  bool too_large_ = false;
};

}  // namespace msentry::p9
