// Attributes that the host cannot hold for us, kept in the extended attribute user.msentry.attr of
// the file (the idea is qemu's "mapped-xattr"): owner, group, mode with type, device number.
// The attribute wins over what the host says. A device node of the guest is an empty regular file
// with such an attribute; so is a FIFO, socket or symbolic link (its text is the file's content)
// whose owner the host does not let us set, because the real ones have no user.* attributes. A
// directory that holds such files is marked, so that listings look at their types. Any thread; no
// locks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sentry/base/result.h"

namespace msentry::gofer {

inline constexpr char kMappedAttrName[] = "user.msentry.attr";
// Where names of the guest's that the host keeps to itself (trusted.*, security.*) are stored.
inline constexpr char kMappedXattrPrefix[] = "user.msentry.x.";
inline constexpr char kReservedXattrPrefix[] = "user.msentry.";

struct MappedAttr {
  uint32_t mode = 0;  // with S_IFMT
  uint32_t uid = 0, gid = 0;
  uint64_t rdev = 0;
};

// Of the file behind an O_PATH fd; nullopt when it has none or a malformed one.
std::optional<MappedAttr> GetMappedAttr(int fd);
Result<> SetMappedAttr(int fd, const MappedAttr& attr);

// Of a directory, by O_PATH fd: it holds regular files that stand for other types.
inline constexpr char kSpecialEntriesName[] = "user.msentry.special";
Result<> MarkSpecialEntries(int dir);
bool HasSpecialEntries(int dir);

}  // namespace msentry::gofer
