// Clocks and timers.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile sig_atomic_t count, last_value, last_signo;
static void note(int signo, siginfo_t* info, void* context) {
  (void)context;
  count++;
  last_signo = signo;
  last_value = info->si_value.sival_int;
}
static void handle(int signo) {
  struct sigaction sa = {0};
  sa.sa_sigaction = note;
  sa.sa_flags = SA_SIGINFO;
  sigaction(signo, &sa, NULL);
}
static long long ns(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }
static long long now(clockid_t clock) {
  struct timespec t;
  CHECK(clock_gettime(clock, &t) == 0);
  return ns(t);
}

static void clocks_run_forward(void) {
  static const clockid_t clocks[] = {
      CLOCK_REALTIME,           CLOCK_MONOTONIC,         CLOCK_MONOTONIC_RAW,  CLOCK_BOOTTIME,
      CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_REALTIME_COARSE};
  for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
    struct timespec a, b, resolution;
    CHECK(clock_gettime(clocks[i], &a) == 0);
    CHECK(clock_gettime(clocks[i], &b) == 0);
    CHECK(ns(b) >= ns(a));
    CHECK(clock_getres(clocks[i], &resolution) == 0);
    CHECK(ns(resolution) > 0);
    // The system call agrees with the vDSO.
    struct timespec c;
    CHECK(syscall(SYS_clock_gettime, clocks[i], &c) == 0);
    CHECK(ns(c) >= ns(b));
  }
  CHECK_EQ(syscall(SYS_clock_gettime, 77, &(struct timespec){0}), -1);
  CHECK_EQ(errno, EINVAL);
}

// Systrap answers calls from a known site elsewhere than the first ones: often enough to see both.
#define OFTEN 100

static void clock_calls_agree_with_the_vdso(void) {
  CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
  for (int i = 0; i < OFTEN; i++) {
    struct timespec t;
    long long before = now(CLOCK_MONOTONIC);
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t), 0);
    CHECK(ns(t) >= before && ns(t) <= now(CLOCK_MONOTONIC));
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (void*)8), -1);
    CHECK_EQ(errno, EFAULT);
    CHECK_EQ(sched_yield(), 0);
  }
}

// The vDSO is a mapping like any other to the program; the kernel needs none of it.
static void clock_calls_do_without_the_vdso(void) {
  pid_t pid = fork();
  if (pid == 0) {
    FILE* maps = fopen("/proc/self/maps", "r");
    char line[256];
    unsigned long start, end;
    int found = 0;
    while (maps && fgets(line, sizeof(line), maps)) {
      if (!strstr(line, "[vdso]")) continue;
      if (sscanf(line, "%lx-%lx", &start, &end) == 2) found++;
    }
    struct timespec t;
    if (found != 1 || syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) != 0) _exit(1);
    if (munmap((void*)start, end - start) != 0) _exit(2);
    for (int i = 0; i < OFTEN; i++) {
      if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) != 0) _exit(3);
    }
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}

static void signals_find_clock_calls_whole(void) {
  count = 0;
  handle(SIGALRM);
  struct itimerval often = {{0, 500}, {0, 500}};
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  struct timespec t;
  long long last = 0;
  while (count < OFTEN) {
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t), 0);
    CHECK(ns(t) >= last);
    last = ns(t);
    CHECK_EQ(sched_yield(), 0);
  }
  CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
}

static void sleeps_last(void) {
  long long before = now(CLOCK_MONOTONIC);
  struct timespec t = {0, 10000000};
  CHECK(nanosleep(&t, NULL) == 0);
  CHECK(now(CLOCK_MONOTONIC) - before >= 10000000);
  long long at = now(CLOCK_MONOTONIC) + 10000000;
  t.tv_sec = at / 1000000000, t.tv_nsec = at % 1000000000;
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
  CHECK(now(CLOCK_MONOTONIC) >= at);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
  t.tv_nsec = 1000000000;
  CHECK_EQ(nanosleep(&t, NULL), -1);
  CHECK_EQ(errno, EINVAL);
}

static void interval_timer_repeats(void) {
  handle(SIGALRM);
  count = 0;
  struct itimerval it = {{0, 5000}, {0, 5000}}, old;
  CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
  while (count < 3) pause();
  CHECK(getitimer(ITIMER_REAL, &old) == 0);
  CHECK(old.it_interval.tv_usec == 5000);
  CHECK(old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 5000);
  memset(&it, 0, sizeof(it));
  CHECK(setitimer(ITIMER_REAL, &it, &old) == 0);
  CHECK(old.it_interval.tv_usec == 5000);
  CHECK(getitimer(ITIMER_REAL, &old) == 0);
  CHECK(old.it_value.tv_usec == 0 && old.it_value.tv_sec == 0);
}

