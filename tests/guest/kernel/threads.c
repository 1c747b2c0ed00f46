// Threads: mutexes, condition variables, joins, thread-directed signals, exec and exit among
// threads.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int shared_counter, turn;

static void* count_up(void* arg) {
  for (int i = 0; i < 2000; i++) {
    pthread_mutex_lock(&mutex);
    shared_counter++;
    pthread_mutex_unlock(&mutex);
  }
  return arg;
}

static void mutex_excludes(void) {
  pthread_t t[8];
  for (long i = 0; i < 8; i++) CHECK_EQ(pthread_create(&t[i], NULL, count_up, (void*)i), 0);
  for (long i = 0; i < 8; i++) {
    void* result;
    CHECK_EQ(pthread_join(t[i], &result), 0);
    CHECK_EQ((long)result, i);
  }
  CHECK_EQ(shared_counter, 16000);
}

static void* pong(void* arg) {
  (void)arg;
  for (int i = 0; i < 500; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != 1) pthread_cond_wait(&cond, &mutex);
    turn = 0;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void condition_variables_pass_turns(void) {
  pthread_t t;
  turn = 0;
  pthread_create(&t, NULL, pong, NULL);
  for (int i = 0; i < 500; i++) {
    pthread_mutex_lock(&mutex);
    turn = 1;
    pthread_cond_signal(&cond);
    while (turn != 0) pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
  }
  pthread_join(t, NULL);
  CHECK_EQ(turn, 0);
}

static void timed_waits_time_out(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  ts.tv_nsec += 20000000;
  if (ts.tv_nsec >= 1000000000) ts.tv_sec++, ts.tv_nsec -= 1000000000;
  pthread_mutex_lock(&mutex);
  CHECK_EQ(pthread_cond_timedwait(&cond, &mutex, &ts), ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  CHECK(now.tv_sec > ts.tv_sec || (now.tv_sec == ts.tv_sec && now.tv_nsec >= ts.tv_nsec));
  uint32_t word = 5;
  struct timespec zero = {0, 1000};
  CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &zero, NULL, 0), -1);
  CHECK_EQ(errno, ETIMEDOUT);
  CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
  CHECK_EQ(syscall(SYS_futex, (char*)&word + 1, FUTEX_WAIT, 5, NULL, NULL, 0), -1);
  CHECK_EQ(errno, EINVAL);
}

static void shared_semaphore_between_processes(void) {
  sem_t* sems = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(sem_init(&sems[0], 1, 0) == 0 && sem_init(&sems[1], 1, 0) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < 100; i++) {
      while (sem_wait(&sems[0]) != 0) {
      }
      sem_post(&sems[1]);
    }
    _exit(0);
  }
  for (int i = 0; i < 100; i++) {
    sem_post(&sems[0]);
    while (sem_wait(&sems[1]) != 0) {
    }
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}

static volatile int handled_by;
static void note_thread(int signo) {
  (void)signo;
  handled_by = (int)syscall(SYS_gettid);
}

static sem_t started;
static void* wait_for_signal(void* arg) {
  *(int*)arg = (int)syscall(SYS_gettid);
  sem_post(&started);
  while (!handled_by) sched_yield();
  return NULL;
}

static void pthread_kill_reaches_that_thread(void) {
  struct sigaction sa = {.sa_handler = note_thread};
  sigaction(SIGUSR1, &sa, NULL);
  pthread_t t;
  int tid = 0;
  sem_init(&started, 0, 0);
  handled_by = 0;
  pthread_create(&t, NULL, wait_for_signal, &tid);
  sem_wait(&started);
  CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
  pthread_join(t, NULL);
  CHECK_EQ(handled_by, tid);
  CHECK(tid != getpid());
}

static void process_signal_goes_to_an_open_thread(void) {
  pthread_t t;
  int tid = 0;
  sigset_t set, old;
  handled_by = 0;
  pthread_create(&t, NULL, wait_for_signal, &tid);
  sem_wait(&started);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, &old);
  kill(getpid(), SIGUSR1);
  pthread_join(t, NULL);
  CHECK_EQ(handled_by, tid);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void* exit_all(void* arg) {
  (void)arg;
  exit(23);
}
static void* sleep_forever(void* arg) {
  for (;;) pause();
  return arg;
}
static void exit_group_ends_every_thread(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t t[4];
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, sleep_forever, NULL);
    pthread_create(&t[3], NULL, exit_all, NULL);
    for (;;) pause();
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23);
}

static void* spin(void* arg) {
  for (;;) {
  }
  return arg;
}
static void fatal_signal_ends_every_thread(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t t[3];
    for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, spin, NULL);
    pthread_create(&t[2], NULL, sleep_forever, NULL);
    *(volatile int*)16 = 1;
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void* lives_on(void* arg) {
  while (syscall(SYS_tgkill, getpid(), getpid(), 0) == 0 && *(volatile int*)arg == 0) sched_yield();
  exit(31);
}
static void leader_may_go_first(void) {
  pid_t pid = fork();
  if (pid == 0) {
    static int flag;
    pthread_t t;
    pthread_create(&t, NULL, lives_on, &flag);
    flag = 1;
    syscall(SYS_exit, 5);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 31);
}

static pthread_mutex_t robust;
static void* die_holding(void* arg) {
  pthread_mutex_lock(&robust);
  return arg;
}
static void robust_mutex_survives_its_owner(void) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attr);
  pthread_t t;
  pthread_create(&t, NULL, die_holding, NULL);
  pthread_join(t, NULL);
  CHECK_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(&robust), 0);
  CHECK_EQ(pthread_mutex_unlock(&robust), 0);
}

static __thread int tls = 3;
static void* check_tls(void* arg) {
  (void)arg;
  int before = tls;
  tls = 9;
  return (void*)(long)before;
}
static void tls_is_per_thread(void) {
  pthread_t t;
  void* result;
  tls = 4;
  pthread_create(&t, NULL, check_tls, NULL);
  pthread_join(t, &result);
  CHECK_EQ((long)result, 3);
  CHECK_EQ(tls, 4);
}

static void* nothing(void* arg) { return arg; }
static void many_short_threads(void) {
  for (int i = 0; i < 200; i++) {
    pthread_t t;
    CHECK_EQ(pthread_create(&t, NULL, nothing, NULL), 0);
    CHECK_EQ(pthread_join(t, NULL), 0);
  }
}

static void barrier_of_many(void);
static pthread_barrier_t barrier;
static void* arrive(void* arg) {
  for (int i = 0; i < 20; i++) pthread_barrier_wait(&barrier);
  return arg;
}
static void barrier_of_many(void) {
  pthread_t t[16];
  pthread_barrier_init(&barrier, NULL, 16);
  for (int i = 0; i < 16; i++) pthread_create(&t[i], NULL, arrive, NULL);
  for (int i = 0; i < 16; i++) CHECK_EQ(pthread_join(t[i], NULL), 0);
}

int main(void) {
  RUN(mutex_excludes);
  RUN(condition_variables_pass_turns);
  RUN(timed_waits_time_out);
  RUN(shared_semaphore_between_processes);
  RUN(pthread_kill_reaches_that_thread);
  RUN(process_signal_goes_to_an_open_thread);
  RUN(exit_group_ends_every_thread);
  RUN(fatal_signal_ends_every_thread);
  RUN(leader_may_go_first);
  RUN(robust_mutex_survives_its_owner);
  RUN(tls_is_per_thread);
  RUN(many_short_threads);
  RUN(barrier_of_many);
  return check_result();
}
