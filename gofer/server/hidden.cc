#include "gofer/server/hidden.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace msentry::gofer {
namespace {

Result<ScopedFd> SealedFile(const std::string& content) {
  ScopedFd fd(memfd_create("replacement", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return FromHost(errno);
  for (size_t done = 0; done < content.size();) {
    ssize_t n = write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0) return FromHost(errno);
    done += static_cast<size_t>(n);
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    return FromHost(errno);
  }
  return fd;
}

}  // namespace

Result<HiddenSet> HiddenSet::Create(const std::vector<HiddenPath>& paths) {
  HiddenSet set;
  for (const HiddenPath& path : paths) {
    size_t slash = path.host_path.rfind('/');
    if (slash == path.host_path.npos || slash + 1 == path.host_path.size()) return Errno::kEINVAL;
    std::string parent = slash == 0 ? "/" : path.host_path.substr(0, slash);
    std::string name = path.host_path.substr(slash + 1);
    Result<ScopedFd> dir = host::OpenRoot(parent);
    if (!dir.ok()) continue;
    host::Stat dir_stat = TRY(host::StatFd(dir->get()));

    auto entry = std::make_unique<HiddenEntry>();
    entry->show = path.show;
    const FileId dir_id{dir_stat.dev, dir_stat.ino};
    if (path.show == HiddenPath::Show::kAbsentNumbered) {
      entry->show = HiddenPath::Show::kAbsent;
      set.numbered_.emplace_back(dir_id, name, entry.get());
      set.directories_[dir_id] = true;
      set.entries_.push_back(std::move(entry));
      continue;
    }
    Result<ScopedFd> pin = host::OpenChild(dir->get(), name, false);
    if (pin.ok()) entry->pin = std::move(*pin);
    Result<host::Stat> stat = Errno::kENOENT;
    if (entry->pin) stat = host::StatFd(entry->pin.get());
    if (stat.ok()) {
      entry->stat = *stat;
    } else {
      entry->stat.ino = dir_stat.ino, entry->stat.nlink = 1;
      entry->stat.mode = path.show == HiddenPath::Show::kFile ? S_IFREG | 0600 : S_IFDIR | 0755;
    }
    if (path.show == HiddenPath::Show::kFile) {
      entry->content = TRY(SealedFile(path.content));
      entry->stat.mode = S_IFREG | (entry->stat.mode & 0777);
      entry->stat.size = path.content.size();
      entry->stat.blocks = (path.content.size() + 511) / 512;
    } else if (path.show == HiddenPath::Show::kEmptyDirectory) {
      entry->stat.mode = S_IFDIR | (entry->stat.mode & 07777);
      entry->stat.nlink = 2;
    }
    set.by_name_[{dir_id, name}] = entry.get();
    set.directories_[dir_id] = true;
    if (stat.ok()) set.by_file_[{stat->dev, stat->ino}] = entry.get();
    set.entries_.push_back(std::move(entry));
  }
  return set;
}

const HiddenEntry* HiddenSet::Find(FileId dir, std::string_view name) const {
  if (!directories_.contains(dir)) return nullptr;
  auto it = by_name_.find({dir, std::string(name)});
  if (it != by_name_.end()) return it->second;
  for (const auto& [parent, prefix, entry] : numbered_) {
    if (parent == dir && name.size() > prefix.size() && name.starts_with(prefix) &&
        name.find_first_not_of("0123456789", prefix.size()) == name.npos) {
      return entry;
    }
  }
  return nullptr;
}

const HiddenEntry* HiddenSet::Find(FileId file) const {
  auto it = by_file_.find(file);
  return it == by_file_.end() ? nullptr : it->second;
}

}  // namespace msentry::gofer
