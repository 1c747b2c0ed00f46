#include "sentry/boot/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/base/landlock.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::boot {
namespace {

constexpr uid_t kNobody = 65534;
constexpr gid_t kNogroup = 65534;

Result<> Check(long result) {
  if (result < 0) return FromHost(errno);
  return Ok();
}

Result<> RaiseEffective() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  TRY(Check(syscall(SYS_capget, &header, data)));
  for (auto& d : data) d.effective = d.permitted;
  return Check(syscall(SYS_capset, &header, data));
}

}  // namespace

Result<> EnterOwnMounts() {
  TRY(Check(unshare(CLONE_NEWNS)));
  return Check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
}

Result<> BecomeNobody() {
  TRY(Check(setgroups(0, nullptr)));
  TRY(Check(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)));
  TRY(Check(setresgid(kNogroup, kNogroup, kNogroup)));
  TRY(Check(setresuid(kNobody, kNobody, kNobody)));
  TRY(Check(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0)));
  // A change of ids takes away the parent-death signal, and the right to look into our own stubs.
  TRY(Check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)));
  TRY(Check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)));
  return RaiseEffective();
}

Result<ScopedFd> OpenHostProc(bool own_namespaces) {
  if (own_namespaces) {
    ScopedFd context(fsopen("proc", FSOPEN_CLOEXEC));
    if (context && fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
      ScopedFd mounted(fsmount(context.get(), FSMOUNT_CLOEXEC,
                               MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
      if (mounted) return mounted;
    }
  }
  // A container that covers parts of its /proc lets nobody mount a whole one.
  ScopedFd proc(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return FromHost(errno);
  return proc;
}

Result<> LeaveHostFiles() {
  // Any directory will do to stand on: what it is called ends with the old root.
  Result<> mounted = Errno::kENOENT;
  const char* place = nullptr;
  for (const char* candidate : {"/tmp", "/mnt", "/var", "/usr", "/etc"}) {
    mounted = Check(mount("none", candidate, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                          "size=4k,nr_inodes=2,mode=555"));
    place = candidate;
    if (mounted.ok()) break;
  }
  TRY(mounted);
  TRY(Check(chdir(place)));
  // Old and new root stacked on each other; then the old one goes.
  TRY(Check(syscall(SYS_pivot_root, ".", ".")));
  TRY(Check(umount2(".", MNT_DETACH)));
  TRY(Check(mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  nullptr)));
  return Check(chdir("/"));
}

Result<> RestrictToProc(int proc_fd) {
  const int abi = LandlockAbi();
  if (abi == 0) return Errno::kEOPNOTSUPP;
  LandlockRules rules(abi, LandlockFileRights(abi), /*own_signals=*/true);
  TRY(rules.Allow(proc_fd, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR));
  return rules.Enforce();
}

Result<> DropCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  TRY(Check(syscall(SYS_capget, &header, data)));
  if (data[0].effective >> CAP_SETPCAP & 1) {
    for (int cap = 0; cap <= 63; cap++) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  data[0] = data[1] = {};
  TRY(Check(syscall(SYS_capset, &header, data)));
  TRY(Check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
  const rlimit none = {0, 0};
  return Check(setrlimit(RLIMIT_CORE, &none));
}

}  // namespace msentry::boot
