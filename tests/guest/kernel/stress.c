// Eight threads of one process do, at once and in random order, what is hard to get right together:
// fork, exec and wait, queued signals at each other, changes of the address space, futexes, calls
// from sites that are met for the first time, threads that come and go. Every answer is checked.
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

enum { kWorkers = 8, kRounds = 60, kSites = 12 };

struct worker {
  pthread_t thread;
  atomic_int sent, received;  // signals to this thread
  uint64_t random;
};
static struct worker workers[kWorkers];
static __thread struct worker* self;
static pid_t our_pid, our_parent;
static const char* program;
static atomic_int bad_signals;

static uint32_t draw(uint32_t below) {
  self->random = self->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(self->random >> 33) % below;
}

// ---- Signals ----

static void on_signal(int signo, siginfo_t* info, void* context) {
  (void)context;
  int saved = errno;
  // A forked child has the handler too, but nobody signals it.
  if (signo != SIGRTMIN || info->si_code != SI_QUEUE || info->si_pid != our_pid || !self ||
      info->si_value.sival_ptr != self) {
    atomic_fetch_add(&bad_signals, 1);
  } else {
    atomic_fetch_add(&self->received, 1);
  }
  errno = saved;
}

static void signal_somebody(void) {
  for (uint32_t n = draw(6) + 1; n > 0; n--) {
    struct worker* to = &workers[draw(kWorkers)];
    union sigval value = {.sival_ptr = to};
    atomic_fetch_add(&to->sent, 1);
    int error = pthread_sigqueue(to->thread, SIGRTMIN, value);
    if (error != 0) atomic_fetch_sub(&to->sent, 1);
    CHECK(error == 0 || error == EAGAIN);
  }
}

// ---- Calls from many sites, of the two forms that compilers make ----

#define SITE(n)                                                                            \
  __attribute__((noinline)) static long site_move_##n(void) {                              \
    long r;                                                                                \
    __asm__ volatile(".balign 16, 0x90\n.fill " #n ", 1, 0x90\nmov $110, %%eax\nsyscall\n" \
                     : "=a"(r)::"rcx", "r11", "memory");                                   \
    return r;                                                                              \
  }                                                                                        \
  __attribute__((noinline)) static long site_follow_##n(void) {                            \
    long r = 110;                                                                          \
    __asm__ volatile(".balign 16, 0x90\n.fill " #n                                         \
                     ", 1, 0x90\nsyscall\ncmp $-4095, %%rax\njae 1f\n1:\n"                 \
                     : "+a"(r)::"rcx", "r11", "memory", "cc");                             \
    return r;                                                                              \
  }
// clang-format off
SITE(0)
SITE(1)
SITE(2)
SITE(3)
SITE(4)
SITE(5)
SITE(6)
SITE(7)
SITE(8)
SITE(9)
SITE(10)
SITE(11)
// clang-format on
#define BOTH(n) site_move_##n, site_follow_##n
static long (*const sites[])(void) = {BOTH(0), BOTH(1), BOTH(2), BOTH(3), BOTH(4),  BOTH(5),
                                      BOTH(6), BOTH(7), BOTH(8), BOTH(9), BOTH(10), BOTH(11)};

static void call_sites(void) {
  for (int i = 0; i < 10; i++) CHECK_EQ(sites[draw(2 * kSites)](), our_parent);
}

// ---- Processes ----

static void expect_exit(pid_t pid, int status_wanted) {
  int status = 0;
  pid_t got;
  do got = waitpid(pid, &status, 0);
  while (got == -1 && errno == EINTR);
  CHECK_EQ(got, pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), status_wanted);
}

static void fork_and_exit(void) {
  int wanted = (int)draw(100);
  pid_t pid = fork();
  if (pid == 0) {
    if (sites[draw(2 * kSites)]() != our_pid) _exit(101);
    _exit(wanted);
  }
  CHECK(pid > 0);
  if (pid > 0) expect_exit(pid, wanted);
}

static void fork_and_exec(void) {
  char text[8];
  int wanted = (int)draw(100);
  snprintf(text, sizeof(text), "%d", wanted);
  char* argv[] = {(char*)program, text, NULL};
  char* envp[] = {NULL};
  pid_t pid = fork();
  if (pid == 0) {
    execve(program, argv, envp);
    _exit(102);
  }
  CHECK(pid > 0);
  if (pid > 0) expect_exit(pid, wanted);
}

