// Signal semantics: delivery, masks, frames, restart, alternate stacks, queues.
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

static volatile sig_atomic_t count, last_signo, last_code, last_value, on_alt;
static volatile pid_t last_pid;
static volatile void* last_address;

static void note(int signo, siginfo_t* info, void* context) {
  (void)context;
  count++;
  last_signo = signo;
  last_code = info->si_code;
  last_pid = info->si_pid;
  last_value = info->si_value.sival_int;
  last_address = info->si_addr;
}

static void handle(int signo, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction sa = {0};
  sa.sa_sigaction = handler;
  sa.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&sa.sa_mask);
  CHECK(sigaction(signo, &sa, NULL) == 0);
}

static void kill_reaches_handler(void) {
  handle(SIGUSR1, note, 0);
  count = 0;
  CHECK(kill(getpid(), SIGUSR1) == 0);
  CHECK_EQ(count, 1);
  CHECK_EQ(last_code, SI_USER);
  CHECK_EQ(last_pid, getpid());
  CHECK(raise(SIGUSR1) == 0);
  CHECK_EQ(count, 2);
  CHECK_EQ(last_code, SI_TKILL);
}

static void blocked_signal_waits(void) {
  sigset_t set, old, pending;
  handle(SIGUSR2, note, 0);
  count = 0;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
  kill(getpid(), SIGUSR2);
  kill(getpid(), SIGUSR2);
  CHECK_EQ(count, 0);
  CHECK(sigpending(&pending) == 0);
  CHECK(sigismember(&pending, SIGUSR2) == 1);
  CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
  CHECK_EQ(count, 1);  // standard signals do not queue
}

static void realtime_signals_queue_in_order(void) {
  sigset_t set, old;
  union sigval v;
  siginfo_t info;
  struct timespec zero = {0, 0};
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, &old);
  for (int i = 0; i < 3; i++) {
    v.sival_int = i;
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
  }
  v.sival_int = 7;
  CHECK(sigqueue(getpid(), SIGRTMIN, v) == 0);
  CHECK_EQ(sigtimedwait(&set, &info, &zero), SIGRTMIN);
  CHECK_EQ(info.si_value.sival_int, 7);
  CHECK_EQ(info.si_code, SI_QUEUE);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(sigtimedwait(&set, &info, &zero), SIGRTMIN + 1);
    CHECK_EQ(info.si_value.sival_int, i);
  }
  CHECK_EQ(sigtimedwait(&set, &info, &zero), -1);
  CHECK_EQ(errno, EAGAIN);
  sigprocmask(SIG_SETMASK, &old, NULL);
}

static void mask_of_action_holds_during_handler(void);
static volatile sig_atomic_t nested_before_end, in_handler;
static void outer(int s, siginfo_t* i, void* c) {
  (void)s, (void)i, (void)c;
  in_handler = 1;
  kill(getpid(), SIGUSR2);
  kill(getpid(), SIGUSR1);
  in_handler = 0;
}
static void inner(int s, siginfo_t* i, void* c) {
  (void)i, (void)c;
  if (s == SIGUSR2 && in_handler) nested_before_end = 1;
  count++;
}
static void mask_of_action_holds_during_handler(void) {
  struct sigaction sa = {0};
  sa.sa_sigaction = outer;
  sa.sa_flags = SA_SIGINFO | SA_RESETHAND;
  sigemptyset(&sa.sa_mask);
  sigaddset(&sa.sa_mask, SIGUSR2);
  handle(SIGUSR2, inner, 0);
  sigaction(SIGHUP, &sa, NULL);
  handle(SIGUSR1, inner, 0);
  count = 0;
  nested_before_end = 0;
  kill(getpid(), SIGHUP);
  CHECK_EQ(count, 2);
  CHECK_EQ(nested_before_end, 0);
  struct sigaction now;
  sigaction(SIGHUP, NULL, &now);
  CHECK(now.sa_handler == SIG_DFL);
}

static sigjmp_buf jump;
static void leave(int signo, siginfo_t* info, void* context) {
  note(signo, info, context);
  siglongjmp(jump, 1);
}

static void fault_has_address_and_code(void) {
  handle(SIGSEGV, leave, SA_NODEFER);
  char* p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (sigsetjmp(jump, 1) == 0) {
    *(volatile char*)(p + 5) = 1;
    CHECK(0);
  }
  CHECK_EQ(last_code, SEGV_ACCERR);
  CHECK(last_address == p + 5);
  munmap(p, 8192);
  if (sigsetjmp(jump, 1) == 0) {
    *(volatile char*)(p + 4096) = 1;
    CHECK(0);
  }
  CHECK_EQ(last_code, SEGV_MAPERR);
  CHECK(last_address == p + 4096);
  handle(SIGFPE, leave, 0);
  if (sigsetjmp(jump, 1) == 0) {
    volatile int zero = 0, many = 100;
    volatile int x = many / zero;
    (void)x;
    CHECK(0);
  }
  CHECK_EQ(last_code, FPE_INTDIV);
  handle(SIGILL, leave, 0);
  if (sigsetjmp(jump, 1) == 0) {
    __asm__ volatile("ud2");
    CHECK(0);
  }
  CHECK_EQ(last_signo, SIGILL);
  handle(SIGTRAP, note, 0);
  count = 0;
  __asm__ volatile("int3");
  CHECK_EQ(count, 1);
  CHECK_EQ(last_signo, SIGTRAP);
  signal(SIGSEGV, SIG_DFL);
}

