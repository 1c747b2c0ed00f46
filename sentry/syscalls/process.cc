// Creating, ending, waiting for and replacing processes.
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "sentry/abi/process.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/wait.h"
#include "sentry/syscalls/calls_process.h"
#include "sentry/syscalls/rusage.h"
#include "sentry/syscalls/util.h"

namespace msentry::syscalls {
namespace {

constexpr uint64_t kExitSignalMask = 0xff;
constexpr uint64_t kClonePidfd = 0x1000, kCloneNewTime = 0x80, kCloneClearSighand = 0x100000000;
// Stop and continue are always tracked; a tracer cannot be asked for.
constexpr uint64_t kClone3Flags = 0xffffff00 | kCloneClearSighand | kCloneNewTime;

constexpr int kWaitNoThread = 0x20000000, kWaitAll = 0x40000000;
constexpr int kWaitClone = static_cast<int>(0x80000000u);

// The strings of argv or envp. A null array is an empty one.
Result<std::vector<std::string>> CopyInStrings(Task& t, uint64_t address, size_t* budget) {
  constexpr size_t kLongest = 128 << 10;  // MAX_ARG_STRLEN
  constexpr size_t kChunk = 64;
  std::vector<std::string> strings;
  if (address == 0) return strings;
  const mm::GuestMemory memory = t.memory();
  for (;;) {
    uint64_t pointers[kChunk];
    auto bytes = std::as_writable_bytes(std::span(pointers));
    const size_t got = TRY(memory.CopyInSome(address, bytes)) / sizeof(uint64_t);
    if (got == 0) return Errno::kEFAULT;
    for (size_t i = 0; i < got; ++i) {
      if (pointers[i] == 0) return strings;
      Result<std::string> text = memory.CopyInString(GuestPtr<char>(pointers[i]), kLongest);
      if (!text.ok()) {
        return text.error() == Errno::kENAMETOOLONG ? Errno::kE2BIG : text.error();
      }
      const size_t cost = text->size() + 1 + sizeof(uint64_t);
      if (cost > *budget) return Errno::kE2BIG;
      *budget -= cost;
      strings.push_back(std::move(*text));
    }
    address += got * sizeof(uint64_t);
  }
}

Result<int64_t> Execute(Task& t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
                        int flags) {
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return Errno::kEINVAL;
  kernel::ExecArgs args;
  args.path = TRY(CopyInPath(t, path));
  args.empty_path = (flags & AT_EMPTY_PATH) != 0;
  args.no_follow = (flags & AT_SYMLINK_NOFOLLOW) != 0;
  args.at = t.fs().cwd();
  if (dirfd != AT_FDCWD && !args.path.starts_with('/')) {
    args.at = TRY(t.GetFile(dirfd, /*path_only_too=*/true))->location();
    args.dirfd = dirfd;
  }
  // A quarter of the stack limit, but never more than 6 MiB nor less than 128 KiB: what Linux
  // leaves for strings and pointers.
  const uint64_t stack = t.group().limits().Soft(RLIMIT_STACK);
  size_t budget = std::clamp<uint64_t>(stack / 4, 128 << 10, 6 << 20);
  args.argv = TRY(CopyInStrings(t, argv, &budget));
  args.envp = TRY(CopyInStrings(t, envp, &budget));
  if (args.argv.empty()) args.argv.emplace_back();  // as Linux since 5.18: argv[0] exists
  return t.Exec(std::move(args));
}

// Which children wait4's pid argument means.
kernel::WaitArgs Selection(Task& t, int pid) {
  using Which = kernel::WaitArgs::Which;
  if (pid > 0) return {Which::kPid, pid, 0};
  if (pid == -1) return {Which::kAny, 0, 0};
  if (pid < -1) return {Which::kGroup, -pid, 0};
  return {Which::kGroup, static_cast<int>(t.kernel().GetPgid(t, 0).value_or(0)), 0};
}

}  // namespace

Result<int64_t> SysGetpid(Task& t, const SyscallArgs&) { return t.tgid(); }
Result<int64_t> SysGettid(Task& t, const SyscallArgs&) { return t.tid(); }
Result<int64_t> SysGetppid(Task& t, const SyscallArgs&) { return t.ParentTgid(); }

Result<int64_t> SysClone(Task& t, const SyscallArgs& a) {
  kernel::CloneArgs args;
  args.flags = a[0] & 0xffffffff & ~kExitSignalMask;
  args.exit_signal = static_cast<int>(a[0] & kExitSignalMask);
  args.stack = a[1];
  args.parent_tid = a[2];
  args.child_tid = a[3];
  args.tls = a[4];
  if (args.flags & kClonePidfd) {
    // The old call returns the pidfd through the parent's tid argument.
    if (args.flags & CLONE_PARENT_SETTID) return Errno::kEINVAL;
    args.pidfd = args.parent_tid;
  }
  if (args.exit_signal > kernel::kMaxSignal) args.exit_signal = 0;
  return t.Clone(args);
}

Result<int64_t> SysClone3(Task& t, const SyscallArgs& a) {
  const size_t size = a[1];
  if (size < abi::kCloneArgsSizeVer0) return Errno::kEINVAL;
  if (size > mm::kMaxRwCount || size > 4096) return Errno::kE2BIG;
  const auto in = TRY(t.memory().CopyInVersioned(GuestPtr<abi::CloneArgs>(a[0]), size));
  if (in.flags & ~kClone3Flags || in.flags & (CLONE_DETACHED)) return Errno::kEINVAL;
  if (in.exit_signal > static_cast<uint64_t>(kernel::kMaxSignal)) return Errno::kEINVAL;
  if ((in.flags & (CLONE_THREAD | CLONE_PARENT)) && in.exit_signal != 0) return Errno::kEINVAL;
  if ((in.stack == 0) != (in.stack_size == 0)) return Errno::kEINVAL;
  if (in.set_tid_size != 0) return Errno::kEPERM;  // needs CAP_CHECKPOINT_RESTORE
  if (in.set_tid != 0 || in.cgroup != 0) return Errno::kEINVAL;
  return t.Clone({.flags = in.flags,
                  .exit_signal = static_cast<int>(in.exit_signal),
                  .stack = in.stack == 0 ? 0 : in.stack + in.stack_size,
                  .tls = in.tls,
                  .parent_tid = in.parent_tid,
                  .child_tid = in.child_tid,
                  .pidfd = in.pidfd});
}

Result<int64_t> SysFork(Task& t, const SyscallArgs&) { return t.Clone({.exit_signal = SIGCHLD}); }

Result<int64_t> SysVfork(Task& t, const SyscallArgs&) {
  return t.Clone({.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD});
}

Result<int64_t> SysExecve(Task& t, const SyscallArgs& a) {
  return Execute(t, AT_FDCWD, a[0], a[1], a[2], 0);
}

Result<int64_t> SysExecveat(Task& t, const SyscallArgs& a) {
  return Execute(t, a.Int(0), a[1], a[2], a[3], a.Int(4));
}

Result<int64_t> SysExit(Task& t, const SyscallArgs& a) {
  t.TraceExit((a.Int(0) & 0xff) << 8);
  t.Exit((a.Int(0) & 0xff) << 8);
  return 0;
}

Result<int64_t> SysExitGroup(Task& t, const SyscallArgs& a) {
  t.TraceExit((a.Int(0) & 0xff) << 8);
  t.ExitGroup((a.Int(0) & 0xff) << 8);
  return 0;
}

Result<int64_t> SysWait4(Task& t, const SyscallArgs& a) {
  const int options = a.Int(2);
  if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | kWaitNoThread | kWaitAll | kWaitClone)) {
    return Errno::kEINVAL;
  }
  if (a.Int(0) == INT32_MIN) return Errno::kESRCH;
  kernel::WaitArgs args = Selection(t, a.Int(0));
  args.options = options | WEXITED;
  const kernel::WaitStatus status = TRY(kernel::Wait(t, args));
  if (status.pid == 0) return 0;
  if (a[1] != 0) TRY(t.memory().CopyOut(GuestPtr<int32_t>(a[1]), status.raw_status));
  if (a[3] != 0) TRY(t.memory().CopyOut(GuestPtr<abi::Rusage>(a[3]), ToRusage(status.usage)));
  return status.pid;
}

