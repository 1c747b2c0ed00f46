// ptrace(2): stops, registers, memory, events, as a debugger uses them.
#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "check.h"

static int wait_status(pid_t pid) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, __WALL), pid);
  return status;
}
static void expect_stop(pid_t pid, int signal) {
  int status = wait_status(pid);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(status >> 8, signal);
}
static void expect_exit(pid_t pid, int code) {
  int status = wait_status(pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), code);
}
static long cont(int request, pid_t pid, int signal) {
  return ptrace(request, pid, 0, (long)signal);
}

// A child that has asked to be traced and stopped itself.
static pid_t traced_child(void (*body)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(99);
    raise(SIGSTOP);
    body();
    _exit(0);
  }
  expect_stop(pid, SIGSTOP);
  return pid;
}

static volatile long word = 0x1122334455667788;
static void exit_with_word(void) { _exit((int)(word & 0x7f)); }

static void memory_is_read_and_written(void) {
  pid_t pid = traced_child(exit_with_word);
  errno = 0;
  CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, &word, 0), 0x1122334455667788);
  CHECK_EQ(errno, 0);
  CHECK_EQ(ptrace(PTRACE_POKEDATA, pid, &word, 42L), 0);
  CHECK_EQ(word, 0x1122334455667788);
  CHECK(ptrace(PTRACE_PEEKDATA, pid, (void*)8, 0) == -1 && errno == EIO);
  CHECK(ptrace(PTRACE_POKEDATA, pid, (void*)8, 0) == -1 && errno == EIO);
  CHECK(cont(PTRACE_CONT, pid, 1000) == -1 && errno == EIO);
  char line[200], tracer[50];
  snprintf(tracer, sizeof tracer, "TracerPid:\t%d\n", getpid());
  int found = 0, stopped = 0;
  snprintf(line, sizeof line, "/proc/%d/status", pid);
  FILE* f = fopen(line, "r");
  while (fgets(line, sizeof line, f)) {
    if (!strcmp(line, tracer)) found = 1;
    if (!strcmp(line, "State:\tt (tracing stop)\n")) stopped = 1;
  }
  fclose(f);
  CHECK(found && stopped);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 42);
  CHECK(ptrace(PTRACE_PEEKDATA, pid, &word, 0) == -1 && errno == ESRCH);
}

static void two_calls(void) {
  syscall(SYS_getppid);
  _exit((int)syscall(SYS_getuid, 1, 2, 3) == 77 ? 7 : 1);
}

static void calls_are_seen_and_changed(void) {
  pid_t pid = traced_child(two_calls);
  CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD), 0);
  struct user_regs_struct r;
  long seen[20];
  int n = 0;
  for (;;) {
    CHECK_EQ(cont(PTRACE_SYSCALL, pid, 0), 0);
    int status = wait_status(pid);
    if (!WIFSTOPPED(status)) {
      CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
      break;
    }
    CHECK_EQ(status >> 8, SIGTRAP | 0x80);
    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &r), 0);
    CHECK_EQ((long)r.rax, -ENOSYS);
    if (n < 20) seen[n++] = (long)r.orig_rax;
    int is_getuid = r.orig_rax == SYS_getuid;
    if (is_getuid) CHECK(r.rdi == 1 && r.rsi == 2 && r.rdx == 3);
    if (r.orig_rax == SYS_exit_group) {
      CHECK_EQ(r.rdi, 7);
      CHECK_EQ(cont(PTRACE_SYSCALL, pid, 0), 0);
      expect_exit(pid, 7);
      break;
    }
    CHECK_EQ(cont(PTRACE_SYSCALL, pid, 0), 0);
    expect_stop(pid, SIGTRAP | 0x80);
    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &r), 0);
    if (r.orig_rax == SYS_getppid) CHECK_EQ(r.rax, getpid());
    if (is_getuid) {
      r.rax = 77;
      CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &r), 0);
    }
  }
  int ppid = 0, uid = 0;
  for (int i = 0; i < n; i++) {
    ppid |= seen[i] == SYS_getppid;
    uid |= seen[i] == SYS_getuid;
  }
  CHECK(ppid && uid);
}

static void calls_can_be_skipped(void) {
  pid_t pid = traced_child(two_calls);
  struct user_regs_struct r;
  for (;;) {
    CHECK_EQ(cont(PTRACE_SYSCALL, pid, 0), 0);
    expect_stop(pid, SIGTRAP);
    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &r), 0);
    if (r.orig_rax == SYS_getuid) {
      CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.orig_rax), -1L), 0);
      CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rax), 77L), 0);
    }
    if (r.orig_rax == SYS_getuid) break;
    CHECK_EQ(cont(PTRACE_SYSCALL, pid, 0), 0);
    expect_stop(pid, SIGTRAP);
  }
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 7);
}

