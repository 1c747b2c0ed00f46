// mounts, cgroup, links.
#include "absl/strings/str_format.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "vfs/mapping.h"
#include "vfs/mount_namespace.h"

namespace msentry::procfs {

namespace {

// The subject's root: mounts are shown from there.
vfs::Location RootOf(const View& v) {
  RefPtr<kernel::FsContext> fs = v.task.fs_ref();
  return fs ? fs->root() : v.kernel().root();
}

std::vector<vfs::MountInfo> MountsOf(const View& v) {
  const kernel::NamespacesRef namespaces = v.task.namespaces();
  if (!namespaces) return {};
  return namespaces->mounts->List(RootOf(v));
}

// The reader's cgroup namespace: paths are told from its root.
RefPtr<cgroup::GroupSet> CgroupRootsOf(const View& v) {
  if (v.ctx.task == nullptr) return nullptr;
  const kernel::NamespacesRef namespaces = static_cast<kernel::Task*>(v.ctx.task)->namespaces();
  return namespaces ? namespaces->cgroup->roots : nullptr;
}

// Options of mount and super block as /proc/mounts joins them: "rw" once, at the front.
std::string JoinOptions(const vfs::MountInfo& m) {
  std::string_view super = m.super_options;
  if (super.starts_with("rw") || super.starts_with("ro")) super.remove_prefix(2);
  return m.options + std::string(super);
}

}  // namespace

Text ReadMounts(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "%s %s %s %s 0 0\n", EscapePath(m.source), EscapePath(m.mount_point),
                          m.type, JoinOptions(m));
  }
  return s;
}

Text ReadMountInfo(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "%u %u %u:%u %s %s %s %s- %s %s %s\n", m.id, m.parent_id,
                          vfs::DevMajor(m.dev), vfs::DevMinor(m.dev), EscapePath(m.root),
                          EscapePath(m.mount_point), m.options, m.propagation, m.type,
                          EscapePath(m.source), m.super_options);
  }
  return s;
}

Text ReadMountStats(const View& v) {
  std::string s;
  for (const vfs::MountInfo& m : MountsOf(v)) {
    absl::StrAppendFormat(&s, "device %s mounted on %s with fstype %s\n", EscapePath(m.source),
                          EscapePath(m.mount_point), m.type);
  }
  return s;
}

Text ReadCgroup(const View& v) {
  return v.kernel().cgroups().TaskText(v.task.cgroup, CgroupRootsOf(v).get());
}

Text ReadCpuset(const View& v) {
  return v.kernel().cgroups().PathOfTask(v.task.cgroup, cgroup::Kind::kCpuset,
                                         CgroupRootsOf(v).get()) +
         "\n";
}

Result<vfs::Location> FollowProcessLink(const View& v, ProcessLink link) {
  if (link == ProcessLink::kExe) {
    RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
    if (!mm) return Errno::kENOENT;
    RefPtr<mm::MappedFile> executable = mm->image().executable;
    if (!executable) return Errno::kENOENT;
    return vfs::FileOfMapping(*executable).location();
  }
  RefPtr<kernel::FsContext> fs = v.task.fs_ref();
  if (!fs) return Errno::kENOENT;
  return link == ProcessLink::kCwd ? fs->cwd() : fs->root();
}

}  // namespace msentry::procfs