static void spawn(void) {  // vfork
  char text[8];
  int wanted = (int)draw(100);
  snprintf(text, sizeof(text), "%d", wanted);
  char* argv[] = {(char*)program, text, NULL};
  char* envp[] = {NULL};
  pid_t pid = -1;
  CHECK_EQ(posix_spawn(&pid, program, NULL, NULL, argv, envp), 0);
  if (pid > 0) expect_exit(pid, wanted);
}

// ---- Memory ----

static void change_mappings(void) {
  const size_t page = 4096;
  for (int i = 0; i < 4; i++) {
    size_t pages = draw(30) + 3;
    char* p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    if (p == MAP_FAILED) return;
    char mark = (char)(draw(255) + 1);
    for (size_t j = 0; j < pages; j++) p[j * page] = mark;
    CHECK_EQ(mprotect(p + page, page, PROT_READ), 0);
    CHECK_EQ(munmap(p, page), 0);
    CHECK_EQ(mprotect(p + page, page, PROT_READ | PROT_WRITE), 0);
    for (size_t j = 1; j < pages; j++) CHECK_EQ(p[j * page], mark);
    p[page + 1] = mark;
    CHECK_EQ(munmap(p + page, (pages - 1) * page), 0);
  }
}

// ---- Locks and threads ----

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long first_count, second_count;
static atomic_long count_expected;

static void take_the_lock(void) {
  for (int i = 0; i < 50; i++) {
    pthread_mutex_lock(&mutex);
    CHECK_EQ(first_count, second_count);
    first_count++;
    if (i % 8 == 0) sched_yield();
    second_count++;
    pthread_mutex_unlock(&mutex);
  }
  atomic_fetch_add(&count_expected, 50);
}

static void* answer(void* arg) { return (void*)((uintptr_t)arg + (uintptr_t)sites[3]()); }

static void come_and_go(void) {
  pthread_t t[3];
  sigset_t block, old;
  sigemptyset(&block);
  sigaddset(&block, SIGRTMIN);
  pthread_sigmask(SIG_BLOCK, &block, &old);  // they have no `self`
  for (uintptr_t i = 0; i < 3; i++) CHECK_EQ(pthread_create(&t[i], NULL, answer, (void*)i), 0);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  for (uintptr_t i = 0; i < 3; i++) {
    void* result;
    CHECK_EQ(pthread_join(t[i], &result), 0);
    CHECK_EQ((uintptr_t)result, i + (uintptr_t)our_parent);
  }
}

// Floating point state must survive whatever interrupts it.
static void compute(void) {
  double x = 0.5, y = 0.5;
  for (int i = 0; i < 20000; i++) x = 3.75 * x * (1 - x);
  for (int i = 0; i < 20000; i++) {
    __asm__ volatile("" : "+x"(y));
    y = 3.75 * y * (1 - y);
  }
  CHECK(x == y);
}

static void* work(void* arg) {
  static void (*const duties[])(void) = {
      signal_somebody, call_sites,  fork_and_exit, fork_and_exec,   spawn,      change_mappings,
      take_the_lock,   come_and_go, compute,       signal_somebody, call_sites, change_mappings};
  self = arg;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  for (int i = 0; i < kRounds; i++) duties[draw(sizeof(duties) / sizeof(duties[0]))]();
  return NULL;
}

static pthread_barrier_t start, finish;

static void* worker_main(void* arg) {
  pthread_barrier_wait(&start);
  work(arg);
  pthread_barrier_wait(&finish);  // nobody signals from here on
  while (atomic_load(&self->received) != atomic_load(&self->sent)) sched_yield();
  return NULL;
}

int main(int argc, char** argv) {
  if (argc > 1) return atoi(argv[1]);
  program = "/proc/self/exe";
  our_pid = getpid();
  our_parent = getppid();
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGRTMIN, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  pthread_barrier_init(&start, NULL, kWorkers + 1);
  pthread_barrier_init(&finish, NULL, kWorkers);
  for (int i = 0; i < kWorkers; i++) {
    workers[i].random = (uint64_t)i * 7919 + 17;
    CHECK_EQ(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
  }
  pthread_barrier_wait(&start);
  for (int i = 0; i < kWorkers; i++) CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
  CHECK_EQ(first_count, atomic_load(&count_expected));
  CHECK_EQ(second_count, first_count);
  CHECK_EQ(atomic_load(&bad_signals), 0);
  for (int i = 0; i < kWorkers; i++) {
    CHECK_EQ(atomic_load(&workers[i].received), atomic_load(&workers[i].sent));
  }
  CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
  CHECK_EQ(errno, ECHILD);
  return check_result();
}
