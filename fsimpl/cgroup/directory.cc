#include "fsimpl/cgroup/directory.h"

#include <algorithm>

namespace msentry::cgroupfs {
namespace {

// Inode numbers: the group's, then the file's place in it.
constexpr int kFileBits = 8;
// Positions in a listing: files first, then groups by their number.
constexpr int64_t kFirstFile = 2, kFirstGroup = 0x1000;

std::string_view Strip(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

void Store(const vfs::SetAttributes& attrs, uint32_t* mode, uint32_t* uid, uint32_t* gid) {
  if (attrs.set & vfs::SetAttributes::kMode) *mode = (*mode & S_IFMT) | attrs.mode;
  if (attrs.set & vfs::SetAttributes::kUid) *uid = attrs.uid;
  if (attrs.set & vfs::SetAttributes::kGid) *gid = attrs.gid;
}

class ControlFile : public pseudofs::TextInode {
 public:
  ControlFile(CgroupFs& fs, RefPtr<cgroup::Group> group, const FileSpec& spec, uint64_t index,
              uint32_t uid, uint32_t gid)
      : TextInode(fs, group->id << kFileBits | index, S_IFREG | spec.mode, uid, gid),
        group_(std::move(group)),
        spec_(spec) {}

  Result<> CheckOpen(const vfs::OpContext&, int) override { return CheckAlive(); }
  Result<std::string> Generate(const vfs::OpContext& ctx) override {
    TRY(CheckAlive());
    if (spec_.read == nullptr) return Errno::kEINVAL;
    return spec_.read({ctx, cgroup_fs(), *group_});
  }
  Result<> Store(const vfs::OpContext& ctx, std::string_view text) override {
    TRY(CheckAlive());
    if (spec_.write == nullptr) return Errno::kEINVAL;
    return spec_.write({ctx, cgroup_fs(), *group_}, Strip(text));
  }
  Result<> SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) override {
    uint32_t mode = this->mode(), uid = this->uid(), gid = this->gid();
    cgroupfs::Store(attrs, &mode, &uid, &gid);
    CacheOwner(mode, uid, gid);
    return Ok();
  }

 private:
  CgroupFs& cgroup_fs() const { return static_cast<CgroupFs&>(fs()); }
  Result<> CheckAlive() {
    MutexLock lock(cgroup_fs().cgroups().mutex());
    if (group_->removed) return Errno::kENODEV;
    return Ok();
  }

  const RefPtr<cgroup::Group> group_;
  const FileSpec& spec_;
};

class Listing : public vfs::DirectoryFile {
 public:
  using DirectoryFile::DirectoryFile;

