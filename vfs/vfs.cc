#include "vfs/vfs.h"

#include "absl/strings/str_cat.h"
#include "vfs/file_description.h"
#include "vfs/location.h"

namespace msentry::vfs {

namespace {

class AnonymousFs final : public FileSystem {
 public:
  AnonymousFs() : FileSystem("anon_inodefs", kPseudo) {}
  Result<StatFs> GetStatFs(const OpContext&) override {
    StatFs st;
    st.type = 0x09041934;  // ANON_INODE_FS_MAGIC
    return st;
  }
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> next_ino_{1};
};

class AnonymousInode final : public Inode {
 public:
  AnonymousInode(RefPtr<FileSystem> fs, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid)
      : Inode(std::move(fs), ino, mode, uid, gid), times_(FileTimeNow()) {}

  Result<Attributes> GetAttr(const OpContext&, AttrMask) override {
    Attributes a;
    a.ino = ino();
    a.mode = mode();
    a.uid = uid();
    a.gid = gid();
    a.atime = a.mtime = a.ctime = times_;
    return a;
  }
  Result<> SetAttr(const OpContext&, const SetAttributes& attrs) override {
    if (attrs.set & SetAttributes::kSize) return Errno::kEINVAL;
    CacheOwner(attrs.set & SetAttributes::kMode ? (mode() & S_IFMT) | attrs.mode : mode(),
               attrs.set & SetAttributes::kUid ? attrs.uid : uid(),
               attrs.set & SetAttributes::kGid ? attrs.gid : gid());
    return Ok();
  }

 private:
  const Timespec times_;
};

}  // namespace

struct Vfs::Registered {
  FsType type;
  FsFactory factory;
};

Vfs::Vfs() : anonymous_fs_(MakeRef<AnonymousFs>()) {}
Vfs::~Vfs() = default;

void Vfs::RegisterFsType(FsType type, FsFactory factory) {
  auto entry = std::make_unique<Registered>(Registered{std::move(type), std::move(factory)});
  MutexLock lock(mutex_);
  types_.push_back(std::move(entry));
}

Result<RefPtr<FileSystem>> Vfs::MakeFileSystem(const OpContext& ctx, std::string_view type,
                                               std::string_view source,
                                               std::string_view data) const {
  const Registered* found = nullptr;
  {
    MutexLock lock(mutex_);
    for (const auto& t : types_) {
      if (t->type.name == type) found = t.get();
    }
  }
  if (!found || !found->type.user_mountable || !found->factory) return Errno::kENODEV;
  return found->factory(ctx, source, data);
}

std::vector<Vfs::FsType> Vfs::FsTypes() const {
  MutexLock lock(mutex_);
  std::vector<FsType> out;
  for (const auto& t : types_) out.push_back(t->type);
  return out;
}

RefPtr<Inode> MakeAnonymousInode(Vfs& vfs, const auth::Credentials& creds, uint32_t type_and_mode) {
  auto& fs = static_cast<AnonymousFs&>(*vfs.anonymous_fs());
  return MakeRef<AnonymousInode>(vfs.anonymous_fs(), fs.NextIno(), type_and_mode, creds.fsuid,
                                 creds.fsgid);
}

Location MakeAnonymousLocation(RefPtr<Inode> inode, std::string_view name) {
  return {nullptr, Dentry::MakeUnnamed(std::move(inode), std::string(name))};
}

}  // namespace msentry::vfs