Result<int64_t> SysWaitid(Task& t, const SyscallArgs& a) {
  constexpr int kAllowed =
      WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | kWaitNoThread | kWaitAll | kWaitClone;
  const int options = a.Int(3);
  if ((options & ~kAllowed) || !(options & (WEXITED | WSTOPPED | WCONTINUED))) {
    return Errno::kEINVAL;
  }
  using Which = kernel::WaitArgs::Which;
  const int id = a.Int(1);
  kernel::WaitArgs args;
  switch (a.Int(0)) {
    case P_ALL:
      args = {Which::kAny, 0, 0};
      break;
    case P_PID:
      if (id <= 0) return Errno::kEINVAL;
      args = {Which::kPid, id, 0};
      break;
    case P_PGID:
      if (id < 0) return Errno::kEINVAL;
      args = {Which::kGroup, id == 0 ? static_cast<int>(TRY(t.kernel().GetPgid(t, 0))) : id, 0};
      break;
    case P_PIDFD:
      args = {Which::kPid, TRY(kernel::GroupOfPidFd(t, id))->tgid(), 0};
      break;
    default:
      return Errno::kEINVAL;
  }
  args.options = options;
  const kernel::WaitStatus status = TRY(kernel::Wait(t, args));
  if (a[2] != 0) {
    kernel::SigInfo info;
    if (status.pid != 0) {
      info.signo = SIGCHLD;
      info.code = status.code;
      info.child.pid = status.pid;
      info.child.uid = status.uid;
      info.child.status = status.status;
    }
    TRY(t.memory().CopyOut(GuestPtr<kernel::SigInfo>(a[2]), info));
  }
  if (a[4] != 0 && status.pid != 0) {
    TRY(t.memory().CopyOut(GuestPtr<abi::Rusage>(a[4]), ToRusage(status.usage)));
  }
  return 0;
}