static volatile int handled;
static void on_signal(int s) { handled = s; }
static void raise_usr1(void) {
  signal(SIGUSR1, on_signal);
  signal(SIGUSR2, on_signal);
  raise(SIGUSR1);
  _exit(handled == SIGUSR2 ? 2 : handled == SIGUSR1 ? 1 : 0);
}

static void signals_are_shown_first(void) {
  int deliver[3] = {0, SIGUSR1, SIGUSR2}, code[3] = {0, 1, 2};
  for (int i = 0; i < 3; i++) {
    pid_t pid = traced_child(raise_usr1);
    CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
    expect_stop(pid, SIGUSR1);
    siginfo_t info;
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK(info.si_signo == SIGUSR1 && info.si_code == SI_TKILL && info.si_pid == pid);
    CHECK_EQ(cont(PTRACE_CONT, pid, deliver[i]), 0);
    expect_exit(pid, code[i]);
  }
}

static void count_down(void) {
  asm volatile("movl $5, %%ecx\n1: decl %%ecx\n jnz 1b\n .globl step_end\nstep_end: nop\n" ::
                   : "ecx");
  _exit(3);
}
extern char step_end[];

static void steps_are_single(void) {
  pid_t pid = traced_child(count_down);
  struct user_regs_struct r;
  int steps = 0, in_loop = 0;
  unsigned long last = 0;
  do {
    CHECK_EQ(cont(PTRACE_SINGLESTEP, pid, 0), 0);
    expect_stop(pid, SIGTRAP);
    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &r), 0);
    CHECK_EQ(r.eflags & 0x100, 0);
    long distance = (long)step_end - (long)r.rip;
    if (distance > 0 && distance <= 9 && r.rip != last) in_loop++;
    last = r.rip;
  } while (r.rip != (unsigned long)step_end && ++steps < 20000 && !check_failures);
  CHECK(r.rip == (unsigned long)step_end);
  CHECK(in_loop >= 10);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 3);
}

static __attribute__((noinline)) void target(void) { asm volatile("nop; nop; nop; nop"); }
static void call_target(void) {
  for (int i = 0; i < 3; i++) target();
  _exit(4);
}

static void breakpoints_trap(void) {
  pid_t pid = traced_child(call_target);
  long old = ptrace(PTRACE_PEEKTEXT, pid, (void*)target, 0);
  CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, (void*)target, (old & ~0xffL) | 0xcc), 0);
  struct user_regs_struct r;
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
    expect_stop(pid, SIGTRAP);
    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &r), 0);
    CHECK_EQ(r.rip, (unsigned long)target + 1);
    r.rip--;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &r), 0);
    CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, (void*)target, old), 0);
    CHECK_EQ(cont(PTRACE_SINGLESTEP, pid, 0), 0);
    expect_stop(pid, SIGTRAP);
    CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, (void*)target, (old & ~0xffL) | 0xcc), 0);
  }
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 4);
}

static void set_xmm(void) {
  double x = 0;
  asm volatile("int3\n movsd %%xmm3, %0" : "=m"(x)::"xmm3");
  _exit(x == 2.5 ? 5 : 1);
}

static void register_sets_are_moved(void) {
  pid_t pid = traced_child(set_xmm);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_stop(pid, SIGTRAP);
  struct user_regs_struct a, b;
  struct iovec v = {&a, sizeof a};
  CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v), 0);
  CHECK_EQ(v.iov_len, sizeof a);
  CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &b), 0);
  CHECK(memcmp(&a, &b, sizeof a) == 0);
  struct user_fpregs_struct fp;
  CHECK_EQ(ptrace(PTRACE_GETFPREGS, pid, 0, &fp), 0);
  double x = 2.5;
  memcpy(&fp.xmm_space[3 * 4], &x, 8);
  CHECK_EQ(ptrace(PTRACE_SETFPREGS, pid, 0, &fp), 0);
  static char state[8192];
  struct iovec s = {state, sizeof state};
  CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &s), 0);
  CHECK(s.iov_len >= 576 && memcmp(state + 160 + 3 * 16, &x, 8) == 0);
  CHECK_EQ(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &s), 0);
  CHECK(ptrace(PTRACE_GETREGSET, pid, 0x7777, &v) == -1 && errno == EINVAL);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 5);
}

