// Our structs against the host's headers: the host is Linux on x86-64 too.
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>
#include <sys/ucontext.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "sentry/abi/file.h"
#include "sentry/abi/poll.h"
#include "sentry/abi/process.h"
#include "sentry/abi/signal.h"
#include "sentry/abi/socket.h"
#include "sentry/abi/time.h"
#include "sentry/abi/ucontext.h"

namespace msentry::abi {
namespace {

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs))
#define SAME_FIELD(ours, our_field, theirs, their_field)                     \
  static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field)); \
  static_assert(sizeof(ours::our_field) == sizeof(theirs::their_field))

SAME_SIZE(Timespec, timespec);
SAME_SIZE(Timeval, timeval);
SAME_SIZE(Timex, timex);
SAME_FIELD(Timex, tai, timex, tai);
SAME_FIELD(Timex, tick, timex, tick);
SAME_SIZE(Itimerspec, itimerspec);

SAME_SIZE(Stat, struct stat);
using HostStat = struct stat;
SAME_FIELD(Stat, nlink, HostStat, st_nlink);
SAME_FIELD(Stat, mode, HostStat, st_mode);
SAME_FIELD(Stat, gid, HostStat, st_gid);
SAME_FIELD(Stat, rdev, HostStat, st_rdev);
SAME_FIELD(Stat, size, HostStat, st_size);
SAME_FIELD(Stat, blksize, HostStat, st_blksize);
SAME_FIELD(Stat, blocks, HostStat, st_blocks);
SAME_FIELD(Stat, atime, HostStat, st_atim);
SAME_FIELD(Stat, ctime, HostStat, st_ctim);
using HostStatx = struct statx;
SAME_SIZE(Statx, HostStatx);
SAME_FIELD(Statx, attributes, HostStatx, stx_attributes);
SAME_FIELD(Statx, mode, HostStatx, stx_mode);
SAME_FIELD(Statx, ino, HostStatx, stx_ino);
SAME_FIELD(Statx, mtime, HostStatx, stx_mtime);
SAME_FIELD(Statx, rdev_major, HostStatx, stx_rdev_major);
SAME_FIELD(Statx, mnt_id, HostStatx, stx_mnt_id);
using HostStatfs = struct statfs;
SAME_SIZE(Statfs, HostStatfs);
SAME_FIELD(Statfs, fsid, HostStatfs, f_fsid);
SAME_FIELD(Statfs, namelen, HostStatfs, f_namelen);
SAME_FIELD(Statfs, flags, HostStatfs, f_flags);
static_assert(offsetof(dirent64, d_name) == kDirent64NameOffset);
SAME_FIELD(Dirent64Header, type, dirent64, d_type);
SAME_SIZE(Iovec, iovec);
using HostFlock = struct flock;
SAME_SIZE(Flock, HostFlock);
SAME_FIELD(Flock, start, HostFlock, l_start);
SAME_FIELD(Flock, pid, HostFlock, l_pid);
SAME_SIZE(FOwnerEx, f_owner_ex);
SAME_SIZE(OpenHow, open_how);
SAME_SIZE(InotifyEvent, inotify_event);
SAME_SIZE(Winsize, winsize);
static_assert(sizeof(Termios) == 36);
static_assert(sizeof(Termios2) == 44);

SAME_SIZE(PollFd, pollfd);
SAME_SIZE(EpollEvent, epoll_event);
SAME_SIZE(SignalfdSiginfo, signalfd_siginfo);
SAME_FIELD(SignalfdSiginfo, ptr, signalfd_siginfo, ssi_ptr);
SAME_FIELD(SignalfdSiginfo, addr_lsb, signalfd_siginfo, ssi_addr_lsb);
SAME_FIELD(SignalfdSiginfo, arch, signalfd_siginfo, ssi_arch);

static_assert(sizeof(SigAction) == 32);
SAME_SIZE(SigAltStack, stack_t);
SAME_SIZE(SigInfo, siginfo_t);
static_assert(offsetof(SigInfo, user.pid) == offsetof(siginfo_t, si_pid));
static_assert(offsetof(SigInfo, user.value) == offsetof(siginfo_t, si_value));
static_assert(offsetof(SigInfo, child.status) == offsetof(siginfo_t, si_status));
static_assert(offsetof(SigInfo, child.stime) == offsetof(siginfo_t, si_stime));
static_assert(offsetof(SigInfo, timer.overrun) == offsetof(siginfo_t, si_overrun));
static_assert(offsetof(SigInfo, fault.address_lsb) == offsetof(siginfo_t, si_addr_lsb));
static_assert(offsetof(SigInfo, poll.fd) == offsetof(siginfo_t, si_fd));
static_assert(offsetof(SigInfo, sys.arch) == offsetof(siginfo_t, si_arch));
SAME_SIZE(SigEvent, sigevent_t);
static_assert(offsetof(Ucontext, mcontext) == offsetof(ucontext_t, uc_mcontext));
static_assert(offsetof(Ucontext, sigmask) == offsetof(ucontext_t, uc_sigmask));
static_assert(sizeof(SigContext) == 256);
static_assert(sizeof(FpxSwBytes) == 48);

using HostRusage = struct rusage;
SAME_SIZE(Rusage, HostRusage);
SAME_FIELD(Rusage, nivcsw, HostRusage, ru_nivcsw);
SAME_SIZE(Rlimit, struct rlimit);
SAME_SIZE(CloneArgs, clone_args);
SAME_SIZE(Utsname, utsname);
using HostSysinfo = struct sysinfo;
SAME_SIZE(Sysinfo, HostSysinfo);
SAME_FIELD(Sysinfo, procs, HostSysinfo, procs);
SAME_FIELD(Sysinfo, mem_unit, HostSysinfo, mem_unit);
SAME_SIZE(FutexWaitv, futex_waitv);

SAME_SIZE(SockaddrUn, sockaddr_un);
SAME_SIZE(SockaddrIn, sockaddr_in);
SAME_SIZE(SockaddrIn6, sockaddr_in6);
SAME_SIZE(Msghdr, msghdr);
SAME_FIELD(Msghdr, control, msghdr, msg_control);
SAME_FIELD(Msghdr, flags, msghdr, msg_flags);
SAME_SIZE(Mmsghdr, mmsghdr);
SAME_SIZE(Cmsghdr, cmsghdr);
SAME_SIZE(Ucred, ucred);

TEST(AbiTime, TimespecConversionsRoundTrip) {
  EXPECT_EQ(ToNs({1, 5}), 1'000'000'005);
  EXPECT_EQ(ToTimespec(-1).nsec, 999'999'999);
  EXPECT_EQ(ToNs({INT64_MAX, 0}), INT64_MAX);
  EXPECT_FALSE(IsValid({0, 1'000'000'000}));
}

}  // namespace
}  // namespace msentry::abi
