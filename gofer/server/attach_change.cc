// Attach: making, removing and renaming files.
#include <fcntl.h>
#include <unistd.h>

#include "gofer/server/attach.h"

namespace msentry::gofer {
namespace {

constexpr uint32_t kSetIdBits = S_ISUID | S_ISGID;

bool IsDots(std::string_view name) { return name == "." || name == ".."; }

}  // namespace

Result<> Attach::CheckWritable(const Node& node) const {
  if (config_.read_only) return Errno::kEROFS;
  if (node.replacement != nullptr) return Errno::kEACCES;
  return Ok();
}

Result<> Attach::CheckChange(const Node& dir, std::string_view name) const {
  if (!dir.IsDir()) return Errno::kENOTDIR;
  if (IsDots(name)) return Errno::kEINVAL;
  TRY(CheckWritable(dir));
  if (FindHidden(dir, name) != nullptr) return Errno::kEACCES;
  return Ok();
}

uint32_t Attach::HostMode(uint32_t mode) const {
  uint32_t bits = mode & 07777;
  if (!mapped()) return bits & ~kSetIdBits;  // set-id bits come after the owner
  // What the attribute can say instead, the host need not: no set-id bits for the user's own files,
  // and nothing that would bar ourselves.
  bits &= ~kSetIdBits;
  if (S_ISDIR(mode)) return bits | 0700;
  return S_ISREG(mode) ? bits | 0400 : bits;
}

Result<p9::Attr> Attach::FinishCreation(int fd, const MappedAttr& wanted) {
  host::Stat stat = TRY(host::StatFd(fd));
  bool special = mapped() && stat.IsRegular() && !S_ISREG(wanted.mode);
  bool symlink = stat.IsSymlink();
  if (special || uids_.ToInside(stat.uid) != wanted.uid || gids_.ToInside(stat.gid) != wanted.gid ||
      (!symlink && (stat.mode & 07777) != (wanted.mode & 07777))) {
    TRY(SetIdentity(fd, stat, wanted));
    stat = TRY(host::StatFd(fd));
  }
  return AttrOf(fd, stat);
}

Result<OpenedFile> Attach::Create(const RefPtr<Node>& dir, std::string_view name, uint32_t flags,
                                  uint32_t mode, uint32_t uid, uint32_t gid) {
  TRY(CheckChange(*dir, name));
  constexpr uint32_t kPassed = O_ACCMODE | O_APPEND | O_DIRECT | O_SYNC | O_DSYNC;
  mode = S_IFREG | (mode & 07777);
  // The file may come and go between the two attempts.
  for (int attempt = 0; attempt < 100; ++attempt) {
    Result<ScopedFd> fd = host::CreateExclusive(dir->fd.get(), name,
                                                static_cast<int>(flags & kPassed), HostMode(mode));
    if (fd.ok()) {
      ScopedFd path;
      auto finish = [&]() -> Result<p9::Attr> {
        path = TRY(host::Reopen(fd->get(), O_PATH));
        return FinishCreation(path.get(), {.mode = mode, .uid = uid, .gid = gid});
      };
      Result<p9::Attr> attr = finish();
      if (!attr.ok()) {
        (void)host::Unlink(dir->fd.get(), name, false);
        return attr.error();
      }
      host::Stat id;
      id.dev = attr->dev, id.ino = attr->ino, id.mode = S_IFREG;
      return OpenedFile{MakeRef<Node>(*this, dir, name, std::move(path), id, nullptr),
                        std::move(*fd), *attr, true};
    }
    if (fd.error() != Errno::kEEXIST || (flags & O_EXCL) != 0) return fd.error();
    Result<NodeAttr> existing = Step(dir, name);
    if (!existing.ok()) {
      if (existing.error() == Errno::kENOENT) continue;
      return existing.error();
    }
    ScopedFd opened = TRY(Open(*existing->node, flags));
    p9::Attr attr = existing->attr;
    if ((flags & O_TRUNC) != 0) attr = TRY(GetAttr(*existing->node));
    return OpenedFile{std::move(existing->node), std::move(opened), attr, false};
  }
  return Errno::kEAGAIN;
}

// An empty file, or one with a link's text.
Result<> Attach::MakeStandIn(int dir, std::string_view name, std::string_view text) {
  ScopedFd file = TRY(host::CreateExclusive(dir, name, O_WRONLY, 0600));
  if (text.empty()) return Ok();
  ssize_t n = pwrite(file.get(), text.data(), text.size(), 0);
  if (n == static_cast<ssize_t>(text.size())) return Ok();
  Errno error = n < 0 ? FromHost(errno) : Errno::kENOSPC;
  (void)host::Unlink(dir, name, false);
  return error;
}

Result<NodeAttr> Attach::Make(const RefPtr<Node>& dir, std::string_view name, uint32_t mode,
                              uint32_t uid, uint32_t gid, uint64_t rdev, std::string_view target) {
  TRY(CheckChange(*dir, name));
  int at = dir->fd.get();
  bool directory = S_ISDIR(mode);
  uint32_t type = mode & S_IFMT;
  // The host's own kind where it can hold what is asked for, else a regular file that says it.
  bool ours = uid == uids_.ToInside(geteuid()) && gid == gids_.ToInside(getegid());
  bool whiteout = S_ISCHR(mode) && rdev == 0;
  bool device = (S_ISCHR(mode) || S_ISBLK(mode)) && !whiteout;
  bool stands_in =
      mapped() && (device || (!ours && (type == S_IFLNK || type == S_IFIFO || type == S_IFSOCK)));
  if (stands_in) {
    TRY(MarkSpecialEntries(at));
    TRY(MakeStandIn(at, name, S_ISLNK(mode) ? target : std::string_view()));
    type = 0;
  }
  switch (type) {
    case 0:
      break;
    case S_IFDIR:
      TRY(host::MakeDirectory(at, name, HostMode(mode)));
      break;
    case S_IFLNK:
      TRY(host::MakeSymlink(at, name, target));
      break;
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      TRY(host::MakeNode(at, name, (mode & S_IFMT) | HostMode(mode), 0));
      break;
    case S_IFCHR:
    case S_IFBLK:
      // Device 0:0 is an overlay's whiteout, which any user may make. Other device nodes are never
      // real ones: on the host they would give access to its devices.
      if (!whiteout) return Errno::kEPERM;
      TRY(host::MakeNode(at, name, S_IFCHR | HostMode(mode), 0));
      break;
    default:
      return Errno::kEINVAL;
  }
  auto made = [&]() -> Result<NodeAttr> {
    ScopedFd fd = TRY(host::OpenChild(at, name, config_.stay_on_device));
    p9::Attr attr;
    if (whiteout) {
      attr = ToAttr(TRY(host::StatFd(fd.get())), std::nullopt);  // whose it is, nobody sees
    } else {
      attr = TRY(FinishCreation(
          fd.get(), {.mode = mode & (S_IFMT | 07777), .uid = uid, .gid = gid, .rdev = rdev}));
    }
    host::Stat id;
    id.dev = attr.dev, id.ino = attr.ino;
    id.mode = stands_in ? S_IFREG : attr.mode & S_IFMT;
    return NodeAttr{MakeRef<Node>(*this, dir, name, std::move(fd), id, nullptr), attr};
  }();
  if (!made.ok()) (void)host::Unlink(at, name, directory);
  return made;
}

Result<> Attach::Link(Node& dir, std::string_view name, Node& target) {
  TRY(CheckChange(dir, name));
  if (target.replacement != nullptr) return Errno::kEACCES;
  if (target.IsDir()) return Errno::kEPERM;
  return host::Link(target.fd.get(), dir.fd.get(), name);
}

Result<> Attach::Unlink(Node& dir, std::string_view name, bool directory) {
  if (IsDots(name)) return name == "." ? Errno::kEINVAL : Errno::kENOTEMPTY;
  TRY(CheckChange(dir, name));
  return host::Unlink(dir.fd.get(), name, directory);
}

Result<> Attach::Rename(Node& old_dir, std::string_view old_name, Node& new_dir,
                        std::string_view new_name, uint32_t flags) {
  if (IsDots(old_name) || IsDots(new_name)) return Errno::kEBUSY;
  TRY(CheckChange(old_dir, old_name));
  TRY(CheckChange(new_dir, new_name));
  constexpr uint32_t kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  if ((flags & ~kKnown) != 0) return Errno::kEINVAL;
  return host::Rename(old_dir.fd.get(), old_name, new_dir.fd.get(), new_name, flags);
}

}  // namespace msentry::gofer
