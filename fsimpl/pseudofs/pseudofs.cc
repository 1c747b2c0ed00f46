#include "fsimpl/pseudofs/pseudofs.h"

#include <fcntl.h>

#include "fsimpl/pseudofs/text_file.h"
#include "sentry/arch/registers.h"
#include "sentry/base/check.h"

namespace msentry::pseudofs {

PseudoFs::PseudoFs(std::string type, uint64_t magic, uint32_t flags, TextStyle style)
    : FileSystem(std::move(type), flags | kPseudo),
      magic_(magic),
      style_(style),
      created_(vfs::FileTimeNow()) {}

Result<vfs::StatFs> PseudoFs::GetStatFs(const vfs::OpContext&) {
  return vfs::StatFs{.type = magic_, .block_size = arch::kPageSize};
}

PseudoInode::PseudoInode(PseudoFs& fs, uint64_t ino, uint32_t mode, uint32_t uid, uint32_t gid)
    : Inode(RefPtr<vfs::FileSystem>(&fs), ino, mode, uid, gid) {}

PseudoFs& PseudoInode::pseudo_fs() const { return static_cast<PseudoFs&>(fs()); }

Result<vfs::Attributes> PseudoInode::GetAttr(const vfs::OpContext&, vfs::AttrMask) {
  Refresh();
  vfs::Attributes a;
  a.ino = ino();
  a.mode = mode();
  a.uid = uid();
  a.gid = gid();
  a.nlink = LinkCount();
  a.size = (mode() & S_IFMT) == S_IFREG ? pseudo_fs().style().size : 0;
  a.blksize = pseudo_fs().style().size != 0 ? arch::kPageSize : 1024;
  a.atime = a.mtime = a.ctime = pseudo_fs().created();
  return a;
}

Result<> TextInode::Store(const vfs::OpContext&, std::string_view) { return Errno::kEIO; }

Result<RefPtr<vfs::FileDescription>> TextInode::Open(const vfs::OpContext& ctx,
                                                     const vfs::OpenArgs& args) {
  if (pseudo_fs().style().strict_open) {
    const int access = args.flags & O_ACCMODE;
    if (access != O_RDONLY && (mode() & 0222) == 0) return Errno::kEACCES;
    if (access != O_WRONLY && (mode() & 0444) == 0) return Errno::kEACCES;
  }
  TRY(CheckOpen(ctx, args.flags));
  return RefPtr<vfs::FileDescription>(MakeRef<TextFile>(args.location, args.flags));
}

Result<> TextInode::SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) {
  constexpr uint32_t kHarmless = vfs::SetAttributes::kSize | vfs::SetAttributes::kCtime |
                                 vfs::SetAttributes::kMtime | vfs::SetAttributes::kMtimeNow;
  if ((attrs.set & ~kHarmless) != 0) return Errno::kEPERM;
  return Ok();
}

namespace {

class FunctionFile : public TextInode {
 public:
  FunctionFile(PseudoFs& fs, uint32_t mode, Generator generate, Storer store)
      : TextInode(fs, fs.NextIno(), S_IFREG | mode),
        generate_(std::move(generate)),
        store_(std::move(store)) {}
  Result<std::string> Generate(const vfs::OpContext& ctx) override {
    if (!generate_) return Errno::kEIO;
    return generate_(ctx);
  }
  Result<> Store(const vfs::OpContext& ctx, std::string_view text) override {
    if (!store_) return Errno::kEIO;
    return store_(ctx, text);
  }

 private:
  const Generator generate_;
  const Storer store_;
};

class StaticLink : public PseudoInode {
 public:
  StaticLink(PseudoFs& fs, std::string target)
      : PseudoInode(fs, fs.NextIno(), S_IFLNK | 0777), target_(std::move(target)) {}
  Result<std::string> ReadLink(const vfs::OpContext&) override { return target_; }
  const std::string* CachedLink() const override { return &target_; }

 private:
  const std::string target_;
};

class StaticDirFile : public vfs::DirectoryFile {
 public:
  using DirectoryFile::DirectoryFile;

 protected:
  Result<int64_t> Iterate(const vfs::OpContext&, int64_t position, vfs::DirentSink sink) override {
    if (!EmitDots(&position, sink)) return position;
    const auto& entries = static_cast<StaticDir&>(inode()).entries();
    for (; position - 2 < static_cast<int64_t>(entries.size()); ++position) {
      const StaticDir::Entry& e = entries[position - 2];
      if (!sink({.ino = e.inode->ino(),
                 .next = position + 1,
                 .type = vfs::DirentType(e.inode->mode()),
                 .name = e.name})) {
        break;
      }
    }
    return position;
  }
};

}  // namespace

RefPtr<vfs::Inode> MakeText(PseudoFs& fs, uint32_t mode, Generator generate, Storer store) {
  return MakeRef<FunctionFile>(fs, mode, std::move(generate), std::move(store));
}

RefPtr<vfs::Inode> MakeConstant(PseudoFs& fs, std::string text, uint32_t mode) {
  return MakeText(fs, mode, [text = std::move(text)](const vfs::OpContext&) -> Result<std::string> {
    return text;
  });
}

RefPtr<vfs::Inode> MakeLink(PseudoFs& fs, std::string target) {
  return MakeRef<StaticLink>(fs, std::move(target));
}

StaticDir::StaticDir(PseudoFs& fs, uint32_t mode) : PseudoInode(fs, fs.NextIno(), S_IFDIR | mode) {}

void StaticDir::Add(std::string name, RefPtr<vfs::Inode> inode) {
  entries_.push_back({std::move(name), std::move(inode)});
}

StaticDir& StaticDir::Dir(std::string_view name) {
  for (Entry& e : entries_) {
    if (e.name != name) continue;
    CHECK(e.ours);
    return static_cast<StaticDir&>(*e.inode);
  }
  entries_.push_back({std::string(name), MakeRef<StaticDir>(pseudo_fs()), true});
  return static_cast<StaticDir&>(*entries_.back().inode);
}

Result<RefPtr<vfs::Inode>> StaticDir::Lookup(const vfs::OpContext&, std::string_view name) {
  for (const Entry& e : entries_) {
    if (e.name == name) return e.inode;
  }
  return Errno::kENOENT;
}

Result<RefPtr<vfs::FileDescription>> StaticDir::Open(const vfs::OpContext&,
                                                     const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(MakeRef<StaticDirFile>(args.location, args.flags));
}

uint32_t StaticDir::LinkCount() const {
  uint32_t n = 2;
  for (const Entry& e : entries_) n += e.inode->IsDir();
  return n;
}

}  // namespace msentry::pseudofs
