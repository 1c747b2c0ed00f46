#include "fsimpl/cgroup/cgroup_fs.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "fsimpl/cgroup/directory.h"
#include "vfs/path_walk.h"

namespace msentry::cgroupfs {
namespace {

constexpr uint64_t kCgroupMagic = 0x27e0eb;

// The file system of each mounted hierarchy: a second mount shows the same one. The entries are not
// references; an object takes itself out before it goes.
struct Mounted {
  Mutex mutex;
  std::map<const cgroup::Hierarchy*, CgroupFs*> all ABSL_GUARDED_BY(mutex);
};
Mounted& TheMounted() {
  static auto* mounted = new Mounted();
  return *mounted;
}
RefPtr<CgroupFs> FindMounted(const cgroup::Hierarchy& hierarchy) {
  MutexLock lock(TheMounted().mutex);
  auto it = TheMounted().all.find(&hierarchy);
  if (it == TheMounted().all.end() || !it->second->TryRef()) return nullptr;
  return RefPtr<CgroupFs>::Adopt(it->second);
}
void Forget(CgroupFs& fs) {
  MutexLock lock(TheMounted().mutex);
  auto it = TheMounted().all.find(&fs.hierarchy());
  if (it != TheMounted().all.end() && it->second == &fs) TheMounted().all.erase(it);
}

Result<> ParseName(std::string_view value, cgroup::Cgroups::MountSpec* spec) {
  constexpr size_t kMostName = 63;
  if (value.empty() || value.size() > kMostName || !spec->name.empty()) return Errno::kEINVAL;
  for (char c : value) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) return Errno::kEINVAL;
  }
  spec->name = std::string(value);
  return Ok();
}

// The options of mount(2): controllers, "all", "none", name=, release_agent=, clone_children.
Result<cgroup::Cgroups::MountSpec> ParseOptions(std::string_view data) {
  cgroup::Cgroups::MountSpec spec;
  bool all = false, none = false;
  while (!data.empty()) {
    const std::string_view option = data.substr(0, data.find(','));
    data.remove_prefix(std::min(data.size(), option.size() + 1));
    if (option.empty()) continue;
    constexpr std::string_view kName = "name=", kAgent = "release_agent=";
    if (option == "all") {
      all = true;
    } else if (option == "none") {
      none = true;
    } else if (option == "clone_children") {
      spec.clone_children = true;
    } else if (option == "xattr" || option == "rw" || option == "ro") {
      continue;  // xattr: they are never there
    } else if (option.starts_with(kName)) {
      TRY(ParseName(option.substr(kName.size()), &spec));
    } else if (option.starts_with(kAgent)) {
      spec.release_agent = std::string(option.substr(kAgent.size()));
    } else if (auto kind = cgroup::KindNamed(option)) {
      spec.kinds |= cgroup::MaskOf(*kind);
    } else {
      return Errno::kEINVAL;
    }
  }
  if ((all && spec.kinds != 0) || (none && (all || spec.kinds != 0))) return Errno::kEINVAL;
  if (none && spec.name.empty()) return Errno::kEINVAL;
  if (all || (spec.kinds == 0 && !none && spec.name.empty())) spec.kinds = cgroup::kAllKinds;
  spec.none = none;
  return spec;
}

}  // namespace

CgroupFs::CgroupFs(cgroup::Cgroups& cgroups, TaskControl& control,
                   RefPtr<cgroup::Hierarchy> hierarchy)
    : PseudoFs("cgroup", kCgroupMagic, 0),
      cgroups_(cgroups),
      control_(control),
      hierarchy_(std::move(hierarchy)) {}

CgroupFs::~CgroupFs() { Forget(*this); }

void CgroupFs::Shutdown() {
  Forget(*this);
  cgroups_.Unmounted(*hierarchy_);
}

std::string CgroupFs::ShowOptions() const {
  MutexLock lock(cgroups_.mutex());
  std::string text = cgroup::NamesOf(hierarchy_->kinds);
  auto add = [&](const char* option, const std::string& value) {
    absl::StrAppend(&text, text.empty() ? "" : ",", option, value);
  };
  if (!hierarchy_->release_agent.empty()) add("release_agent=", hierarchy_->release_agent);
  if (hierarchy_->root && hierarchy_->root->clone_children) add("clone_children", "");
  if (!hierarchy_->name.empty()) add("name=", hierarchy_->name);
  return text;
}

Result<> CgroupFs::Remount(const vfs::OpContext&, std::string_view data) {
  if (data.empty()) return Ok();
  cgroup::Cgroups::MountSpec spec = TRY(ParseOptions(data));
  MutexLock lock(cgroups_.mutex());
  if (spec.kinds != hierarchy_->kinds || (!spec.name.empty() && spec.name != hierarchy_->name)) {
    return Errno::kEINVAL;
  }
  if (!spec.release_agent.empty()) hierarchy_->release_agent = spec.release_agent;
  return Ok();
}

Result<RefPtr<vfs::FileSystem>> Create(cgroup::Cgroups& cgroups, TaskControl& control,
                                       const cgroup::Cgroups::MountSpec& spec) {
  RefPtr<cgroup::Hierarchy> hierarchy = TRY(cgroups.Mount(spec));
  if (RefPtr<CgroupFs> mounted = FindMounted(*hierarchy)) {
    // One count a file system: this one has it already.
    MutexLock lock(cgroups.mutex());
    --hierarchy->mounts;
    return RefPtr<vfs::FileSystem>(std::move(mounted));
  }
  auto fs = MakeRef<CgroupFs>(cgroups, control, hierarchy);
  // Controllers that moved here brought the sandbox's limits with them.
  for (cgroup::Kind kind : {cgroup::Kind::kCpu, cgroup::Kind::kMemory}) {
    if (hierarchy->Has(kind)) control.LimitsChanged(*hierarchy->root, kind);
  }
  fs->Finish(MakeRef<Directory>(*fs, hierarchy->root, 0755, 0, 0));
  MutexLock lock(TheMounted().mutex);
  TheMounted().all[hierarchy.get()] = fs.get();
  return RefPtr<vfs::FileSystem>(std::move(fs));
}

Result<RefPtr<vfs::Dentry>> Find(const vfs::OpContext& ctx, vfs::FileSystem& fs,
                                 cgroup::Group& group) {
  if (group.is_root()) return fs.root();
  RefPtr<vfs::Dentry> above = TRY(Find(ctx, fs, *group.parent));
  return vfs::PathWalker::LookupChild(ctx, above, group.name);
}

void Register(vfs::Vfs& vfs, cgroup::Cgroups& cgroups, TaskControl& control) {
  vfs.RegisterFsType(
      {.name = "cgroup"},
      [&cgroups, &control](const vfs::OpContext&, std::string_view, std::string_view data) {
        return [&]() -> Result<RefPtr<vfs::FileSystem>> {
          return Create(cgroups, control, TRY(ParseOptions(data)));
        }();
      });
}

}  // namespace msentry::cgroupfs
