// The host files that nobody sees (Config::hidden), recognised by identity: a hidden path is known
// as (device and inode of its directory, name), so that it stays hidden when the file is replaced
// or reached through another attach point or mount, and as (device, inode) of the file itself, so
// that another hard link does not show it. Built once before serving; immutable afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gofer/config.h"
#include "gofer/server/host.h"

namespace msentry::gofer {

struct HiddenEntry {
  HiddenPath::Show show = HiddenPath::Show::kAbsent;
  ScopedFd content;  // kFile: sealed memfd
  ScopedFd pin;      // the hidden file: while it is open, no other file gets its inode number
  host::Stat stat;   // what it shows (kFile, kEmptyDirectory)
};

using FileId = std::pair<uint64_t, uint64_t>;  // device, inode

class HiddenSet {
 public:
  // Paths that do not exist are watched by name when their directory exists, else ignored.
  static Result<HiddenSet> Create(const std::vector<HiddenPath>& paths);

  bool empty() const { return entries_.empty(); }
  // The entry for `name` in the directory `dir`; null if it is not hidden by name.
  const HiddenEntry* Find(FileId dir, std::string_view name) const;
  // The entry for the file itself.
  const HiddenEntry* Find(FileId file) const;

 private:
  std::vector<std::unique_ptr<HiddenEntry>> entries_;
  absl::flat_hash_map<std::pair<FileId, std::string>, const HiddenEntry*> by_name_;
  absl::flat_hash_map<FileId, const HiddenEntry*> by_file_;
  std::vector<std::tuple<FileId, std::string, const HiddenEntry*>> numbered_;  // few
  absl::flat_hash_map<FileId, bool> directories_;  // that have hidden names: the quick check
};

}  // namespace msentry::gofer
