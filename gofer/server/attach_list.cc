// Attach::List: directory listings.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "gofer/server/attach.h"
#include "gofer/wire/messages.h"

namespace msentry::gofer {
namespace {

constexpr size_t kBufferBytes = 32 * 1024;
constexpr uint64_t kUnknownPosition = UINT64_MAX;

struct LinuxDirent64 {
  uint64_t ino;
  int64_t next;
  uint16_t size;
  uint8_t type;
  char name[];
};

uint8_t QidTypeOf(uint8_t dirent_type) {
  if (dirent_type == DT_DIR) return p9::kQidDir;
  return dirent_type == DT_LNK ? p9::kQidSymlink : p9::kQidFile;
}

}  // namespace

Result<bool> Attach::List(Node& dir, uint64_t offset, size_t limit, std::vector<uint8_t>& out) {
  if (!dir.IsDir()) return Errno::kENOTDIR;
  const size_t start = out.size();
  limit += start;
  if (dir.replacement != nullptr) {
    static constexpr std::string_view kNames[] = {".", ".."};
    for (uint64_t i = offset; i < 2; ++i) {
      p9::Qid qid = ToAttr(dir.replacement->stat, std::nullopt).qid;
      p9::AppendDirent(out, {.qid = qid, .offset = i + 1, .type = DT_DIR, .name = kNames[i]},
                       limit);
    }
    return true;
  }

  MutexLock lock(dir.listing_mutex);
  Node::Listing& listing = dir.listing;
  if (!listing.fd) {
    listing.fd = TRY(host::Reopen(dir.fd.get(), O_RDONLY | O_DIRECTORY));
    listing.next = 0;
  }
  if (listing.next != offset) {
    if (lseek(listing.fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return FromHost(errno);
    listing.next = offset;
  }
  bool special = mapped() && HasSpecialEntries(dir.fd.get());
  alignas(LinuxDirent64) char buffer[kBufferBytes];
  for (;;) {
    ssize_t n = syscall(SYS_getdents64, listing.fd.get(), buffer, sizeof buffer);
    if (n < 0) return FromHost(errno);
    if (n == 0) {
      listing.fd.Reset();  // a new listing starts from the beginning with a fresh view
      return true;
    }
    for (ssize_t at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const LinuxDirent64*>(buffer + at);
      at += entry->size;
      std::string_view name(entry->name);
      p9::Dirent dirent{
          .qid = {.type = QidTypeOf(entry->type), .path = InodeNumber(dir.id.first, entry->ino)},
          .offset = static_cast<uint64_t>(entry->next),
          .type = entry->type,
          .name = name};
      if (name == ".." && !dir.parent()) dirent.qid.path = InodeNumber(dir.id.first, dir.id.second);
      const HiddenEntry* hidden = FindHidden(dir, name);
      if (hidden == nullptr && !hidden_->empty()) {
        hidden = hidden_->Find(FileId{dir.id.first, entry->ino});
        if (name == "." || name == "..") hidden = nullptr;
      }
      if (hidden != nullptr) {
        if (hidden->show == HiddenPath::Show::kAbsent) continue;
        bool directory = hidden->show == HiddenPath::Show::kEmptyDirectory;
        dirent.type = directory ? DT_DIR : DT_REG;
        dirent.qid.type = directory ? p9::kQidDir : p9::kQidFile;
      }
      if (special && entry->type == DT_REG) {
        Result<ScopedFd> file = host::OpenChild(dir.fd.get(), name, config_.stay_on_device);
        std::optional<MappedAttr> attr;
        if (file.ok()) attr = GetMappedAttr(file->get());
        if (attr) {
          dirent.type = (attr->mode & S_IFMT) >> 12;
          dirent.qid.type = QidTypeOf(dirent.type);
        }
      }
      if (!p9::AppendDirent(out, dirent, limit)) {
        listing.next = kUnknownPosition;
        if (out.size() == start) return Errno::kEINVAL;
        return false;
      }
      listing.next = dirent.offset;
    }
    // Whole buffers only: the next one goes with the next message unless nothing was shown yet.
    if (out.size() + kBufferBytes / 2 > limit) return false;
  }
}

}  // namespace msentry::gofer