 protected:
  Result<int64_t> Iterate(const vfs::OpContext&, int64_t position, vfs::DirentSink sink) override {
    if (!EmitDots(&position, sink)) return position;
    for (const auto& e : static_cast<Directory&>(inode()).EntriesFrom(position)) {
      if (!sink({.ino = e.inode->ino(),
                 .next = e.position + 1,
                 .type = vfs::DirentType(e.inode->mode()),
                 .name = e.name})) {
        break;
      }
      position = e.position + 1;
    }
    return position;
  }
};

}  // namespace

Directory::Directory(CgroupFs& fs, RefPtr<cgroup::Group> group, uint32_t mode, uint32_t uid,
                     uint32_t gid)
    : PseudoInode(fs, group->id << kFileBits, S_IFDIR | mode, uid, gid), group_(std::move(group)) {
  using cgroup::Kind;
  constexpr std::pair<Kind, std::span<const FileSpec> (*)()> kFiles[] = {
      {Kind::kCpu, CpuFiles},         {Kind::kCpuacct, CpuacctFiles}, {Kind::kCpuset, CpusetFiles},
      {Kind::kDevices, DevicesFiles}, {Kind::kJob, JobFiles},         {Kind::kMemory, MemoryFiles},
      {Kind::kPids, PidsFiles}};
  AddFiles(CoreFiles());
  for (const auto& [kind, files] : kFiles) {
    if (group_->hierarchy->Has(kind)) AddFiles(files());
  }
  std::vector<RefPtr<cgroup::Group>> below;
  {
    MutexLock lock(fs.cgroups().mutex());
    for (const auto& [name, child] : group_->children) below.push_back(child);
  }
  for (const auto& child : below) AddGroup(child, 0755, {});
}

void Directory::AddFiles(std::span<const FileSpec> specs) {
  using Where = FileSpec::Where;
  for (const FileSpec& spec : specs) {
    if (spec.where == (group_->is_root() ? Where::kBelowRoot : Where::kRoot)) continue;
    const uint64_t index = files_.size() + 1;
    files_.push_back({spec.name, kFirstFile + static_cast<int64_t>(index) - 1,
                      MakeRef<ControlFile>(cgroup_fs(), group_, spec, index, uid(), gid())});
  }
}

RefPtr<Directory> Directory::AddGroup(const RefPtr<cgroup::Group>& group, uint32_t mode,
                                      NewOwner owner) {
  auto made = MakeRef<Directory>(cgroup_fs(), group, mode, owner.uid, owner.gid);
  MutexLock lock(mutex_);
  groups_.emplace(group->name, made);
  return made;
}

Result<RefPtr<vfs::Inode>> Directory::Lookup(const vfs::OpContext&, std::string_view name) {
  {
    MutexLock lock(mutex_);
    auto it = groups_.find(name);
    if (it != groups_.end()) return RefPtr<vfs::Inode>(it->second);
  }
  for (const Entry& file : files_) {
    if (file.name == name) return file.inode;
  }
  return Errno::kENOENT;
}

Result<RefPtr<vfs::Inode>> Directory::Mkdir(const vfs::OpContext&, std::string_view name,
                                            uint32_t mode, NewOwner owner) {
  RefPtr<cgroup::Group> made = TRY(cgroup_fs().cgroups().Make(*group_, name));
  return RefPtr<vfs::Inode>(AddGroup(made, mode, owner));
}

Result<> Directory::Rmdir(const vfs::OpContext&, std::string_view name, vfs::Inode& victim) {
  TRY(cgroup_fs().cgroups().Remove(static_cast<Directory&>(victim).group()));
  cgroup_fs().control().RunReleaseAgents();
  RefPtr<Directory> gone;
  MutexLock lock(mutex_);
  auto it = groups_.find(name);
  if (it == groups_.end()) return Ok();
  gone = std::move(it->second);
  groups_.erase(it);
  return Ok();
}

Result<> Directory::Rename(const vfs::OpContext&, std::string_view name, vfs::Inode& moved,
                           vfs::Inode& new_dir, std::string_view new_name, vfs::Inode* replaced,
                           unsigned flags) {
  if (!moved.IsDir()) return Errno::kENOTDIR;
  if (flags != 0) return Errno::kEINVAL;
  if (&new_dir != this) return Errno::kEIO;
  if (replaced != nullptr) return Errno::kEEXIST;
  TRY(cgroup_fs().cgroups().Rename(static_cast<Directory&>(moved).group(), new_name));
  MutexLock lock(mutex_);
  auto node = groups_.extract(groups_.find(name));
  node.key() = std::string(new_name);
  groups_.insert(std::move(node));
  return Ok();
}

Result<> Directory::SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) {
  uint32_t mode = this->mode(), uid = this->uid(), gid = this->gid();
  Store(attrs, &mode, &uid, &gid);
  CacheOwner(mode, uid, gid);
  return Ok();
}

Result<RefPtr<vfs::FileDescription>> Directory::Open(const vfs::OpContext&,
                                                     const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(MakeRef<Listing>(args.location, args.flags));
}

std::vector<Directory::Entry> Directory::EntriesFrom(int64_t position) {
  std::vector<Entry> entries;
  for (const Entry& file : files_) {
    if (file.position >= position) entries.push_back(file);
  }
  const size_t files = entries.size();
  {
    MutexLock lock(mutex_);
    for (const auto& [name, directory] : groups_) {
      const int64_t at = kFirstGroup + static_cast<int64_t>(directory->group_->id);
      if (at >= position) entries.push_back({name, at, directory});
    }
  }
  std::sort(entries.begin() + static_cast<int64_t>(files), entries.end(),
            [](const Entry& a, const Entry& b) { return a.position < b.position; });
  return entries;
}

uint32_t Directory::LinkCount() const {
  MutexLock lock(mutex_);
  return 2 + static_cast<uint32_t>(groups_.size());
}

}  // namespace msentry::cgroupfs
