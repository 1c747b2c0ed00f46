// /proc/PID/attr: the labels of security modules. There is none: as in a kernel without one, every
// file is there and answers EINVAL.
#include <dirent.h>

#include "procfs/process_dir.h"

namespace msentry::procfs {

namespace {

constexpr const char* kNames[] = {"current", "prev", "exec", "fscreate", "keycreate", "sockcreate"};
constexpr size_t kPrevious = 1;  // the one that cannot be set

class AttrFile final : public pseudofs::TextInode {
 public:
  AttrFile(ProcFs& fs, uint64_t ino, size_t index, Owner owner)
      : TextInode(fs, ino, S_IFREG | (index == kPrevious ? 0444 : 0666), owner.uid, owner.gid) {}
  bool seeks_end() const override { return true; }
  bool pollable() const override { return false; }
  Errno mmap_error() const override { return Errno::kENODEV; }
  Result<std::string> Generate(const vfs::OpContext&) override { return Errno::kEINVAL; }
  Result<> Store(const vfs::OpContext&, std::string_view) override { return Errno::kEINVAL; }
};

class AttrDir final : public SubjectDir {
 public:
  AttrDir(ProcFs& fs, const Subject& subject, uint64_t index)
      : SubjectDir(fs, subject, index, S_IFDIR | 0555), index_(index) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    if (!subject().alive()) return Errno::kENOENT;
    for (size_t i = 0; i < std::size(kNames); ++i) {
      if (name != kNames[i]) continue;
      return RefPtr<vfs::Inode>(MakeRef<AttrFile>(proc(), Ino(i), i, OwnerOf(subject())));
    }
    return Errno::kENOENT;
  }
  Result<std::vector<Name>> List(const vfs::OpContext&, int64_t from) override {
    std::vector<Name> names;
    for (int64_t i = from > 0 ? from - 1 : 0; i < std::ssize(kNames); ++i) {
      names.push_back({kNames[i], i + 1, Ino(static_cast<size_t>(i)), DT_REG});
    }
    return names;
  }
  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry&) override {
    return subject().alive();
  }

 private:
  uint64_t Ino(size_t i) const { return subject().Ino((index_ + 1) * 0x1000 + i); }
  const uint64_t index_;
};

}  // namespace

RefPtr<vfs::Inode> MakeAttrDir(ProcFs& fs, const Subject& subject, uint64_t index) {
  return MakeRef<AttrDir>(fs, subject, index);
}

}  // namespace msentry::procfs
