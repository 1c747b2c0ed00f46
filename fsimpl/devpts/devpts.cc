#include "fsimpl/devpts/devpts.h"

#include <dirent.h>
#include <sys/ioctl.h>

#include <charconv>

#include "vfs/inode.h"

namespace msentry::devpts {
namespace {

constexpr uint64_t kDevptsMagic = 0x1cd1;
constexpr uint32_t kSlaveMajor = 136;
constexpr uint64_t kRootIno = 1, kPtmxIno = 2, kFirstSlaveIno = 3;

// A device node of this file system: attributes in the base class, times fixed at creation.
class NodeInode : public vfs::Inode {
 public:
  NodeInode(RefPtr<vfs::FileSystem> fs, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid,
            uint64_t rdev)
      : Inode(std::move(fs), ino, mode, uid, gid), rdev_(rdev), time_(vfs::FileTimeNow()) {}

  Result<vfs::Attributes> GetAttr(const vfs::OpContext&, vfs::AttrMask) override {
    vfs::Attributes a;
    a.ino = ino();
    a.rdev = rdev_;
    a.mode = mode();
    a.uid = uid();
    a.gid = gid();
    a.blksize = 1024;
    a.nlink = IsDir() ? 2 : 1;
    a.atime = a.mtime = a.ctime = time_;
    return a;
  }
  Result<> SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) override {
    using Set = vfs::SetAttributes;
    if (attrs.set & Set::kSize) return Errno::kEINVAL;
    CacheOwner(attrs.set & Set::kMode ? type() | attrs.mode : mode(),
               attrs.set & Set::kUid ? attrs.uid : uid(),
               attrs.set & Set::kGid ? attrs.gid : gid());
    return Ok();
  }

 private:
  const uint64_t rdev_;
  const vfs::Timespec time_;
};

class RootFile : public vfs::DirectoryFile {
 public:
  using DirectoryFile::DirectoryFile;

 protected:
  Result<int64_t> Iterate(const vfs::OpContext&, int64_t position, vfs::DirentSink sink) override {
    auto& fs = static_cast<DevptsFs&>(inode().fs());
    if (!EmitDots(&position, sink)) return position;
    if (position == 2) {
      if (!sink({kPtmxIno, 3, DT_CHR, "ptmx"})) return position;
      position = 3;
    }
    for (int index : fs.Indices()) {
      if (index + 3 < position) continue;
      const std::string name = absl::StrCat(index);
      if (!sink({kFirstSlaveIno + index, index + 4, DT_CHR, name})) return position;
      position = index + 4;
    }
    return position;
  }
};

// The multiplexer inside the file system; opened like /dev/ptmx.
class PtmxInode : public NodeInode {
 public:
  explicit PtmxInode(RefPtr<vfs::FileSystem> fs)
      : NodeInode(std::move(fs), kPtmxIno, S_IFCHR | 0666, 0, 0, vfs::MakeDev(5, 2)) {}
  bool OpensSpecial() const override { return true; }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override {
    return static_cast<DevptsFs&>(fs()).OpenMaster(ctx, args);
  }
};

class RootInode : public NodeInode {
 public:
  explicit RootInode(RefPtr<vfs::FileSystem> fs)
      : NodeInode(std::move(fs), kRootIno, S_IFDIR | 0755, 0, 0, 0) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    auto& devpts = static_cast<DevptsFs&>(fs());
    if (name == "ptmx") {
      return RefPtr<vfs::Inode>(MakeRef<PtmxInode>(RefPtr<vfs::FileSystem>(&devpts)));
    }
    int index = -1;
    std::from_chars(name.data(), name.data() + name.size(), index);
    // "007" is not a name of terminal 7.
    if (index < 0 || absl::StrCat(index) != name) return Errno::kENOENT;
    RefPtr<Pty> pty = devpts.Find(index);
    if (!pty || pty->hung_up()) return Errno::kENOENT;
    return RefPtr<vfs::Inode>(MakeRef<NodeInode>(RefPtr<vfs::FileSystem>(&devpts),
                                                 kFirstSlaveIno + index, S_IFCHR | 0620, pty->uid(),
                                                 pty->gid(), vfs::MakeDev(kSlaveMajor, index)));
  }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext&,
                                            const vfs::OpenArgs& args) override {
    return RefPtr<vfs::FileDescription>(MakeRef<RootFile>(args.location, args.flags));
  }
};

}  // namespace

DevptsFs::DevptsFs(vfs::JobControl& job_control, sched::Scheduler& scheduler)
    : FileSystem("devpts", kNoCache | kPseudo), job_control_(job_control), scheduler_(scheduler) {}

RefPtr<DevptsFs> DevptsFs::Create(vfs::JobControl& job_control, sched::Scheduler& scheduler) {
  auto fs = MakeRef<DevptsFs>(job_control, scheduler);
  fs->SetRoot(MakeRef<RootInode>(fs));
  return fs;
}

