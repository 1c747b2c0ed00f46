#include "gofer/server/mapped_attr.h"

#include <sys/stat.h>

#include <cstring>

#include "gofer/server/host.h"

namespace msentry::gofer {
namespace {

struct Stored {
  uint32_t version = 1;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t rdev = 0;
};
static_assert(sizeof(Stored) == 24);

}  // namespace

std::optional<MappedAttr> GetMappedAttr(int fd) {
  Result<std::string> value = host::GetXattr(fd, kMappedAttrName);
  Stored stored;
  if (!value.ok() || value->size() != sizeof stored) return std::nullopt;
  std::memcpy(&stored, value->data(), sizeof stored);
  uint32_t type = stored.mode & S_IFMT;
  bool known = type == S_IFREG || type == S_IFDIR || type == S_IFCHR || type == S_IFBLK ||
               type == S_IFLNK || type == S_IFIFO || type == S_IFSOCK;
  if (stored.version != 1 || !known) return std::nullopt;
  return MappedAttr{.mode = stored.mode & (S_IFMT | 07777),
                    .uid = stored.uid,
                    .gid = stored.gid,
                    .rdev = stored.rdev};
}

Result<> SetMappedAttr(int fd, const MappedAttr& attr) {
  Stored stored{.mode = attr.mode, .uid = attr.uid, .gid = attr.gid, .rdev = attr.rdev};
  uint8_t bytes[sizeof stored];
  std::memcpy(bytes, &stored, sizeof stored);
  return host::SetXattr(fd, kMappedAttrName, bytes, 0);
}

Result<> MarkSpecialEntries(int dir) { return host::SetXattr(dir, kSpecialEntriesName, {}, 0); }

bool HasSpecialEntries(int dir) { return host::GetXattr(dir, kSpecialEntriesName).ok(); }

}  // namespace msentry::gofer