static void skip_fault(int signo, siginfo_t* info, void* context) {
  note(signo, info, context);
  ucontext_t* uc = context;
  uc->uc_mcontext.gregs[REG_RIP] += 2;  // over the ud2
  uc->uc_mcontext.gregs[REG_RAX] = 42;
}
static void handler_may_change_registers(void) {
  handle(SIGILL, skip_fault, 0);
  long out;
  __asm__ volatile("mov $7, %%eax; ud2" : "=a"(out));
  CHECK_EQ(out, 42);
}

static char alt[65536];
static void look_at_stack(int signo, siginfo_t* info, void* context) {
  char here;
  note(signo, info, context);
  on_alt = &here >= alt && &here < alt + sizeof(alt);
  stack_t now;
  sigaltstack(NULL, &now);
  if (on_alt) CHECK(now.ss_flags & SS_ONSTACK);
}
static void alternate_stack_is_used(void) {
  stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)}, old;
  CHECK(sigaltstack(&ss, &old) == 0);
  handle(SIGUSR1, look_at_stack, SA_ONSTACK);
  raise(SIGUSR1);
  CHECK(on_alt);
  handle(SIGUSR1, look_at_stack, 0);
  raise(SIGUSR1);
  CHECK(!on_alt);
  ss.ss_flags = SS_DISABLE;
  CHECK(sigaltstack(&ss, &old) == 0);
  CHECK(old.ss_sp == alt);
}

static void registers_of_sse_survive(void) {
  handle(SIGUSR1, note, 0);
  double a[8], b[8];
  for (int i = 0; i < 8; i++) a[i] = i * 1.25 + 0.1;
  __asm__ volatile(
      "movupd (%0), %%xmm4; movupd 16(%0), %%xmm5; movupd 32(%0), %%xmm10; movupd 48(%0), %%xmm15;"
      "mov $39, %%eax; syscall; mov %%eax, %%edi; mov %3, %%esi; mov $62, %%eax; syscall;"
      "movupd %%xmm4, (%1); movupd %%xmm5, 16(%1); movupd %%xmm10, 32(%1); movupd %%xmm15, 48(%1);"
      :
      : "b"(a), "r"(b), "m"(b), "i"(SIGUSR1)
      : "rax", "rcx", "rdi", "rsi", "r11", "xmm4", "xmm5", "xmm10", "xmm15", "memory");
  CHECK(memcmp(a, b, sizeof(a)) == 0);
}

static void red_zone_survives(void) {
  handle(SIGUSR1, note, 0);
  long ok;
  pid_t pid = getpid();
  __asm__ volatile(
      "movq $0x1234, -8(%%rsp); movq $0x5678, -120(%%rsp);"
      "mov %1, %%edi; mov %2, %%esi; mov $62, %%eax; syscall;"
      "xor %0, %0; cmpq $0x1234, -8(%%rsp); jne 1f; cmpq $0x5678, -120(%%rsp); jne 1f; mov $1, %0; "
      "1:"
      : "=&b"(ok)
      : "r"(pid), "i"(SIGUSR1)
      : "rax", "rcx", "rdi", "rsi", "r11", "memory");
  CHECK_EQ(ok, 1);
}

// A child that signals its parent once the parent sleeps in `wchan` is not needed: the parent
// blocks the signal, and unblocks it by the call itself.
static void pipe_read_restarts_or_not(void) {
  for (int restart = 0; restart < 2; restart++) {
    int fds[2], ready[2];
    CHECK(pipe(fds) == 0 && pipe(ready) == 0);
    handle(SIGUSR1, note, restart ? SA_RESTART : 0);
    count = 0;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
      // Signals until the parent has noticed, then feeds it.
      char c;
      close(ready[1]);
      for (int i = 0; i < 200; i++) {
        kill(parent, SIGUSR1);
        usleep(2000);
        if (i == 30 && restart) CHECK(write(fds[1], "x", 1) == 1);
        struct timespec t = {0, 0};
        (void)t;
        if (restart && i == 31) break;
        fd_set set;
        FD_ZERO(&set);
        FD_SET(ready[0], &set);
        struct timeval now = {0, 0};
        if (select(ready[0] + 1, &set, NULL, NULL, &now) == 1) break;
      }
      (void)c;
      _exit(0);
    }
    close(ready[0]);
    char c = 0;
    ssize_t n = read(fds[0], &c, 1);
    int error = errno;
    if (restart) {
      CHECK_EQ(n, 1);
      CHECK_EQ(c, 'x');
    } else {
      CHECK_EQ(n, -1);
      CHECK_EQ(error, EINTR);
    }
    CHECK(count > 0);
    close(ready[1]);
    // The child's signals interrupt waitpid as well.
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    CHECK(WIFEXITED(status));
    close(fds[0]);
    close(fds[1]);
  }
}

