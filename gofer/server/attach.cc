#include "gofer/server/attach.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include "gofer/wire/messages.h"

namespace msentry::gofer {
namespace {

// File systems that show the host's own state rather than files.
bool IsSpecialFileSystem(uint64_t magic) {
  switch (magic) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case SMACK_MAGIC:
    case BPF_FS_MAGIC:
    case PSTOREFS_MAGIC:
    case EFIVARFS_MAGIC:
    case BINFMTFS_MAGIC:
    case NSFS_MAGIC:
    case 0x62656570:  // configfs
    case 0x19800202:  // mqueue
    case 0x65735543:  // fusectl
    case AUTOFS_SUPER_MAGIC:
      return true;
    default:
      return false;
  }
}

uint8_t QidType(uint32_t mode) {
  if (S_ISDIR(mode)) return p9::kQidDir;
  return S_ISLNK(mode) ? p9::kQidSymlink : p9::kQidFile;
}

p9::TimeSpec ToWire(const struct timespec& t) {
  return {.sec = t.tv_sec, .nsec = static_cast<uint32_t>(t.tv_nsec)};
}

}  // namespace

Attach::Attach(const AttachConfig& config, const HiddenSet* hidden)
    : config_(config), hidden_(hidden), uids_(config.uid_map), gids_(config.gid_map) {}

Result<std::unique_ptr<Attach>> Attach::Create(const AttachConfig& config, ScopedFd root,
                                               const HiddenSet* hidden) {
  host::Stat stat = TRY(host::StatFd(root.get()));
  if (!stat.IsDir() && !stat.IsRegular()) return Errno::kENOTDIR;
  std::unique_ptr<Attach> attach(new Attach(config, hidden));
  attach->InodeNumber(stat.dev, stat.ino);  // the root's device gets number 0
  const HiddenEntry* entry = hidden->Find(FileId{stat.dev, stat.ino});
  if (entry != nullptr && entry->show == HiddenPath::Show::kAbsent) return Errno::kENOENT;
  attach->root_ = MakeRef<Node>(*attach, nullptr, "", std::move(root), stat, entry);
  return attach;
}

const HiddenEntry* Attach::FindHidden(const Node& dir, std::string_view name) const {
  return hidden_->empty() ? nullptr : hidden_->Find(dir.id, name);
}

const HiddenEntry* Attach::SpecialFileSystem(const host::Stat& stat, int fd) {
  Result<struct statfs> fs = host::StatFs(fd);
  if (!fs.ok() || !IsSpecialFileSystem(static_cast<uint64_t>(fs->f_type))) return nullptr;
  MutexLock lock(devices_mutex_);
  std::unique_ptr<HiddenEntry>& entry = special_[stat.dev];
  if (!entry) {
    entry = std::make_unique<HiddenEntry>();
    entry->show = stat.IsDir() ? HiddenPath::Show::kEmptyDirectory : HiddenPath::Show::kAbsent;
    entry->stat = stat;
  }
  return entry.get();
}

uint64_t Attach::InodeNumber(uint64_t dev, uint64_t ino) {
  MutexLock lock(devices_mutex_);
  size_t index = 0;
  while (index < devices_.size() && devices_[index] != dev) ++index;
  if (index == devices_.size()) devices_.push_back(dev);
  return ino ^ (static_cast<uint64_t>(index) << 48);
}

p9::Attr Attach::ToAttr(const host::Stat& stat, const std::optional<MappedAttr>& mapped) {
  p9::Attr attr;
  attr.ino = stat.ino, attr.dev = stat.dev;
  attr.mode = stat.mode;
  attr.uid = uids_.ToInside(stat.uid), attr.gid = gids_.ToInside(stat.gid);
  attr.nlink = stat.nlink, attr.rdev = stat.rdev, attr.size = stat.size;
  attr.blocks = stat.blocks, attr.blksize = stat.blksize;
  attr.atime = ToWire(stat.atime), attr.mtime = ToWire(stat.mtime);
  attr.ctime = ToWire(stat.ctime), attr.btime = ToWire(stat.btime);
  if (mapped) {
    uint32_t type = stat.mode & S_IFMT;
    // Only an ordinary file can stand for another type.
    if (type == S_IFREG) type = mapped->mode & S_IFMT;
    if (type == S_IFDIR && !stat.IsDir()) type = S_IFREG;
    attr.mode = type | (mapped->mode & 07777);
    attr.uid = mapped->uid, attr.gid = mapped->gid;
    if (S_ISCHR(type) || S_ISBLK(type)) attr.rdev = mapped->rdev;
  }
  attr.qid.type = QidType(attr.mode);
  attr.qid.version = static_cast<uint32_t>(stat.mtime.tv_sec ^ stat.mtime.tv_nsec ^
                                           static_cast<int64_t>(stat.size << 8));
  attr.qid.path = InodeNumber(stat.dev, stat.ino);
  return attr;
}