static void alarm_returns_rest(void) {
  CHECK_EQ(alarm(100), 0);
  unsigned left = alarm(0);
  CHECK(left == 100 || left == 99);
  CHECK_EQ(alarm(0), 0);
}

static void cpu_timers_count_cpu(void) {
  handle(SIGVTALRM);
  handle(SIGPROF);
  count = 0;
  struct itimerval it = {{0, 0}, {0, 20000}};
  long long before = now(CLOCK_PROCESS_CPUTIME_ID);
  CHECK(setitimer(ITIMER_VIRTUAL, &it, NULL) == 0);
  while (count == 0) {
  }
  CHECK_EQ(last_signo, SIGVTALRM);
  // The host charges whole ticks to such a timer: it may be early by a few of them.
  CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - before >= 5000000);
  count = 0;
  CHECK(setitimer(ITIMER_PROF, &it, NULL) == 0);
  while (count == 0) {
  }
  CHECK_EQ(last_signo, SIGPROF);
}

static void posix_timer_carries_value(void) {
  handle(SIGRTMIN);
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 77;
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  struct itimerspec its = {{0, 0}, {0, 5000000}}, got;
  count = 0;
  CHECK(timer_settime(timer, 0, &its, NULL) == 0);
  while (count == 0) pause();
  CHECK_EQ(last_value, 77);
  CHECK(timer_gettime(timer, &got) == 0);
  CHECK(ns(got.it_value) == 0);
  its.it_value.tv_sec = 100;
  CHECK(timer_settime(timer, 0, &its, NULL) == 0);
  CHECK(timer_gettime(timer, &got) == 0);
  CHECK(got.it_value.tv_sec >= 98);
  CHECK(timer_delete(timer) == 0);
  CHECK_EQ(timer_delete(timer), -1);
}

static void overruns_are_counted(void) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, &old);
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 1;
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  struct itimerspec its = {{0, 1000000}, {0, 1000000}};
  CHECK(timer_settime(timer, 0, &its, NULL) == 0);
  struct timespec t = {0, 30000000};
  nanosleep(&t, NULL);
  siginfo_t info;
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 1);
  CHECK_EQ(info.si_code, SI_TIMER);
  CHECK(info.si_overrun >= 10);
  CHECK_EQ(timer_getoverrun(timer), info.si_overrun);
  timer_delete(timer);
  struct timespec zero = {0, 0};
  while (sigtimedwait(&set, &info, &zero) > 0) {
  }
  sigprocmask(SIG_SETMASK, &old, NULL);
}

static volatile int notified;
static void on_thread(union sigval v) { notified = v.sival_int; }
static void timer_may_start_a_thread(void) {
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = on_thread;
  event.sigev_value.sival_int = 12;
  timer_t timer;
  CHECK(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
  struct itimerspec its = {{0, 0}, {0, 1000000}};
  CHECK(timer_settime(timer, 0, &its, NULL) == 0);
  while (notified != 12) sched_yield();
  timer_delete(timer);
}

static void cpu_limit_kills(void) {
  pid_t pid = fork();
  if (pid == 0) {
    struct rlimit limit = {1, 2};
    setrlimit(RLIMIT_CPU, &limit);
    for (;;) {
    }
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
}

static void times_and_usage_agree(void) {
  struct tms t;
  CHECK(times(&t) != (clock_t)-1);
  struct rusage r;
  CHECK(getrusage(RUSAGE_SELF, &r) == 0);
  CHECK(r.ru_utime.tv_sec * 100 + r.ru_utime.tv_usec / 10000 >= t.tms_utime);
  CHECK(getrusage(RUSAGE_THREAD, &r) == 0);
  CHECK_EQ(getrusage(99, &r), -1);
}

int main(void) {
  RUN(clocks_run_forward);
  RUN(clock_calls_agree_with_the_vdso);
  RUN(clock_calls_do_without_the_vdso);
  RUN(signals_find_clock_calls_whole);
  RUN(sleeps_last);
  RUN(interval_timer_repeats);
  RUN(alarm_returns_rest);
  RUN(cpu_timers_count_cpu);
  RUN(posix_timer_carries_value);
  RUN(overruns_are_counted);
  RUN(timer_may_start_a_thread);
  RUN(cpu_limit_kills);
  RUN(times_and_usage_agree);
  return check_result();
}
