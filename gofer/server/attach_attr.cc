// Attach: changing attributes and extended attributes, with the mapped ones.
#include <fcntl.h>
#include <unistd.h>

#include "gofer/server/attach.h"
#include "gofer/wire/messages.h"

namespace msentry::gofer {
namespace {

constexpr uint32_t kSetIdBits = S_ISUID | S_ISGID;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

Result<> Attach::SetIdentity(int fd, const host::Stat& now, const MappedAttr& wanted) {
  std::optional<uint32_t> uid = uids_.ToOutside(wanted.uid), gid = gids_.ToOutside(wanted.gid);
  uint32_t bits = wanted.mode & 07777;
  if (!mapped()) {
    if (!uid || !gid) return Errno::kEINVAL;
    if (*uid != now.uid || *gid != now.gid) TRY(host::Chown(fd, *uid, *gid));
    // chown(2) cleared the set-id bits.
    if (!now.IsSymlink() && (bits != (now.mode & 07777) || (bits & kSetIdBits) != 0)) {
      TRY(host::Chmod(fd, bits));
    }
    return Ok();
  }
  bool owner_fits = uids_.ToInside(now.uid) == wanted.uid && gids_.ToInside(now.gid) == wanted.gid;
  if (!now.IsRegular() && !now.IsDir()) {
    // The host keeps no user.* attributes on these: only what it can hold itself.
    if (!owner_fits) {
      if (!uid || !gid) return Errno::kEPERM;
      TRY(host::Chown(fd, *uid, *gid));
    }
    if (!now.IsSymlink() && bits != (now.mode & 07777)) TRY(host::Chmod(fd, bits));
    return Ok();
  }
  uint32_t needed = now.IsDir() ? 0700 : 0400;
  bool type_fits = (wanted.mode & S_IFMT) == (now.mode & S_IFMT);
  if (owner_fits && type_fits && (bits & kSetIdBits) == 0 && (bits & needed) == needed) {
    if (bits != (now.mode & 07777)) TRY(host::Chmod(fd, bits));
    Result<> removed = host::RemoveXattr(fd, kMappedAttrName);
    if (removed.ok() || removed.error() == Errno::kENODATA ||
        removed.error() == Errno::kEOPNOTSUPP) {
      return Ok();
    }
    if (removed.error() != Errno::kEACCES) return removed;
    // 0400 keeps the owner from removing the attribute that says otherwise: write it instead.
  }
  // The attribute can only be written while the owner may write the file.
  uint32_t real = (bits & ~kSetIdBits) | (now.IsDir() ? 0700 : 0600);
  if (real != (now.mode & 07777)) TRY(host::Chmod(fd, real));
  return SetMappedAttr(fd, wanted);
}

Result<ScopedFd> Attach::ReopenWithOwnMode(Node& node, int flags) {
  host::Stat stat = TRY(host::StatFd(node.fd.get()));
  p9::Attr attr = AttrOf(node.fd.get(), stat);
  uint32_t real = (stat.mode & 0777) | 0600;
  if (real == (stat.mode & 07777)) return Errno::kEACCES;
  if (!host::Chmod(node.fd.get(), real).ok()) return Errno::kEACCES;
  TRY(SetMappedAttr(node.fd.get(),
                    {.mode = attr.mode, .uid = attr.uid, .gid = attr.gid, .rdev = attr.rdev}));
  return host::Reopen(node.fd.get(), flags);
}

Result<p9::Attr> Attach::SetAttr(Node& node, const AttrChange& change) {
  TRY(CheckWritable(node));
  int fd = node.fd.get();
  constexpr uint32_t kIdentity = p9::kSetMode | p9::kSetUid | p9::kSetGid;
  if ((change.valid & kIdentity) != 0) {
    if ((change.valid & p9::kSetMode) != 0 && node.type == S_IFLNK) return Errno::kEOPNOTSUPP;
    host::Stat stat = TRY(host::StatFd(fd));
    p9::Attr now = AttrOf(fd, stat);
    MappedAttr wanted{.mode = now.mode, .uid = now.uid, .gid = now.gid, .rdev = now.rdev};
    if ((change.valid & p9::kSetMode) != 0) {
      wanted.mode = (now.mode & S_IFMT) | (change.mode & 07777);
    }
    if ((change.valid & p9::kSetUid) != 0) wanted.uid = change.uid;
    if ((change.valid & p9::kSetGid) != 0) wanted.gid = change.gid;
    TRY(SetIdentity(fd, stat, wanted));
  }
  if ((change.valid & p9::kSetSize) != 0) {
    if (change.size > INT64_MAX) return Errno::kEINVAL;
    ScopedFd file = TRY(Open(node, O_WRONLY));
    if (ftruncate(file.get(), static_cast<off_t>(change.size)) < 0) return FromHost(errno);
  }
  if ((change.valid & (p9::kSetAtime | p9::kSetMtime)) != 0) {
    auto wanted = [&](uint32_t bit, uint32_t to_bit, const p9::TimeSpec& t) -> struct timespec {
      if ((change.valid & bit) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
      if ((change.valid & to_bit) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
      return {.tv_sec = t.sec, .tv_nsec = static_cast<long>(t.nsec)};
    };
    struct timespec times[2] = {wanted(p9::kSetAtime, p9::kSetAtimeTo, change.atime),
                                wanted(p9::kSetMtime, p9::kSetMtimeTo, change.mtime)};
    TRY(host::SetTimes(fd, times));
  }
  return GetAttr(node);
}

// What an attribute is called on the host. The guest's privileged namespaces are kept beside the
// user's own, because we hold no privilege to write the real ones.
Result<std::string> Attach::HostXattrName(std::string_view name) const {
  if (name.empty() || name.size() > 255) return Errno::kERANGE;
  if (StartsWith(name, kReservedXattrPrefix)) return Errno::kEPERM;
  if (StartsWith(name, "user.")) return std::string(name);
  if (StartsWith(name, "trusted.") || StartsWith(name, "security.")) {
    std::string mapped = std::string(kMappedXattrPrefix).append(name);
    if (mapped.size() > 255) return Errno::kERANGE;
    return mapped;
  }
  return Errno::kEOPNOTSUPP;
}

Result<std::string> Attach::GetXattr(Node& node, std::string_view name) {
  std::string host_name = TRY(HostXattrName(name));
  if (node.replacement != nullptr) return Errno::kENODATA;
  Result<std::string> value = host::GetXattr(node.fd.get(), host_name);
  if (!value.ok() && name == "security.capability" && !mapped()) {
    return host::GetXattr(node.fd.get(), std::string(name));
  }
  // Links and special files have no user attributes: nothing of ours can be there.
  if (!value.ok() && value.error() == Errno::kEPERM) return Errno::kENODATA;
  return value;
}

Result<> Attach::SetXattr(Node& node, std::string_view name, std::span<const uint8_t> value,
                          int flags) {
  std::string host_name = TRY(HostXattrName(name));
  TRY(CheckWritable(node));
  Result<> set = host::SetXattr(node.fd.get(), host_name, value, flags);
  if (!set.ok() && set.error() == Errno::kEACCES && mapped() && node.IsRegular()) {
    ScopedFd made_writable = TRY(ReopenWithOwnMode(node, O_RDONLY));
    return host::SetXattr(node.fd.get(), host_name, value, flags);
  }
  return set;
}

Result<> Attach::RemoveXattr(Node& node, std::string_view name) {
  std::string host_name = TRY(HostXattrName(name));
  TRY(CheckWritable(node));
  return host::RemoveXattr(node.fd.get(), host_name);
}

Result<std::string> Attach::ListXattr(Node& node) {
  if (node.replacement != nullptr) return std::string();
  std::string all = TRY(host::ListXattr(node.fd.get()));
  std::string shown;
  for (size_t at = 0; at < all.size();) {
    std::string_view name(all.c_str() + at);
    at += name.size() + 1;
    if (StartsWith(name, kMappedXattrPrefix)) {
      name.remove_prefix(std::string_view(kMappedXattrPrefix).size());
    } else if (StartsWith(name, kReservedXattrPrefix) ||
               !(StartsWith(name, "user.") || name == "security.capability")) {
      continue;
    }
    shown.append(name);
    shown.push_back('\0');
  }
  return shown;
}

}  // namespace msentry::gofer