p9::Attr Attach::AttrOf(int fd, const host::Stat& stat) {
  std::optional<MappedAttr> attr;
  if (mapped() && (stat.IsRegular() || stat.IsDir())) attr = GetMappedAttr(fd);
  return ToAttr(stat, attr);
}

Result<NodeAttr> Attach::MakeReplacement(const RefPtr<Node>& dir, std::string_view name,
                                         const HiddenEntry& entry) {
  if (entry.show == HiddenPath::Show::kAbsent) return Errno::kENOENT;
  ScopedFd fd;
  if (entry.content) fd = TRY(entry.content.Duplicate());
  return NodeAttr{MakeRef<Node>(*this, dir, name, std::move(fd), entry.stat, &entry),
                  ToAttr(entry.stat, std::nullopt)};
}

Result<NodeAttr> Attach::Adopt(const RefPtr<Node>& dir, std::string_view name, ScopedFd fd) {
  host::Stat stat = TRY(host::StatFd(fd.get()));
  if (!hidden_->empty()) {
    if (const HiddenEntry* entry = hidden_->Find(FileId{stat.dev, stat.ino})) {
      return MakeReplacement(dir, name, *entry);
    }
  }
  if (stat.dev != dir->id.first) {
    if (const HiddenEntry* entry = SpecialFileSystem(stat, fd.get())) {
      return MakeReplacement(dir, name, *entry);
    }
  }
  p9::Attr attr = AttrOf(fd.get(), stat);
  return NodeAttr{MakeRef<Node>(*this, dir, name, std::move(fd), stat, nullptr), attr};
}

Result<NodeAttr> Attach::Step(const RefPtr<Node>& dir, std::string_view name) {
  if (!dir->IsDir()) return Errno::kENOTDIR;
  if (name == "." || name == "..") {
    RefPtr<Node> node = name == "." ? dir : dir->parent();
    if (!node) node = dir;
    p9::Attr attr = TRY(GetAttr(*node));
    return NodeAttr{std::move(node), attr};
  }
  if (const HiddenEntry* entry = FindHidden(*dir, name)) return MakeReplacement(dir, name, *entry);
  if (dir->replacement != nullptr) return Errno::kENOENT;
  return Adopt(dir, name, TRY(host::OpenChild(dir->fd.get(), name, config_.stay_on_device)));
}

Result<p9::Attr> Attach::GetAttr(Node& node) {
  if (node.replacement != nullptr) return ToAttr(node.replacement->stat, std::nullopt);
  host::Stat stat = TRY(host::StatFd(node.fd.get()));
  return AttrOf(node.fd.get(), stat);
}

Result<std::string> Attach::ReadLink(Node& node) {
  if (node.replacement != nullptr) return Errno::kEINVAL;
  if (node.type == S_IFLNK) return host::ReadLink(node.fd.get());
  if (!mapped() || !node.IsRegular()) return Errno::kEINVAL;
  std::optional<MappedAttr> attr = GetMappedAttr(node.fd.get());
  if (!attr || !S_ISLNK(attr->mode)) return Errno::kEINVAL;
  ScopedFd file = TRY(host::Reopen(node.fd.get(), O_RDONLY));
  char text[4096];
  ssize_t n = pread(file.get(), text, sizeof text, 0);
  if (n < 0) return FromHost(errno);
  return std::string(text, static_cast<size_t>(n));
}

Result<ScopedFd> Attach::Open(Node& node, uint32_t flags) {
  constexpr uint32_t kPassed =
      O_ACCMODE | O_TRUNC | O_APPEND | O_DIRECT | O_NOATIME | O_SYNC | O_DSYNC;
  bool write = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (node.IsDir()) {
    if (write) return Errno::kEISDIR;
    if (node.replacement != nullptr) return Errno::kEACCES;
    return host::Reopen(node.fd.get(), O_RDONLY | O_DIRECTORY);
  }
  if (node.type == S_IFLNK) return Errno::kELOOP;
  if (!node.IsRegular()) return Errno::kENXIO;
  if (write && config_.read_only) return Errno::kEROFS;
  if (node.replacement != nullptr) {
    if (write) return Errno::kEACCES;
    return host::Reopen(node.fd.get(), O_RDONLY);
  }
  int passed = static_cast<int>(flags & kPassed);
  Result<ScopedFd> fd = host::Reopen(node.fd.get(), passed);
  if (!fd.ok() && fd.error() == Errno::kEPERM && (passed & O_NOATIME) != 0) {
    passed &= ~O_NOATIME;  // only the owner may; it is a wish
    fd = host::Reopen(node.fd.get(), passed);
  }
  if (!fd.ok() && fd.error() == Errno::kEACCES && mapped() && !config_.read_only) {
    return ReopenWithOwnMode(node, passed);
  }
  return fd;
}

}  // namespace msentry::gofer