Result<int64_t> SysSetTidAddress(Task& t, const SyscallArgs& a) {
  t.clear_child_tid = a[0];
  return t.tid();
}

Result<int64_t> SysSetRobustList(Task& t, const SyscallArgs& a) {
  if (a[1] != sizeof(abi::RobustListHead)) return Errno::kEINVAL;
  t.robust_list = a[0];
  return 0;
}

Result<int64_t> SysGetRobustList(Task& t, const SyscallArgs& a) {
  // Another task's list belongs to its own fiber; only one's own is told.
  const int tid = a.Int(0);
  if (tid != 0 && tid != t.tid()) {
    return t.kernel().FindTask(tid) ? Errno::kEPERM : Errno::kESRCH;
  }
  TRY(t.memory().CopyOut(GuestPtr<uint64_t>(a[2]), sizeof(abi::RobustListHead)));
  TRY(t.memory().CopyOut(GuestPtr<uint64_t>(a[1]), t.robust_list));
  return 0;
}

Result<int64_t> SysPersonality(Task& t, const SyscallArgs& a) {
  const uint32_t old = t.personality;
  if (a.Uint(0) != 0xffffffff) t.personality = a.Uint(0);
  return old;
}

Result<int64_t> SysUnshare(Task& t, const SyscallArgs& a) {
  constexpr uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                   CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | kCloneNewTime;
  constexpr uint64_t kShared =
      CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  const uint64_t flags = a[0];
  if (flags & ~(kNamespaces | kShared)) return Errno::kEINVAL;
  if (flags & kNamespaces) {
    if ((flags & kernel::kNamespacesHere) && !t.HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
    if (flags & kNamespaces & ~kernel::kNamespacesHere) return Errno::kEINVAL;  // configured out
  }
  if (flags & (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)) {
    if (t.group().live_tasks.load() > 1) return Errno::kEINVAL;
  }
  if (flags & CLONE_FILES) t.UnshareFdTable();
  if (flags & CLONE_FS) t.UnshareFs();
  if (flags & kernel::kNamespacesHere) TRY(t.UnshareNamespaces(flags));
  if (flags & CLONE_SYSVSEM) t.LeaveSemUndo();
  return 0;
}

Result<int64_t> SysSetns(Task& t, const SyscallArgs& a) {
  RefPtr<vfs::FileDescription> file = TRY(t.GetFile(a.Int(0)));
  const auto* ns = vfs::FileCast<kernel::NamespaceFile>(*file);
  if (ns == nullptr) return Errno::kEINVAL;
  constexpr uint64_t kFlags[] = {CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWCGROUP};  // by NamespaceKind
  const auto wanted = static_cast<uint64_t>(a.Int(1));
  if (wanted != 0 && wanted != kFlags[static_cast<int>(ns->kind())]) return Errno::kEINVAL;
  TRY(t.EnterNamespace(*ns));
  return 0;
}

Result<int64_t> SysPidfdOpen(Task& t, const SyscallArgs& a) {
  constexpr uint32_t kNonblock = O_NONBLOCK;
  if (a.Uint(1) & ~kNonblock) return Errno::kEINVAL;
  if (a.Int(0) <= 0) return Errno::kEINVAL;
  RefPtr<kernel::ThreadGroup> group = t.kernel().FindThreadGroup(a.Int(0));
  // A thread that is no leader has no pidfd of its own.
  if (!group) return t.kernel().FindTask(a.Int(0)) ? Errno::kENOENT : Errno::kESRCH;
  return TRY(t.InstallFile(kernel::MakePidFd(t, std::move(group), a.Int(1)), true));
}

Result<int64_t> SysPidfdSendSignal(Task& t, const SyscallArgs& a) {
  if (a.Uint(3) != 0) return Errno::kEINVAL;
  const int signo = a.Int(1);
  Result<RefPtr<kernel::ThreadGroup>> named = kernel::GroupOfPidFd(t, a.Int(0));
  if (!named.ok()) named = kernel::GroupOfProcDirectory(t, a.Int(0));
  RefPtr<kernel::ThreadGroup> group = TRY(named);
  if (signo != 0 && !kernel::ValidSignal(signo)) return Errno::kEINVAL;
  RefPtr<Task> leader = t.kernel().FindTask(group->tgid());
  if (!leader || &leader->group() != group.get()) return Errno::kESRCH;
  kernel::SigInfo info = kernel::UserSignal(signo, SI_USER, t.tgid(), t.creds()->uid);
  if (a[2] != 0) {
    info = TRY(t.memory().CopyIn(GuestPtr<kernel::SigInfo>(a[2])));
    if (info.signo != signo) return Errno::kEINVAL;
    if ((info.code >= 0 || info.code == SI_TKILL) && group.get() != &t.group()) {
      return Errno::kEPERM;
    }
  }
  if (!leader->MaySignal(*t.creds(), nullptr, signo)) return Errno::kEPERM;
  if (signo != 0) TRY(Task::SendGroupSignal(*group, info));
  return 0;
}

}  // namespace msentry::syscalls