static void fork_and_exec(void) {
  pid_t pid = fork();
  if (pid == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  int status;
  waitpid(pid, &status, 0);
  _exit(status == 0 ? 6 : 1);
}

static void events_are_told(void) {
  pid_t pid = traced_child(fork_and_exec);
  CHECK_EQ(
      ptrace(PTRACE_SETOPTIONS, pid, 0,
             PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT),
      0);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_stop(pid, SIGTRAP | PTRACE_EVENT_FORK << 8);
  unsigned long child = 0, message = 0;
  CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &child), 0);
  expect_stop((pid_t)child, SIGSTOP);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  CHECK_EQ(cont(PTRACE_CONT, (pid_t)child, 0), 0);
  expect_stop((pid_t)child, SIGTRAP | PTRACE_EVENT_EXEC << 8);
  CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, (pid_t)child, 0, &message), 0);
  CHECK_EQ(message, child);
  CHECK_EQ(cont(PTRACE_CONT, (pid_t)child, 0), 0);
  expect_stop((pid_t)child, SIGTRAP | PTRACE_EVENT_EXIT << 8);
  CHECK_EQ(cont(PTRACE_CONT, (pid_t)child, 0), 0);
  expect_exit((pid_t)child, 0);
  // The parent sees its child's end only now.
  expect_stop(pid, SIGCHLD);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_stop(pid, SIGTRAP | PTRACE_EVENT_EXIT << 8);
  CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
  CHECK_EQ(message, 6 << 8);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_exit(pid, 6);
}

static void attach_and_detach(void) {
  int p[2];
  CHECK_EQ(pipe(p), 0);
  pid_t pid = fork();
  if (pid == 0) {
    char c;
    close(p[1]);
    _exit(read(p[0], &c, 1) == 1 ? 8 : 1);
  }
  CHECK(ptrace(PTRACE_PEEKDATA, pid, &word, 0) == -1 && errno == ESRCH);
  CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
  expect_stop(pid, SIGSTOP);
  CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == -1 && errno == EPERM);
  CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
  // Seized: no stop by itself; interrupted, stopped with its group, continued.
  CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
  CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
  CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
  expect_stop(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  kill(pid, SIGSTOP);
  expect_stop(pid, SIGSTOP);
  CHECK_EQ(cont(PTRACE_CONT, pid, SIGSTOP), 0);
  expect_stop(pid, SIGSTOP | PTRACE_EVENT_STOP << 8);
  CHECK_EQ(ptrace(PTRACE_LISTEN, pid, 0, 0), 0);
  CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
  kill(pid, SIGCONT);
  expect_stop(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  expect_stop(pid, SIGCONT);
  CHECK_EQ(cont(PTRACE_CONT, pid, 0), 0);
  CHECK_EQ(write(p[1], "x", 1), 1);
  expect_exit(pid, 8);
  close(p[0]);
  close(p[1]);
}

static void tracer_ends(void) {
  int p[2];
  CHECK_EQ(pipe(p), 0);
  pid_t pid = fork();
  if (pid == 0) {
    char c;
    close(p[1]);
    _exit(read(p[0], &c, 1) == 1 ? 9 : 1);
  }
  pid_t tracer = fork();
  if (tracer == 0) {
    int status;
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) != 0) _exit(1);
    waitpid(pid, &status, __WALL);
    _exit(0);
  }
  expect_exit(tracer, 0);
  CHECK_EQ(write(p[1], "x", 1), 1);
  expect_exit(pid, 9);  // it goes on without
  pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  tracer = fork();
  if (tracer == 0) _exit(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL) != 0);
  expect_exit(tracer, 0);
  CHECK_EQ(wait_status(pid), SIGKILL);
  close(p[0]);
  close(p[1]);
}

static void killing_ends_a_stop(void) {
  pid_t pid = traced_child(exit_with_word);
  kill(pid, SIGKILL);
  CHECK_EQ(wait_status(pid), SIGKILL);
}

static void refusals(void) {
  CHECK(ptrace(PTRACE_ATTACH, getpid(), 0, 0) == -1 && errno == EPERM);
  CHECK(ptrace(PTRACE_ATTACH, 999999, 0, 0) == -1 && errno == ESRCH);
  CHECK(ptrace(PTRACE_CONT, getpid(), 0, 0) == -1 && errno == ESRCH);
  pid_t pid = traced_child(exit_with_word);
  CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x40000000L) == -1 && errno == EINVAL);
  CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1 && errno == EIO);
  CHECK(ptrace(PTRACE_LISTEN, pid, 0, 0) == -1 && errno == EIO);
  CHECK_EQ(ptrace(PTRACE_KILL, pid, 0, 0), 0);
  CHECK_EQ(wait_status(pid), SIGKILL);
}

int main(void) {
  RUN(memory_is_read_and_written);
  RUN(calls_are_seen_and_changed);
  RUN(calls_can_be_skipped);
  RUN(signals_are_shown_first);
  RUN(steps_are_single);
  RUN(breakpoints_trap);
  RUN(register_sets_are_moved);
  RUN(events_are_told);
  RUN(attach_and_detach);
  RUN(tracer_ends);
  RUN(killing_ends_a_stop);
  RUN(refusals);
  return check_result();
}
