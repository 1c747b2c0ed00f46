// The stack grows when it is touched, by the program or by a system call, up to RLIMIT_STACK.
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

__attribute__((noinline)) static int Deep(int depth) {
  volatile char frame[4096];
  frame[0] = depth;
  frame[sizeof(frame) - 1] = depth;
  return depth == 0 ? 0 : Deep(depth - 1) + (frame[0] == (char)depth);
}

__attribute__((noinline)) static int ReadFar(void) {
  char buffer[2 << 20];
  int fds[2];
  if (pipe(fds) != 0 || write(fds[1], "far", 3) != 3) return 1;
  // The lowest byte of the buffer lies far below what the stack has reached.
  if (read(fds[0], buffer, 3) != 3) return 2;
  return memcmp(buffer, "far", 3) != 0;
}

static int InChild(int (*f)(void)) {
  pid_t child = fork();
  if (child == 0) _exit(f());
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

static int DeepEnough(void) { return Deep(1500) != 1500; }
static int TooDeep(void) { return Deep(1 << 20); }

static void OnOverflow(int signo) {
  (void)signo;
  _exit(7);
}

static int OverflowOnAlternateStack(void) {
  stack_t alternate = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = OnOverflow, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
  return Deep(1 << 20);
}

static int RaisedLimit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  limit.rlim_cur = 32 << 20;
  if (setrlimit(RLIMIT_STACK, &limit) != 0) return 1;
  return Deep(6000) != 6000;
}

int main(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  limit.rlim_cur = 8 << 20;
  setrlimit(RLIMIT_STACK, &limit);
  CHECK(InChild(DeepEnough) == 0);
  CHECK(InChild(ReadFar) == 0);
  CHECK(WTERMSIG(InChild(TooDeep)) == SIGSEGV);
  CHECK(WEXITSTATUS(InChild(OverflowOnAlternateStack)) == 7);
  CHECK(InChild(RaisedLimit) == 0);
  if (failures == 0) puts("ok");
  return failures != 0;
}
