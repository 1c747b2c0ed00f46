// Threads, processes, programs, signals.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void* do_nothing(void* arg) { return arg; }

static void op_thread_create(long n) {
  for (; n > 0; n--) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, do_nothing, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
  }
}

static void reap(pid_t child) {
  int status = 0;
  must(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child");
}

static void op_fork(long n) {
  for (; n > 0; n--) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    reap(child);
  }
}

static void become_exit(void) {
  execl(self_path, self_path, "--exit", (char*)NULL);
  _exit(127);
}

static void op_fork_exec(long n) {
  for (; n > 0; n--) {
    pid_t child = fork();
    if (child == 0) become_exit();
    reap(child);
  }
}

static pid_t vfork_exit(void) {
  pid_t child = vfork();
  if (child == 0) become_exit();
  return child;
}

static void op_vfork_exec(long n) {
  for (; n > 0; n--) reap(vfork_exit());
}

static void op_system_sh(long n) {
  for (; n > 0; n--) must(system("exit 0") == 0, "system");
}

static volatile sig_atomic_t handled;
static void count_signal(int signo) {
  (void)signo;
  handled = handled + 1;
}

static void op_signal_raise(long n) {
  signal(SIGUSR1, count_signal);
  for (; n > 0; n--) raise(SIGUSR1);
  signal(SIGUSR1, SIG_DFL);
}

static void unprotect(int signo, siginfo_t* info, void* context) {
  (void)signo;
  (void)context;
  mprotect((void*)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}

static void op_segv_mprotect(long n) {
  struct sigaction action = {.sa_sigaction = unprotect, .sa_flags = SA_SIGINFO}, before;
  sigaction(SIGSEGV, &action, &before);
  char* page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(page != MAP_FAILED, "mmap");
  for (; n > 0; n--) {
    *(volatile char*)page = 1;
    mprotect(page, 4096, PROT_NONE);
  }
  munmap(page, 4096);
  sigaction(SIGSEGV, &before, NULL);
}

const struct operation process_operations[] = {
    {"thread_create", op_thread_create, 0}, {"fork", op_fork, 0},
    {"fork_exec", op_fork_exec, 0},         {"vfork_exec", op_vfork_exec, 0},
    {"system_sh", op_system_sh, 0},         {"signal_raise", op_signal_raise, 0},
    {"segv_mprotect", op_segv_mprotect, 0}, {NULL, NULL, 0},
};
