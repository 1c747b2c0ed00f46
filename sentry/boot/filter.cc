#include "sentry/boot/filter.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

namespace msentry::boot {
namespace {

struct Allowed {
  int number;
  const char* why;
};

constexpr Allowed kAlways[] = {
    // Memory of our own: heap, fiber stacks, windows into the stubs' slots.
    {SCMP_SYS(brk), "heap"},
    {SCMP_SYS(mmap), "heap, fiber stacks, slots"},
    {SCMP_SYS(munmap), "the same"},
    {SCMP_SYS(mremap), "realloc of large blocks"},
    {SCMP_SYS(mprotect), "guard pages of fiber stacks, arenas"},
    {SCMP_SYS(madvise), "giving memory of idle stacks back"},
    // Files that the gofer or the client gave us as descriptors. None of these takes a path.
    {SCMP_SYS(read), "host files, pipes, eventfds, timerfds"},
    {SCMP_SYS(write), "the same, and the log"},
    {SCMP_SYS(readv), "host files"},
    {SCMP_SYS(writev), "host files, the log"},
    {SCMP_SYS(pread64), "host files"},
    {SCMP_SYS(pwrite64), "host files"},
    {SCMP_SYS(preadv2), "reads that must not wait"},
    {SCMP_SYS(pwritev2), "writes that must not wait"},
    {SCMP_SYS(lseek), "SEEK_DATA, SEEK_HOLE, the position of standard input"},
    {SCMP_SYS(fstat), "sizes and times of donated files"},
    {SCMP_SYS(fstatfs), "free space"},
    {SCMP_SYS(ftruncate), "memfds of tmpfs, donated files"},
    {SCMP_SYS(fallocate), "memfds of tmpfs, donated files"},
    {SCMP_SYS(fsync), "fsync of the guest"},
    {SCMP_SYS(fdatasync), "fdatasync of the guest"},
    {SCMP_SYS(sync_file_range), "sync_file_range of the guest"},
    {SCMP_SYS(fadvise64), "posix_fadvise of the guest"},
    {SCMP_SYS(copy_file_range), "copies between donated files"},
    {SCMP_SYS(close), "descriptors of our own"},
    {SCMP_SYS(dup), "descriptors of our own"},
    {SCMP_SYS(memfd_create), "files of tmpfs, shared memory, slots"},
    {SCMP_SYS(eventfd2), "doorbells"},
    {SCMP_SYS(pipe2), "doorbells"},
    // The sockets that we have: gofer, client, stubs. No new one that leads anywhere can be made.
    {SCMP_SYS(sendmsg), "9P, descriptors to stubs"},
    {SCMP_SYS(recvmsg), "9P with donated descriptors"},
    {SCMP_SYS(sendto), "9P, events to the client"},
    {SCMP_SYS(recvfrom), "9P, requests of the client"},
    {SCMP_SYS(shutdown), "ending 9P"},
    // Waiting.
    {SCMP_SYS(poll), "readiness of host descriptors"},
    {SCMP_SYS(ppoll), "the same"},
    {SCMP_SYS(epoll_create1), "the scheduler"},
    {SCMP_SYS(epoll_ctl), "the scheduler"},
    {SCMP_SYS(epoll_wait), "the scheduler"},
    {SCMP_SYS(epoll_pwait), "the scheduler"},
    {SCMP_SYS(epoll_pwait2), "the scheduler"},
    {SCMP_SYS(timerfd_create), "the scheduler"},
    {SCMP_SYS(timerfd_settime), "the scheduler"},
    {SCMP_SYS(futex), "locks"},
    {SCMP_SYS(futex_waitv), "waiting for several slots"},
    {SCMP_SYS(nanosleep), "back-off"},
    {SCMP_SYS(clock_nanosleep), "back-off"},
    {SCMP_SYS(sched_yield), "back-off"},
    {SCMP_SYS(restart_syscall), "the kernel's own"},
    // Threads and signals of our own.
    {SCMP_SYS(set_robust_list), "start of a thread"},
    {SCMP_SYS(rseq), "start of a thread"},
    {SCMP_SYS(set_tid_address), "start of a thread"},
    {SCMP_SYS(sched_getaffinity), "glibc's arenas"},
    {SCMP_SYS(sched_setaffinity), "placing workers"},
    {SCMP_SYS(rt_sigaction), "handlers"},
    {SCMP_SYS(rt_sigprocmask), "handlers"},
    {SCMP_SYS(rt_sigreturn), "handlers"},
    {SCMP_SYS(rt_sigtimedwait), "waiting for stubs"},
    {SCMP_SYS(sigaltstack), "the crash report"},
    {SCMP_SYS(exit), "end"},
    {SCMP_SYS(exit_group), "end"},
    // Stubs: our own children, in our own pid namespace.
    {SCMP_SYS(kill), "ending a stub"},
    {SCMP_SYS(tkill), "kicking a stub's thread"},
    {SCMP_SYS(tgkill), "kicking a stub's thread, abort()"},
    {SCMP_SYS(rt_tgsigqueueinfo), "kicking a stub's thread"},
    {SCMP_SYS(wait4), "stubs that ended"},
    {SCMP_SYS(waitid), "stubs that ended"},
    {SCMP_SYS(pidfd_open), "noticing the end of a stub"},
    {SCMP_SYS(pidfd_send_signal), "ending a stub"},
    {SCMP_SYS(process_vm_readv), "guest memory outside the slots"},
    {SCMP_SYS(process_vm_writev), "guest memory outside the slots"},
    {SCMP_SYS(getrusage), "accounting"},
    // Facts about this process and the machine.
    {SCMP_SYS(clock_gettime), "time"},
    {SCMP_SYS(clock_getres), "time"},
    {SCMP_SYS(gettimeofday), "time"},
    {SCMP_SYS(getrandom), "/dev/urandom, AT_RANDOM"},
    {SCMP_SYS(sysinfo), "memory of the machine"},
    {SCMP_SYS(getpid), "names of our own"},
    {SCMP_SYS(gettid), "names of our own"},
    {SCMP_SYS(getppid), "names of our own"},
    {SCMP_SYS(getuid), "names of our own"},
    {SCMP_SYS(geteuid), "names of our own"},
    {SCMP_SYS(getgid), "names of our own"},
    {SCMP_SYS(getegid), "names of our own"},
    {SCMP_SYS(getcpu), "per-CPU caches"},
    {SCMP_SYS(membarrier), "asymmetric fences"},
};

class Rules {
 public:
  Rules() : context_(seccomp_init(SCMP_ACT_TRAP), &seccomp_release) {}

