#include "gofer/server/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gofer/server/host.h"
#include "sentry/base/landlock.h"

namespace msentry::gofer {
namespace {

// linux/mount.h and sys/mount.h clash in some releases; these numbers are ABI.
constexpr unsigned kOpenTreeClone = 1;
constexpr unsigned kAtRecursive = 0x8000;
constexpr uint64_t kMountAttrReadOnly = 1, kMountAttrNoSuid = 2, kMountAttrNoDev = 4;

struct MountAttr {
  uint64_t attr_set = 0, attr_clr = 0, propagation = 0, userns_fd = 0;
};

Result<ScopedFd> CloneMount(int fd, const char* path, bool recursive) {
  unsigned flags = kOpenTreeClone | O_CLOEXEC | AT_EMPTY_PATH | (recursive ? kAtRecursive : 0);
  long tree = syscall(SYS_open_tree, fd, path, flags);
  if (tree < 0) return FromHost(errno);
  return ScopedFd(static_cast<int>(tree));
}

Result<> Check(long result) {
  if (result < 0) return FromHost(errno);
  return Ok();
}

// An empty, read-only tmpfs becomes the root; the old one is gone.
Result<> EnterEmptyRoot() {
  TRY(Check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)));
  // Any directory will do: the roots and the working directory are held by fds.
  const char* place = nullptr;
  for (const char* candidate : {"/tmp", "/mnt", "/var", "/usr", "/etc"}) {
    if (mount("none", candidate, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=4k,nr_inodes=2,mode=555") == 0) {
      place = candidate;
      break;
    }
  }
  if (place == nullptr) return FromHost(errno);
  ScopedFd new_root = TRY(host::OpenRoot(place));
  ScopedFd cwd(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!cwd) return FromHost(errno);
  TRY(Check(fchdir(new_root.get())));
  TRY(Check(syscall(SYS_pivot_root, ".", ".")));
  TRY(Check(umount2(".", MNT_DETACH)));
  (void)mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              nullptr);
  return Check(fchdir(cwd.get()));
}

bool HasSysAdmin() {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0) return false;
  return (data[0].effective >> CAP_SYS_ADMIN & 1) != 0;
}

}  // namespace

Result<> EnterFdDirectory() {
  TRY(Check(chdir("/proc/self/fd")));
  // Through "self" the link would name the reader; ours is fixed to this process.
  host::FdPath::WorkingDirectoryIsFdDirectory();
  return Ok();
}

Result<> EnterMountNamespace() {
  if (!HasSysAdmin()) return Errno::kEPERM;
  TRY(Check(unshare(CLONE_NEWNS)));
  return Check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
}

Result<> IsolateMounts(std::vector<ConfinedRoot>& roots) {
  if (!HasSysAdmin()) return Errno::kEPERM;
  std::vector<ScopedFd> isolated;
  for (const ConfinedRoot& root : roots) {
    ScopedFd tree = TRY(CloneMount(root.fd.get(), "", true));
    MountAttr attr{.attr_set = kMountAttrNoSuid | kMountAttrNoDev |
                               (root.read_only ? kMountAttrReadOnly : 0)};
    TRY(Check(syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | kAtRecursive, &attr,
                      sizeof attr)));
    isolated.push_back(std::move(tree));
  }
  // Alone in its mount, the fd directory has no parent to climb to.
  ScopedFd fds = TRY(CloneMount(AT_FDCWD, ".", false));
  TRY(Check(fchdir(fds.get())));
  // The mounts live as long as these fds: they stay open until the process ends.
  (void)fds.Release();
  for (size_t i = 0; i < roots.size(); ++i) roots[i].fd = std::move(isolated[i]);
  return EnterEmptyRoot();
}

Result<> RestrictToRoots(const std::vector<ConfinedRoot>& roots) {
  const int abi = LandlockAbi();
  if (abi < 2) return Errno::kEOPNOTSUPP;  // no renames between directories before version 2
  constexpr uint64_t kFile = LANDLOCK_ACCESS_FS_READ_FILE;
  constexpr uint64_t kRead = kFile | LANDLOCK_ACCESS_FS_READ_DIR;
  constexpr uint64_t kTruncate = uint64_t{1} << 14;  // version 3
  const uint64_t file_write = LANDLOCK_ACCESS_FS_WRITE_FILE | (abi >= 3 ? kTruncate : 0);
  constexpr uint64_t kChange = LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                               LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                               LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                               LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
  // Handled but never granted: running programs, making block devices. Character devices are
  // needed for overlay whiteouts (0:0), which Landlock cannot tell apart.
  constexpr uint64_t kMakeChar = LANDLOCK_ACCESS_FS_MAKE_CHAR;
  LandlockRules rules(abi, kRead | file_write | kChange | kMakeChar | LANDLOCK_ACCESS_FS_EXECUTE |
                               LANDLOCK_ACCESS_FS_MAKE_BLOCK);
  for (const ConfinedRoot& root : roots) {
    const bool directory = TRY(host::StatFd(root.fd.get())).IsDir();
    uint64_t allowed = kFile;
    if (directory) allowed |= LANDLOCK_ACCESS_FS_READ_DIR;
    if (!root.read_only) allowed |= file_write;
    if (!root.read_only && directory) allowed |= kChange | kMakeChar;
    TRY(rules.Allow(root.fd.get(), allowed));
  }
  return rules.Enforce();
}

Result<> DropPrivileges(bool any_writable) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2] = {};
  TRY(Check(syscall(SYS_capget, &header, data)));
  uint32_t keep = uint32_t{1} << CAP_DAC_READ_SEARCH;
  if (any_writable) {
    keep |= uint32_t{1} << CAP_CHOWN | uint32_t{1} << CAP_DAC_OVERRIDE | uint32_t{1} << CAP_FOWNER |
            uint32_t{1} << CAP_FSETID;
  }
  bool setpcap = (data[0].effective >> CAP_SETPCAP & 1) != 0;
  for (int cap = 0; setpcap && cap <= 63; ++cap) (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if ((data[0].effective >> CAP_SETGID & 1) != 0) (void)setgroups(0, nullptr);
  data[0].permitted &= keep;
  data[0].effective = data[0].permitted;
  data[0].inheritable = 0;
  data[1] = {};
  TRY(Check(syscall(SYS_capset, &header, data)));
  TRY(Check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
  TRY(Check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)));
  struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
  return Check(setrlimit(RLIMIT_CORE, &none));
}

}  // namespace msentry::gofer