Result<vfs::StatFs> DevptsFs::GetStatFs(const vfs::OpContext&) {
  vfs::StatFs stat;
  stat.type = kDevptsMagic;
  return stat;
}

Result<RefPtr<Pty>> DevptsFs::NewPty(const vfs::OpContext& ctx) {
  RefPtr<DevptsFs> self(this);
  MutexLock lock(mutex_);
  int index = 0;
  for (const auto& [used, pty] : ptys_) {
    if (used != index) break;
    index++;
  }
  if (index >= kMaxPtys) return Errno::kENOSPC;
  auto pty = MakeRef<Pty>(index, ctx.creds.fsuid, kTtyGid, job_control_, scheduler_, [self, index] {
    MutexLock gone_lock(self->mutex_);
    self->ptys_.erase(index);
  });
  ptys_[index] = pty.get();
  return pty;
}

RefPtr<Pty> DevptsFs::Find(int index) {
  MutexLock lock(mutex_);
  auto it = ptys_.find(index);
  if (it == ptys_.end() || !it->second->TryRef()) return nullptr;
  return RefPtr<Pty>::Adopt(it->second);
}

std::vector<int> DevptsFs::Indices() {
  std::vector<int> indices;
  MutexLock lock(mutex_);
  for (const auto& [index, pty] : ptys_) {
    if (!pty->hung_up()) indices.push_back(index);
  }
  return indices;
}

Result<RefPtr<vfs::FileDescription>> DevptsFs::OpenMaster(const vfs::OpContext& ctx,
                                                          const vfs::OpenArgs& args) {
  RefPtr<Pty> pty = TRY(NewPty(ctx));
  return RefPtr<vfs::FileDescription>(
      MakeRef<MasterFile>(args.location, args.flags, std::move(pty), RefPtr<DevptsFs>(this)));
}

Result<RefPtr<vfs::FileDescription>> DevptsFs::OpenSlave(const vfs::OpContext& ctx, RefPtr<Pty> pty,
                                                         int flags) {
  vfs::Location location =
      vfs::MakeAnonymousLocation(TRY(root()->inode()->Lookup(ctx, absl::StrCat(pty->index()))),
                                 absl::StrCat("/dev/pts/", pty->index()));
  TRY(pty->SlaveOpened(ctx.creds.HasCap(auth::Cap::kSysAdmin)));
  if (!(flags & O_NOCTTY)) job_control_.OpenedTerminal(*pty);
  return RefPtr<vfs::FileDescription>(
      MakeRef<SlaveFile>(std::move(location), flags, std::move(pty)));
}

Result<RefPtr<vfs::FileDescription>> DevptsFs::OpenControlling(const vfs::OpContext&,
                                                               const vfs::OpenArgs& args) {
  // All controlling terminals are ours: the cast is safe.
  vfs::Terminal* terminal = job_control_.ControllingTerminal();
  if (terminal == nullptr) return Errno::kENXIO;
  RefPtr<Pty> pty = RefPtr<Pty>::Adopt(static_cast<Pty*>(terminal));
  TRY(pty->SlaveOpened(/*privileged=*/true));
  return RefPtr<vfs::FileDescription>(
      MakeRef<SlaveFile>(args.location, args.flags, std::move(pty)));
}

void DevptsFs::Register(vfs::Vfs& vfs) {
  RefPtr<DevptsFs> self(this);
  vfs.RegisterFsType({.name = "devpts"},
                     [self](const vfs::OpContext&, std::string_view,
                            std::string_view) -> Result<RefPtr<vfs::FileSystem>> {
                       return RefPtr<vfs::FileSystem>(self);
                     });
  vfs.devices().Register(S_IFCHR, 5, 0, 1, "/dev/tty",
                         [self](const vfs::OpContext& ctx, const vfs::OpenArgs& args, uint64_t) {
                           return self->OpenControlling(ctx, args);
                         });
  vfs.devices().Register(S_IFCHR, 5, 2, 1, "ptmx",
                         [self](const vfs::OpContext& ctx, const vfs::OpenArgs& args, uint64_t) {
                           return self->OpenMaster(ctx, args);
                         });
  vfs.devices().Register(S_IFCHR, kSlaveMajor, 0, kMaxPtys, "pts",
                         [self](const vfs::OpContext& ctx, const vfs::OpenArgs& args,
                                uint64_t rdev) -> Result<RefPtr<vfs::FileDescription>> {
                           RefPtr<Pty> pty = self->Find(static_cast<int>(vfs::DevMinor(rdev)));
                           if (!pty) return Errno::kEIO;
                           TRY(pty->SlaveOpened(ctx.creds.HasCap(auth::Cap::kSysAdmin)));
                           if (!(args.flags & O_NOCTTY)) self->job_control_.OpenedTerminal(*pty);
                           return RefPtr<vfs::FileDescription>(
                               MakeRef<SlaveFile>(args.location, args.flags, std::move(pty)));
                         });
}

}  // namespace msentry::devpts
