#include "procfs/proc_fs.h"

#include <dirent.h>

#include "absl/strings/str_cat.h"
#include "procfs/process_dir.h"
#include "procfs/subject.h"
#include "procfs/system_files.h"
#include "vfs/dentry.h"

namespace msentry::procfs {

namespace {

constexpr uint64_t kProcMagic = 0x9fa0;

// "self" and "thread-self": links whose text depends on who reads them.
class SelfLink : public pseudofs::PseudoInode {
 public:
  SelfLink(ProcFs& fs, bool thread)
      : PseudoInode(fs, fs.NextIno(), S_IFLNK | 0777), thread_(thread) {}
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override {
    if (ctx.tgid == 0) return Errno::kENOENT;  // the sentry itself has no process
    if (!thread_) return absl::StrCat(ctx.tgid);
    return absl::StrCat(ctx.tgid, "/task/", ctx.tid);
  }

 private:
  const bool thread_;
};

// The static entries, then one directory a process.
class ProcRoot : public pseudofs::StaticDir {
 public:
  explicit ProcRoot(ProcFs& fs) : StaticDir(fs, 0555) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override {
    int tgid = ParseId(name);
    if (tgid >= 0) return MakeProcessDir(proc(), tgid);
    return StaticDir::Lookup(ctx, name);
  }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;
  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry& child) override {
    if (!child.inode()) return false;
    if (ParseId(child.name()) < 0) return true;
    static_cast<PseudoInode*>(child.inode())->RefreshNow();
    return IsCurrent(*child.inode());
  }
  ProcFs& proc() const { return static_cast<ProcFs&>(fs()); }
};

class ProcRootFile : public vfs::DirectoryFile {
 public:
  using DirectoryFile::DirectoryFile;

 protected:
  // Positions: 2 + i is static entry i; kFirstPid + n is the first process with an id of at least
  // n.
  static constexpr int64_t kFirstPid = 0x1000;
  Result<int64_t> Iterate(const vfs::OpContext&, int64_t position, vfs::DirentSink sink) override {
    if (!EmitDots(&position, sink)) return position;
    ProcRoot& root = static_cast<ProcRoot&>(inode());
    const auto& entries = root.entries();
    for (; position - 2 < std::ssize(entries); ++position) {
      const auto& e = entries[position - 2];
      if (!sink({.ino = e.inode->ino(),
                 .next = position + 1,
                 .type = vfs::DirentType(e.inode->mode()),
                 .name = e.name})) {
        return position;
      }
    }
    position = std::max(position, kFirstPid);
    for (int tgid : root.proc().kernel().ThreadGroupIds()) {
      if (tgid < position - kFirstPid) continue;
      std::string name = absl::StrCat(tgid);
      if (!sink({.ino = static_cast<uint64_t>(tgid) << 32,
                 .next = kFirstPid + tgid + 1,
                 .type = DT_DIR,
                 .name = name})) {
        break;
      }
      position = kFirstPid + tgid + 1;
    }
    return position;
  }
};

Result<RefPtr<vfs::FileDescription>> ProcRoot::Open(const vfs::OpContext&,
                                                    const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(MakeRef<ProcRootFile>(args.location, args.flags));
}

}  // namespace

ProcFs::ProcFs(kernel::Kernel& kernel, Options options)
    : PseudoFs("proc", kProcMagic, kRevalidate | kNoCache | kNoNegative,
               {.mmap_error = Errno::kEIO}),
      kernel_(kernel),
      options_(std::move(options)) {}

RefPtr<vfs::FileSystem> Create(kernel::Kernel& kernel, const Options& options) {
  RefPtr<ProcFs> fs = MakeRef<ProcFs>(kernel, options);
  RefPtr<ProcRoot> root = MakeRef<ProcRoot>(*fs);
  root->Add("self", MakeRef<SelfLink>(*fs, false));
  root->Add("thread-self", MakeRef<SelfLink>(*fs, true));
  fs->SetNet(MakeNetDir(*fs));
  root->Add("net", pseudofs::MakeLink(*fs, "self/net"));
  AddSystemFiles(*fs, *root);
  AddSysTree(*fs, *root);
  AddSysvIpc(*fs, *root);
  fs->Finish(std::move(root));
  return fs;
}

}  // namespace msentry::procfs
