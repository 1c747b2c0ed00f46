// task/, fd/, fdinfo/, ns/ of a process.
#include <dirent.h>
#include <fcntl.h>

#include "absl/strings/str_format.h"
#include "procfs/access.h"
#include "procfs/process_dir.h"
#include "sentry/kernel/fd_table.h"
#include "vfs/dentry.h"
#include "vfs/mount_namespace.h"
#include "vfs/permissions.h"

namespace msentry::procfs {

namespace {

class TaskDir : public SubjectDir {
 public:
  TaskDir(ProcFs& fs, const Subject& subject, uint64_t index)
      : SubjectDir(fs, subject, index, S_IFDIR | 0555) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    int tid = ParseId(name);
    if (tid < 0) return Errno::kENOENT;
    return MakeThreadDir(proc(), subject().group, tid);
  }
  Result<std::vector<Name>> List(const vfs::OpContext&, int64_t from) override {
    std::vector<Name> names;
    for (int tid : proc().kernel().TaskIds(subject().id)) {
      if (tid < from) continue;
      uint64_t ino = static_cast<uint64_t>(tid) << 32 | uint64_t{1} << 31;
      names.push_back({absl::StrCat(tid), tid, ino, DT_DIR});
    }
    if (names.empty() && !subject().alive()) return Errno::kENOENT;
    return names;
  }
  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry& child) override {
    return child.inode() && IsCurrent(*child.inode());
  }

 protected:
  uint32_t LinkCount() const override {
    return 2 + subject().group->live_tasks.load(std::memory_order_relaxed);
  }
};

// The open file `fd` of the subject.
Result<RefPtr<vfs::FileDescription>> FileAt(const Subject& subject, int fd) {
  RefPtr<kernel::Task> task = TRY(subject.Task());
  RefPtr<kernel::FdTable> table = task->fd_table_ref();
  if (!table) return Errno::kENOENT;
  Result<RefPtr<vfs::FileDescription>> file = table->Get(fd);
  if (!file) return Errno::kENOENT;
  return file;
}

class FdLink : public pseudofs::PseudoInode {
 public:
  FdLink(ProcFs& fs, const Subject& subject, int fd, const vfs::FileDescription& file, Owner owner)
      : PseudoInode(fs, subject.Ino(kFdIndex + fd), ModeOf(file), owner.uid, owner.gid),
        subject_(subject),
        fd_(fd) {}

  static uint32_t ModeOf(const vfs::FileDescription& file) {
    return S_IFLNK | (file.readable() ? 0500 : 0) | (file.writable() ? 0300 : 0);
  }

  bool IsMagicLink() const override { return true; }
  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override {
    vfs::Attributes a = TRY(PseudoInode::GetAttr(ctx, wanted));
    a.size = 64;
    return a;
  }
  Result<vfs::Location> FollowMagicLink(const vfs::OpContext& ctx) override {
    return TRY(Check(ctx))->location();
  }
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override {
    RefPtr<vfs::FileDescription> file = TRY(Check(ctx));
    if (!file->location().mount) return file->AnonymousName();
    RefPtr<kernel::Task> task = TRY(subject_.Task());
    View view{ctx, static_cast<ProcFs&>(fs()), subject_, *task, *subject_.group};
    return vfs::PathOf(file->location(), view.reader_root());
  }

 private:
  Result<RefPtr<vfs::FileDescription>> Check(const vfs::OpContext& ctx) {
    TRY(CheckInspect(ctx.creds, ctx.tgid, *TRY(subject_.Task())));
    return FileAt(subject_, fd_);
  }

  const Subject subject_;
  const int fd_;
};

class FdInfo : public pseudofs::TextInode {
 public:
  FdInfo(ProcFs& fs, const Subject& subject, int fd, Owner owner)
      : TextInode(fs, subject.Ino(kFdInfoIndex + fd), S_IFREG | 0400, owner.uid, owner.gid),
        subject_(subject),
        fd_(fd) {}

  Result<> CheckOpen(const vfs::OpContext& ctx, int) override {
    return CheckInspect(ctx.creds, ctx.tgid, *TRY(subject_.Task()));
  }
  Result<std::string> Generate(const vfs::OpContext&) override {
    RefPtr<kernel::Task> task = TRY(subject_.Task());
    RefPtr<vfs::FileDescription> file = TRY(FileAt(subject_, fd_));
    RefPtr<kernel::FdTable> table = task->fd_table_ref();
    int flags = file->flags();
    if (table && table->CloseOnExec(fd_).value_or(false)) flags |= O_CLOEXEC;
    uint64_t mount = file->location().mount ? file->location().mount->id() : 0;
    return absl::StrFormat("pos:\t%d\nflags:\t0%o\nmnt_id:\t%u\n", file->position(), flags, mount) +
           file->FdInfo();
  }

 private:
  const Subject subject_;
  const int fd_;
};

class FdDir : public SubjectDir {
 public:
  FdDir(ProcFs& fs, const Subject& subject, uint64_t index, bool info)
      : SubjectDir(fs, subject, index, S_IFDIR | 0500), info_(info) {
    set_custom_permission();
  }