  void Allow(int number) { Add(SCMP_ACT_ALLOW, number, {}); }
  // Only with argument `index` equal to `value` under `mask`.
  void AllowIf(int number, unsigned index, uint64_t mask, uint64_t value) {
    scmp_arg_cmp compare = {index, SCMP_CMP_MASKED_EQ, mask, value};
    Add(SCMP_ACT_ALLOW, number, compare);
  }
  void AllowEqual(int number, unsigned index, uint64_t value) {
    scmp_arg_cmp compare = {index, SCMP_CMP_EQ, value, 0};
    Add(SCMP_ACT_ALLOW, number, compare);
  }
  // With argument `index` not equal to `value`.
  void RefuseUnless(int number, unsigned index, uint64_t value, int error) {
    scmp_arg_cmp compare = {index, SCMP_CMP_NE, value, 0};
    Add(SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), number, compare);
  }
  void Refuse(int number, int error) {
    Add(SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), number, {});
  }

  Result<> Load() {
    if (!context_) return Errno::kENOMEM;
    // Every thread that exists already (a platform's, for one) gets it too.
    if (result_ == 0) result_ = seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
    if (result_ == 0) result_ = seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result_ == 0) result_ = seccomp_load(context_.get());
    if (result_ != 0) return FromHost(-result_);
    return Ok();
  }

 private:
  void Add(uint32_t action, int number, std::optional<scmp_arg_cmp> compare) {
    if (!context_ || result_ != 0) return;
    result_ = compare ? seccomp_rule_add_array(context_.get(), action, number, 1, &*compare)
                      : seccomp_rule_add_array(context_.get(), action, number, 0, nullptr);
  }

  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int result_ = 0;
};

void AllowWithArguments(Rules& rules) {
  // fstat(3) in glibc; never a path: the string is empty or the call fails.
  rules.AllowEqual(SCMP_SYS(newfstatat), 3, AT_EMPTY_PATH);
  // Threads, not processes.
  constexpr uint64_t kThread =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  rules.AllowIf(SCMP_SYS(clone), 0, kThread, kThread);
  // Its flags are behind a pointer; glibc goes on with clone.
  rules.Refuse(SCMP_SYS(clone3), ENOSYS);
  // glibc asks for the number of CPUs when it makes an arena; there is nothing to open.
  rules.Refuse(SCMP_SYS(open), ENOENT);
  rules.Refuse(SCMP_SYS(readlink), ENOENT);
  rules.AllowEqual(SCMP_SYS(socketpair), 0, AF_UNIX);
  for (int command :
       {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS}) {
    rules.AllowEqual(SCMP_SYS(fcntl), 1, command);
  }
  for (int option : {PR_SET_NAME, PR_SET_TIMERSLACK, PR_SET_VMA})
    rules.AllowEqual(SCMP_SYS(prctl), 0, option);
  rules.AllowEqual(SCMP_SYS(ioctl), 1, FIONREAD);
  // Asking for limits, not setting them: the third argument is null.
  rules.AllowEqual(SCMP_SYS(prlimit64), 2, 0);
}

// Paths below the directory `fd` (mm/host_proc.h); anywhere else there is nothing to open. An
// absolute path ignores the directory: with a root of our own that is empty too; without one this
// is what a broken-into sentry can still reach.
void AllowOpenBelow(Rules& rules, int fd) {
  rules.AllowEqual(SCMP_SYS(openat), 0, static_cast<uint32_t>(fd));
  rules.RefuseUnless(SCMP_SYS(openat), 0, static_cast<uint32_t>(fd), ENOENT);
}

void AllowPlatform(Rules& rules, platform::Kind platform) {
  switch (platform) {
    case platform::Kind::kPtrace:
      rules.Allow(SCMP_SYS(ptrace));
      break;
    case platform::Kind::kSystrap:
      // Deciding about the stubs' notifications, and giving them descriptors.
      for (uint64_t command : {SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
                               SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_ADDFD}) {
        rules.AllowEqual(SCMP_SYS(ioctl), 1, command);
      }
      break;
  }
}

}  // namespace

Result<> InstallFilter(platform::Kind platform, int proc_fd) {
  Rules rules;
  for (const Allowed& call : kAlways) rules.Allow(call.number);
  AllowWithArguments(rules);
  AllowPlatform(rules, platform);
  AllowOpenBelow(rules, proc_fd);
  return rules.Load();
}

}  // namespace msentry::boot
