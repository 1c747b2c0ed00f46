// The gofer's allowlist. What is not here: execve, sockets, ptrace, mount, namespaces, kill,
// mprotect to executable memory. `open` without a directory fd stays for /proc/self/fd/N, the
// working directory after confinement; what else it could name is an empty root or barred by
// Landlock.
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "gofer/server/confine.h"

namespace msentry::gofer {
namespace {

constexpr int kPlainCalls[] = {
    // files
    SCMP_SYS(openat2),
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(close),
    SCMP_SYS(statx),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(lseek),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(getdents64),
    SCMP_SYS(readlinkat),
    SCMP_SYS(mkdirat),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknodat),
    SCMP_SYS(linkat),
    SCMP_SYS(unlinkat),
    SCMP_SYS(renameat2),
    SCMP_SYS(fchownat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(utimensat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(fsync),
    SCMP_SYS(syncfs),
    SCMP_SYS(fdatasync),
    SCMP_SYS(getxattr),
    SCMP_SYS(setxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(listxattr),
    // the connections
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(eventfd2),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    // memory, threads, time, ends
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getpid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getegid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrandom),
    SCMP_SYS(tgkill),
};

int AddRules(scmp_filter_ctx filter) {
  for (int call : kPlainCalls) {
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    if (error < 0) return error;
  }
  struct {
    int call;
    struct scmp_arg_cmp arg;
  } const kConditional[] = {
      {SCMP_SYS(mmap), SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
      {SCMP_SYS(mprotect), SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
      // Threads, not processes.
      {SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
      {SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, PR_SET_NAME)},
      {SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, F_DUPFD_CLOEXEC)},
      {SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, F_OFD_SETLK)},
      {SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, F_OFD_GETLK)},
      {SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, F_GETFL)},
  };
  for (const auto& rule : kConditional) {
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, rule.call, 1, rule.arg);
    if (error < 0) return error;
  }
  // Its flags are behind a pointer: libc falls back to clone.
  return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

}  // namespace

Result<> InstallSeccompFilter() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return Errno::kENOMEM;
  // Frequent calls are decided by a binary tree instead of a long list.
  (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  int error = AddRules(filter);
  if (error == 0) error = seccomp_load(filter);
  seccomp_release(filter);
  if (error < 0) return FromHost(-error);
  return Ok();
}

}  // namespace msentry::gofer