static void sigsuspend_swaps_mask_for_one_signal(void) {
  sigset_t block, old, wait_mask, now;
  handle(SIGUSR1, note, 0);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  sigprocmask(SIG_BLOCK, &block, &old);
  count = 0;
  kill(getpid(), SIGUSR1);
  CHECK_EQ(count, 0);
  sigfillset(&wait_mask);
  sigdelset(&wait_mask, SIGUSR1);
  CHECK_EQ(sigsuspend(&wait_mask), -1);
  CHECK_EQ(errno, EINTR);
  CHECK_EQ(count, 1);
  sigprocmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR1) == 1);
  sigprocmask(SIG_SETMASK, &old, NULL);
}

static void nanosleep_tells_what_is_left(void) {
  handle(SIGALRM, note, 0);
  struct itimerspec its = {.it_value = {0, 20000000}};
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
  count = 0;
  CHECK(timer_settime(timer, 0, &its, NULL) == 0);
  struct timespec sleep = {100, 0}, left = {0, 0};
  CHECK_EQ(nanosleep(&sleep, &left), -1);
  CHECK_EQ(errno, EINTR);
  CHECK_EQ(count, 1);
  CHECK_EQ(last_code, SI_TIMER);
  CHECK(left.tv_sec >= 90 && left.tv_sec < 100);
  CHECK(timer_delete(timer) == 0);
}

static pid_t die_with(int signo, int core_action) {
  pid_t pid = fork();
  if (pid == 0) {
    (void)core_action;
    signal(signo, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    raise(signo);
    _exit(99);
  }
  return pid;
}

static void default_actions_kill(void) {
  static const int kills[] = {SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1};
  for (unsigned i = 0; i < sizeof(kills) / sizeof(kills[0]); i++) {
    int status = 0;
    pid_t pid = die_with(kills[i], 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), kills[i]);
  }
  static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
  for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
    int status = 0;
    pid_t pid = die_with(ignored[i], 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 99);
  }
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGSEGV, SIG_IGN);
    *(volatile int*)8 = 1;
    _exit(1);
  }
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void kill_and_stop_cannot_be_caught(void) {
  struct sigaction sa = {0};
  sa.sa_handler = SIG_IGN;
  CHECK_EQ(sigaction(SIGKILL, &sa, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(sigaction(SIGSTOP, &sa, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  sigset_t set, now;
  sigfillset(&set);
  sigset_t old;
  sigprocmask(SIG_SETMASK, &set, &old);
  sigprocmask(SIG_SETMASK, NULL, &now);
  CHECK(!sigismember(&now, SIGKILL));
  CHECK(!sigismember(&now, SIGSTOP));
  sigprocmask(SIG_SETMASK, &old, NULL);
}

static void spinning_child_is_killed(void) {
  pid_t pid = fork();
  if (pid == 0) {
    for (;;) {
    }
  }
  int status;
  CHECK(kill(pid, SIGKILL) == 0);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void handler_interrupts_a_loop(void) {
  handle(SIGALRM, note, 0);
  count = 0;
  alarm(1);
  while (count == 0) {
  }
  CHECK_EQ(last_signo, SIGALRM);
}

static void errors_are_linuxs(void) {
  CHECK_EQ(kill(getpid(), 65), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(kill(32000, 0), -1);
  CHECK_EQ(errno, ESRCH);
  CHECK_EQ(kill(getpid(), 0), 0);
  CHECK_EQ(syscall(SYS_tgkill, getpid(), getpid() + 20000, 0), -1);
  CHECK_EQ(errno, ESRCH);
  CHECK_EQ(syscall(SYS_rt_sigprocmask, 77, &(long){0}, NULL, 8), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4), -1);
  CHECK_EQ(errno, EINVAL);
}

int main(void) {
  RUN(kill_reaches_handler);
  RUN(blocked_signal_waits);
  RUN(realtime_signals_queue_in_order);
  RUN(mask_of_action_holds_during_handler);
  RUN(fault_has_address_and_code);
  RUN(handler_may_change_registers);
  RUN(alternate_stack_is_used);
  RUN(registers_of_sse_survive);
  RUN(red_zone_survives);
  RUN(pipe_read_restarts_or_not);
  RUN(sigsuspend_swaps_mask_for_one_signal);
  RUN(nanosleep_tells_what_is_left);
  RUN(default_actions_kill);
  RUN(kill_and_stop_cannot_be_caught);
  RUN(spinning_child_is_killed);
  RUN(handler_interrupts_a_loop);
  RUN(errors_are_linuxs);
  return check_result();
}
