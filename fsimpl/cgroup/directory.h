// Directories and control files. Internal to fsimpl/cgroup.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "fsimpl/cgroup/cgroup_fs.h"
#include "fsimpl/pseudofs/pseudofs.h"

namespace msentry::cgroupfs {

class CgroupFs : public pseudofs::PseudoFs {
 public:
  CgroupFs(cgroup::Cgroups& cgroups, TaskControl& control, RefPtr<cgroup::Hierarchy> hierarchy);
  ~CgroupFs() override;
  cgroup::Cgroups& cgroups() const { return cgroups_; }
  TaskControl& control() const { return control_; }
  cgroup::Hierarchy& hierarchy() const { return *hierarchy_; }
  std::string ShowOptions() const override;
  Result<> Remount(const vfs::OpContext& ctx, std::string_view data) override;

 protected:
  void Shutdown() override;

 private:
  cgroup::Cgroups& cgroups_;
  TaskControl& control_;
  const RefPtr<cgroup::Hierarchy> hierarchy_;
};

// What a handler of a control file works on.
struct Target {
  const vfs::OpContext& ctx;
  CgroupFs& fs;
  cgroup::Group& group;
  cgroup::Cgroups& cgroups() const { return fs.cgroups(); }
  TaskControl& control() const { return fs.control(); }
};

// One control file. Handlers take Cgroups::mutex() themselves.
struct FileSpec {
  const char* name;
  uint32_t mode;
  enum class Where : uint8_t { kEverywhere, kRoot, kBelowRoot } where = Where::kEverywhere;
  // Null: EINVAL.
  Result<std::string> (*read)(const Target&) = nullptr;
  Result<> (*write)(const Target&, std::string_view text) = nullptr;  // without outer white space
};

// The files of every hierarchy, and those of a controller. files_*.cc.
std::span<const FileSpec> CoreFiles();
std::span<const FileSpec> CpuFiles();
std::span<const FileSpec> CpuacctFiles();
std::span<const FileSpec> CpusetFiles();
std::span<const FileSpec> DevicesFiles();
std::span<const FileSpec> JobFiles();
std::span<const FileSpec> MemoryFiles();
std::span<const FileSpec> PidsFiles();

// Numbers as the kernel reads them: kstrtoll and kstrtoull with base 0. EINVAL, ERANGE.
Result<int64_t> ParseSigned(std::string_view text);
Result<uint64_t> ParseUnsigned(std::string_view text);

class Directory : public pseudofs::PseudoInode {
 public:
  Directory(CgroupFs& fs, RefPtr<cgroup::Group> group, uint32_t mode, uint32_t uid, uint32_t gid);
  cgroup::Group& group() const { return *group_; }

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext& ctx, std::string_view name) override;
  Result<RefPtr<vfs::Inode>> Mkdir(const vfs::OpContext& ctx, std::string_view name, uint32_t mode,
                                   NewOwner owner) override;
  // Files are not made here.
  Result<RefPtr<vfs::Inode>> Create(const vfs::OpContext&, std::string_view, uint32_t,
                                    NewOwner) override {
    return Errno::kEACCES;
  }
  Result<> Rmdir(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& victim) override;
  Result<> Rename(const vfs::OpContext& ctx, std::string_view name, vfs::Inode& moved,
                  vfs::Inode& new_dir, std::string_view new_name, vfs::Inode* replaced,
                  unsigned flags) override;
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  struct Entry {
    std::string name;
    int64_t position;  // ascending; what a listing goes on from
    RefPtr<vfs::Inode> inode;
  };
  std::vector<Entry> EntriesFrom(int64_t position);

 protected:
  uint32_t LinkCount() const override;

 private:
  void AddFiles(std::span<const FileSpec> specs);
  RefPtr<Directory> AddGroup(const RefPtr<cgroup::Group>& group, uint32_t mode, NewOwner owner);
  CgroupFs& cgroup_fs() const { return static_cast<CgroupFs&>(fs()); }

  const RefPtr<cgroup::Group> group_;
  std::vector<Entry> files_;  // immutable once made
  mutable Mutex mutex_;
  std::map<std::string, RefPtr<Directory>, std::less<>> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::cgroupfs