  // The process itself may always look, also with changed ids.
  Result<> CheckPermission(const vfs::OpContext& ctx, int mask) override {
    if (ctx.tgid == subject().group->tgid() && (mask & vfs::kMayWrite) == 0) return Ok();
    RefreshNow();
    return vfs::CheckMode(ctx.creds, *this, mask);
  }
  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    int fd = ParseId(name);
    if (fd < 0) return Errno::kENOENT;
    RefPtr<vfs::FileDescription> file = TRY(FileAt(subject(), fd));
    Owner owner = OwnerOf(subject());
    if (info_) return RefPtr<vfs::Inode>(MakeRef<FdInfo>(proc(), subject(), fd, owner));
    return RefPtr<vfs::Inode>(MakeRef<FdLink>(proc(), subject(), fd, *file, owner));
  }
  Result<std::vector<Name>> List(const vfs::OpContext& ctx, int64_t from) override {
    RefPtr<kernel::Task> task = TRY(subject().Task());
    TRY(CheckInspect(ctx.creds, ctx.tgid, *task));
    std::vector<Name> names;
    RefPtr<kernel::FdTable> table = task->fd_table_ref();
    if (!table) return names;
    uint64_t base = info_ ? kFdInfoIndex : kFdIndex;
    for (int fd : table->OpenFds()) {
      if (fd + 1 < from) continue;
      names.push_back({absl::StrCat(fd), fd + 1, subject().Ino(base + fd),
                       static_cast<uint8_t>(info_ ? DT_REG : DT_LNK)});
    }
    return names;
  }
  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry& child) override {
    int fd = ParseId(child.name());
    Result<RefPtr<vfs::FileDescription>> file = FileAt(subject(), fd);
    if (!file || !child.inode()) return false;
    // Another file may have taken the number: its link's mode tells.
    return info_ || child.inode()->mode() == FdLink::ModeOf(**file);
  }

 private:
  const bool info_;
};

// Where there is one namespace of a kind only, its number is that of Linux's initial one.
struct Namespace {
  const char* name;
  uint64_t number;
  std::optional<kernel::NamespaceKind> kind;
};
constexpr Namespace kNamespaces[] = {
    {"cgroup", 0, kernel::NamespaceKind::kCgroup},
    {"ipc", 4026531839, {}},
    {"mnt", 0, kernel::NamespaceKind::kMount},
    {"net", 4026531957, {}},
    {"pid", 4026531836, {}},
    {"user", 4026531837, {}},
    {"uts", 0, kernel::NamespaceKind::kUts},
};

// A namespace's name. Where there is nothing to enter or hold, the link leads nowhere.
class NsLink : public pseudofs::PseudoInode {
 public:
  NsLink(ProcFs& fs, const Subject& subject, uint64_t index, const Namespace& ns, Owner owner)
      : PseudoInode(fs, subject.Ino(index), S_IFLNK | 0777, owner.uid, owner.gid),
        subject_(subject),
        ns_(ns) {}
  bool IsMagicLink() const override { return true; }
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override {
    TRY(CheckInspect(ctx.creds, ctx.tgid, *TRY(subject_.Task())));
    if (!ns_.kind) return absl::StrFormat("%s:[%u]", ns_.name, ns_.number);
    return kernel::NamespaceName(*TRY(Of()), *ns_.kind);
  }
  Result<vfs::Location> FollowMagicLink(const vfs::OpContext& ctx) override {
    TRY(CheckInspect(ctx.creds, ctx.tgid, *TRY(subject_.Task())));
    if (!ns_.kind) return Errno::kENOENT;
    return kernel::NamespaceLocation(ctx.vfs, TRY(Of()), *ns_.kind);
  }

 private:
  Result<kernel::NamespacesRef> Of() {
    kernel::NamespacesRef namespaces = TRY(subject_.Task())->namespaces();
    if (!namespaces) return Errno::kENOENT;
    return namespaces;
  }
  const Subject subject_;
  const Namespace& ns_;
};

class NsDir : public SubjectDir {
 public:
  NsDir(ProcFs& fs, const Subject& subject, uint64_t index)
      : SubjectDir(fs, subject, index, S_IFDIR | 0511), index_(index) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    if (!subject().alive()) return Errno::kENOENT;
    for (size_t i = 0; i < std::size(kNamespaces); ++i) {
      if (name != kNamespaces[i].name) continue;
      return RefPtr<vfs::Inode>(
          MakeRef<NsLink>(proc(), subject(), Index(i), kNamespaces[i], OwnerOf(subject())));
    }
    return Errno::kENOENT;
  }
  Result<std::vector<Name>> List(const vfs::OpContext&, int64_t from) override {
    std::vector<Name> names;
    for (int64_t i = from > 0 ? from - 1 : 0; i < std::ssize(kNamespaces); ++i) {
      names.push_back({kNamespaces[i].name, i + 1, subject().Ino(Index(i)), DT_LNK});
    }
    return names;
  }

 private:
  // Past the entries of the process directory itself.
  uint64_t Index(size_t i) const { return (index_ + 1) * 0x1000 + i; }
  const uint64_t index_;
};

}  // namespace

RefPtr<vfs::Inode> MakeTaskDir(ProcFs& fs, const Subject& subject, uint64_t index) {
  return MakeRef<TaskDir>(fs, subject, index);
}
RefPtr<vfs::Inode> MakeFdDir(ProcFs& fs, const Subject& subject, uint64_t index) {
  return MakeRef<FdDir>(fs, subject, index, false);
}
RefPtr<vfs::Inode> MakeFdInfoDir(ProcFs& fs, const Subject& subject, uint64_t index) {
  return MakeRef<FdDir>(fs, subject, index, true);
}
RefPtr<vfs::Inode> MakeNsDir(ProcFs& fs, const Subject& subject, uint64_t index) {
  return MakeRef<NsDir>(fs, subject, index);
}

}  // namespace msentry::procfs
