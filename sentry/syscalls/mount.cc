// mount(2), umount2(2), pivot_root(2), chroot's big brothers.
#include <fcntl.h>
#include <sys/mount.h>

#include "sentry/kernel/kernel.h"
#include "sentry/syscalls/calls_mount.h"
#include "sentry/syscalls/util.h"
#include "vfs/file_system.h"
#include "vfs/mount_namespace.h"
#include "vfs/vfs.h"

namespace msentry::syscalls {
namespace {

constexpr unsigned long kMagic = 0xc0ed0000, kMagicMask = 0xffff0000;  // MS_MGC_VAL
constexpr unsigned long kPropagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

uint32_t MountFlagsOf(unsigned long flags) {
  uint32_t out = 0;
  if (flags & MS_RDONLY) out |= vfs::kMountReadOnly;
  if (flags & MS_NOSUID) out |= vfs::kMountNoSuid;
  if (flags & MS_NODEV) out |= vfs::kMountNoDev;
  if (flags & MS_NOEXEC) out |= vfs::kMountNoExec;
  if (flags & MS_NOATIME) out |= vfs::kMountNoAtime;
  if (flags & MS_NODIRATIME) out |= vfs::kMountNoDirAtime;
  if (flags & MS_STRICTATIME) {
    out |= vfs::kMountStrictAtime;
  } else if (!(flags & MS_NOATIME)) {
    out |= vfs::kMountRelatime;
  }
  return out;
}

// A remount that names no atime rule keeps the mount's.
uint32_t RemountFlags(unsigned long flags, uint32_t before) {
  constexpr unsigned long kAtime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
  constexpr uint32_t kKept =
      vfs::kMountNoAtime | vfs::kMountNoDirAtime | vfs::kMountRelatime | vfs::kMountStrictAtime;
  const uint32_t now = MountFlagsOf(flags);
  return flags & kAtime ? now : (now & ~kKept) | (before & kKept);
}

// Exactly one of the four.
Result<vfs::Propagation> PropagationOf(unsigned long flags) {
  if (flags & ~(kPropagation | MS_REC | MS_SILENT)) return Errno::kEINVAL;
  switch (flags & kPropagation) {
    case MS_SHARED:
      return vfs::Propagation::kShared;
    case MS_SLAVE:
      return vfs::Propagation::kSlave;
    case MS_PRIVATE:
      return vfs::Propagation::kPrivate;
    case MS_UNBINDABLE:
      return vfs::Propagation::kUnbindable;
    default:
      return Errno::kEINVAL;
  }
}

Result<vfs::Location> Resolve(Walk& walk, std::string_view path, uint32_t flags) {
  return vfs::PathWalker(walk.context, flags).Resolve(path);
}

// The mount's own option string: at most a page, NUL-terminated; null is empty.
Result<std::string> CopyInData(Task& t, uint64_t address) {
  if (address == 0) return std::string();
  return t.memory().CopyInString(GuestPtr<char>(address), 4096);
}

}  // namespace

Result<int64_t> SysMount(Task& t, const SyscallArgs& a) {
  std::string source, type;
  if (a[0] != 0) source = TRY(CopyInPath(t, a[0]));
  const std::string target = TRY(CopyInPath(t, a[1]));
  if (a[2] != 0) type = TRY(CopyInPath(t, a[2]));
  unsigned long flags = a[3];
  if ((flags & kMagicMask) == kMagic) flags &= ~kMagicMask;
  if (!t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  Walk walk(t);
  const vfs::Location at = TRY(Resolve(walk, target, vfs::kWalkFollow));
  RefPtr<vfs::MountNamespace> mounts = t.namespaces()->mounts;

  // In the order in which Linux looks at the flags.
  if (flags & MS_REMOUNT) {
    if (at.dentry != at.mount->root()) return Errno::kEINVAL;
    if (!(flags & MS_BIND)) TRY(at.mount->fs().Remount(walk.op, TRY(CopyInData(t, a[4]))));
    TRY(mounts->SetFlags(*at.mount, RemountFlags(flags, at.mount->flags())));
    if (!(flags & MS_BIND)) at.mount->fs().SetReadOnly(flags & MS_RDONLY);
    return 0;
  }
  if (flags & MS_BIND) {
    TRY(mounts->Bind(TRY(Resolve(walk, source, vfs::kWalkFollow)), at, flags & MS_REC));
    return 0;
  }
  if (flags & kPropagation) {
    TRY(mounts->SetPropagation(at, TRY(PropagationOf(flags)), flags & MS_REC));
    return 0;
  }
  if (flags & MS_MOVE) {
    TRY(mounts->Move(TRY(Resolve(walk, source, vfs::kWalkFollow)), at));
    return 0;
  }
  const std::string data = TRY(CopyInData(t, a[4]));
  RefPtr<vfs::FileSystem> fs = TRY(walk.op.vfs.MakeFileSystem(walk.op, type, source, data));
  TRY(mounts->Attach(std::move(fs), at, MountFlagsOf(flags)));
  return 0;
}

Result<int64_t> SysUmount2(Task& t, const SyscallArgs& a) {
  const int flags = a.Int(1);
  if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)) return Errno::kEINVAL;
  const std::string path = TRY(CopyInPath(t, a[0]));
  if (!t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  if (flags & MNT_EXPIRE) return Errno::kEINVAL;
  Walk walk(t);
  vfs::Location at = TRY(Resolve(walk, path, flags & UMOUNT_NOFOLLOW ? 0u : vfs::kWalkFollow));
  at = vfs::MountNamespace::Top(std::move(at));
  RefPtr<vfs::MountNamespace> mounts = t.namespaces()->mounts;
  // Nobody but the caller's own path may hold it.
  TRY(mounts->Detach(std::move(at), flags & MNT_DETACH));
  return 0;
}

Result<int64_t> SysPivotRoot(Task& t, const SyscallArgs& a) {
  const std::string new_root = TRY(CopyInPath(t, a[0]));
  const std::string put_old = TRY(CopyInPath(t, a[1]));
  if (!t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  Walk walk(t);
  const vfs::Location root = TRY(Resolve(walk, new_root, vfs::kWalkFollow | vfs::kWalkDirectory));
  const vfs::Location old = TRY(Resolve(walk, put_old, vfs::kWalkFollow | vfs::kWalkDirectory));
  const vfs::Location before = walk.root;
  TRY(t.mounts().PivotRoot(root, old));
  // Everybody who stood on the old root stands on the new one.
  std::vector<RefPtr<kernel::FsContext>> everybody;
  t.kernel().ForEachLiveTask([&](Task& task) {
    if (RefPtr<kernel::FsContext> fs = task.fs_ref()) everybody.push_back(std::move(fs));
  });
  for (const auto& fs : everybody) {
    if (fs->root() == before) fs->set_root(root);
    if (fs->cwd() == before) fs->set_cwd(root);
  }
  return 0;
}

}  // namespace msentry::syscalls
