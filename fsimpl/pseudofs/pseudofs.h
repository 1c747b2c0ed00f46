// Building blocks of file systems whose content is made up when it is read: proc, sysfs.
//
//   auto fs = MakeRef<PseudoFs>("sysfs", kSysfsMagic, flags);
//   RefPtr<StaticDir> root = MakeRef<StaticDir>(*fs, 0555);
//   root->Add("online", MakeText(*fs, 0444, [](const vfs::OpContext&) { return "0-1\n"; }));
//   fs->Finish(root);
//
// A text file is generated when a read starts at offset 0 (or is the first), and further reads of
// that description go on in the same text, so that a reader in small steps sees one consistent
// state. Generators run on the reader's fiber, with no lock of ours held but the description's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"

namespace msentry::pseudofs {

// How the text files of a file system behave where Linux's differ.
struct TextStyle {
  uint64_t size = 0;         // what stat(2) says, and where SEEK_END goes if it may
  bool seeks_end = false;    // false: SEEK_END is EINVAL, as in seq_file
  bool strict_open = false;  // opening for what the file cannot do is EACCES, also for root
  Errno mmap_error = Errno::kENODEV;
};

class PseudoFs : public vfs::FileSystem {
 public:
  PseudoFs(std::string type, uint64_t magic, uint32_t flags, TextStyle style = {});

  // Makes `root` the root of the tree. Once, before it is mounted.
  void Finish(RefPtr<vfs::Inode> root) { SetRoot(std::move(root)); }

  // Numbers for inodes that live as long as the file system.
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }
  vfs::Timespec created() const { return created_; }

  Result<vfs::StatFs> GetStatFs(const vfs::OpContext& ctx) override;
  const TextStyle& style() const { return style_; }

 private:
  const uint64_t magic_;
  const TextStyle style_;
  const vfs::Timespec created_;
  std::atomic<uint64_t> next_ino_{1};
};

// Attributes kept in the base class; size 0; times those of the file system's creation. Text files
// of a file system whose style says so have its size.
class PseudoInode : public vfs::Inode {
 public:
  PseudoInode(PseudoFs& fs, uint64_t ino, uint32_t mode, uint32_t uid = 0, uint32_t gid = 0);
  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override;
  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry&) override { return true; }

  PseudoFs& pseudo_fs() const;
  // For a directory that revalidates this inode: owner and mode are brought up to date.
  void RefreshNow() { Refresh(); }

 protected:
  // Called before attributes are told: the place to refresh owner and mode.
  virtual void Refresh() {}
  virtual uint32_t LinkCount() const { return IsDir() ? 2 : 1; }
};

// A regular file of generated text.
class TextInode : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;

  // Where files of one file system differ.
  virtual bool seeks_end() const { return pseudo_fs().style().seeks_end; }
  virtual bool pollable() const { return true; }  // by epoll(7)
  virtual Errno mmap_error() const { return pseudo_fs().style().mmap_error; }

  virtual Result<std::string> Generate(const vfs::OpContext& ctx) = 0;
  // A write of `text`, at most a page of it, wherever the position is. Default: EIO, as for reads
  // of what can only be written.
  virtual Result<> Store(const vfs::OpContext& ctx, std::string_view text);
  // Access checks of open(2) beyond the mode.
  virtual Result<> CheckOpen(const vfs::OpContext&, int /*flags*/) { return Ok(); }

  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;
  // Truncation (a shell's `>`) is accepted and does nothing.
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
};

using Generator = absl::AnyInvocable<Result<std::string>(const vfs::OpContext&) const>;
using Storer = absl::AnyInvocable<Result<>(const vfs::OpContext&, std::string_view) const>;
RefPtr<vfs::Inode> MakeText(PseudoFs& fs, uint32_t mode, Generator generate, Storer store = {});
// A constant.
RefPtr<vfs::Inode> MakeConstant(PseudoFs& fs, std::string text, uint32_t mode = 0444);

// A symbolic link that never changes.
RefPtr<vfs::Inode> MakeLink(PseudoFs& fs, std::string target);

// A directory whose entries are made before it is mounted.
class StaticDir : public PseudoInode {
 public:
  StaticDir(PseudoFs& fs, uint32_t mode = 0555);
  // Replaces nothing: names are unique.
  void Add(std::string name, RefPtr<vfs::Inode> inode);
  // The subdirectory `name`, made when there is none.
  StaticDir& Dir(std::string_view name);

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override;
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  struct Entry {
    std::string name;
    RefPtr<vfs::Inode> inode;
    bool ours = false;  // a StaticDir made by Dir()
  };
  const std::vector<Entry>& entries() const { return entries_; }

 protected:
  uint32_t LinkCount() const override;

 private:
  std::vector<Entry> entries_;  // in the order of Add; immutable once mounted
};

}  // namespace msentry::pseudofs
