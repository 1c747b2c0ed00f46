// System V semaphores: semget, semop, semtimedop, semctl, SEM_UNDO.
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

union argument {
  int val;
  struct semid_ds* ds;
  unsigned short* array;
  struct seminfo* info;
};

static int new_set(int count) {
  int id = semget(IPC_PRIVATE, count, IPC_CREAT | 0600);
  CHECK(id >= 0);
  return id;
}
static int value(int id, int n) { return semctl(id, n, GETVAL); }
static int set(int id, int n, int v) { return semctl(id, n, SETVAL, (union argument){.val = v}); }
static int op(int id, int n, int v, int flags) {
  struct sembuf b = {n, v, flags};
  return semop(id, &b, 1);
}
static void wait_for(pid_t pid, int status_wanted) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, status_wanted);
}
static void remove_set(int id) { CHECK_EQ(semctl(id, 0, IPC_RMID), 0); }

static void sets_are_found_and_told(void) {
  key_t key = 0x4d560000 | (getpid() & 0xffff);
  int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);
  CHECK(id >= 0);
  CHECK_EQ(semget(key, 2, 0), id);
  CHECK(semget(key, 4, 0) == -1 && errno == EINVAL);
  CHECK(semget(key, 3, IPC_CREAT | IPC_EXCL) == -1 && errno == EEXIST);
  CHECK(semget(IPC_PRIVATE, 0, 0600) == -1 && errno == EINVAL);
  CHECK(semget(IPC_PRIVATE, -1, 0600) == -1 && errno == EINVAL);
  struct semid_ds ds;
  CHECK_EQ(semctl(id, 0, IPC_STAT, (union argument){.ds = &ds}), 0);
  CHECK_EQ(ds.sem_nsems, 3);
  CHECK_EQ(ds.sem_perm.mode, 0640);
  CHECK_EQ(ds.sem_perm.__key, key);
  CHECK_EQ(ds.sem_otime, 0);
  CHECK_EQ(op(id, 1, 2, 0), 0);
  CHECK_EQ(semctl(id, 0, IPC_STAT, (union argument){.ds = &ds}), 0);
  CHECK(ds.sem_otime != 0);
  CHECK_EQ(semctl(id, 1, GETPID), getpid());
  CHECK_EQ(semctl(id, 0, GETPID), 0);
  struct seminfo info;
  int last = semctl(0, 0, SEM_INFO, (union argument){.info = &info});
  CHECK(last >= 0 && info.semusz >= 1 && info.semvmx == 32767);
  int found = 0;
  for (int i = 0; i <= last; i++) {
    if (semctl(i, 0, SEM_STAT, (union argument){.ds = &ds}) == id) found = ds.sem_nsems == 3;
  }
  CHECK(found);
  char line[200];
  found = 0;
  FILE* f = fopen("/proc/sysvipc/sem", "r");
  CHECK(f != NULL);
  while (f && fgets(line, sizeof line, f)) {
    int k, i, perms, n;
    if (sscanf(line, "%d %d %o %d", &k, &i, &perms, &n) == 4 && i == id) {
      found = k == key && perms == 0640 && n == 3;
    }
  }
  if (f) fclose(f);
  CHECK(found);
  remove_set(id);
  CHECK(semctl(id, 0, GETVAL) == -1 && errno == EINVAL);
}

static void values_have_bounds(void) {
  int id = new_set(2);
  unsigned short all[2] = {5, 32767}, got[2];
  CHECK_EQ(semctl(id, 0, SETALL, (union argument){.array = all}), 0);
  CHECK_EQ(semctl(id, 0, GETALL, (union argument){.array = got}), 0);
  CHECK(got[0] == 5 && got[1] == 32767);
  CHECK(op(id, 1, 1, 0) == -1 && errno == ERANGE);
  CHECK(set(id, 0, 32768) == -1 && errno == ERANGE);
  CHECK(set(id, 0, -1) == -1 && errno == ERANGE);
  all[0] = 40000;
  CHECK(semctl(id, 0, SETALL, (union argument){.array = all}) == -1 && errno == ERANGE);
  CHECK_EQ(value(id, 0), 5);
  CHECK(op(id, 2, 1, 0) == -1 && errno == EFBIG);
  CHECK(semctl(id, 2, GETVAL) == -1 && errno == EINVAL);
  struct sembuf none;
  CHECK(semop(id, &none, 0) == -1 && errno == EINVAL);
  CHECK(semop(id, (void*)8, 1) == -1 && errno == EFAULT);
  static struct sembuf many[40000];
  CHECK(semop(id, many, 40000) == -1 && errno == E2BIG);
  remove_set(id);
}

static void arrays_are_all_or_nothing(void) {
  int id = new_set(2);
  CHECK_EQ(set(id, 0, 3), 0);
  struct sembuf b[2] = {{0, -2, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}};
  CHECK(semop(id, b, 2) == -1 && errno == EAGAIN);
  CHECK_EQ(value(id, 0), 3);
  CHECK_EQ(set(id, 1, 1), 0);
  CHECK_EQ(semop(id, b, 2), 0);
  CHECK_EQ(value(id, 0), 1);
  CHECK_EQ(value(id, 1), 0);
  // One semaphore twice: the second sees the first.
  struct sembuf twice[2] = {{0, 4, 0}, {0, -5, IPC_NOWAIT}};
  CHECK_EQ(semop(id, twice, 2), 0);
  CHECK_EQ(value(id, 0), 0);
  CHECK_EQ(op(id, 0, 0, IPC_NOWAIT), 0);
  CHECK_EQ(set(id, 0, 1), 0);
  CHECK(op(id, 0, 0, IPC_NOWAIT) == -1 && errno == EAGAIN);
  remove_set(id);
}

static void waiters_are_counted_and_woken(void) {
  int id = new_set(2);
  CHECK_EQ(set(id, 1, 1), 0);
  pid_t up = fork();
  if (up == 0) _exit(op(id, 0, -2, 0) == 0 ? 0 : 1);
  pid_t zero = fork();
  if (zero == 0) _exit(op(id, 1, 0, 0) == 0 ? 0 : 1);
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  while (semctl(id, 1, GETZCNT) != 1) usleep(1000);
  CHECK_EQ(semctl(id, 1, GETNCNT), 0);
  CHECK_EQ(op(id, 0, 1, 0), 0);
  CHECK_EQ(semctl(id, 0, GETNCNT), 1);
  CHECK_EQ(op(id, 0, 2, 0), 0);
  wait_for(up, 0);
  CHECK_EQ(value(id, 0), 1);
  CHECK_EQ(semctl(id, 0, GETPID), up);
  CHECK_EQ(op(id, 1, -1, 0), 0);
  wait_for(zero, 0);
  remove_set(id);
}

static void on_signal(int s) { (void)s; }

static void waits_end_early(void) {
  int id = new_set(1);
  struct sembuf down = {0, -1, 0};
  struct timespec short_time = {0, 20000000}, bad = {0, 1000000000};
  CHECK(semtimedop(id, &down, 1, &short_time) == -1 && errno == EAGAIN);
  CHECK(semtimedop(id, &down, 1, &bad) == -1 && errno == EINVAL);
  pid_t pid = fork();
  if (pid == 0) {
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &sa, NULL);
    _exit(op(id, 0, -1, 0) == -1 && errno == EINTR ? 0 : 1);
  }
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  kill(pid, SIGUSR1);
  wait_for(pid, 0);
  pid = fork();
  if (pid == 0) _exit(op(id, 0, -1, 0) == -1 && errno == EIDRM ? 0 : 1);
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  remove_set(id);
  wait_for(pid, 0);
}

static void exit_undoes(void) {
  int id = new_set(2);
  CHECK_EQ(set(id, 0, 5), 0);
  pid_t pid = fork();
  if (pid == 0) {
    CHECK_EQ(op(id, 0, -3, SEM_UNDO), 0);
    CHECK_EQ(op(id, 1, 4, SEM_UNDO), 0);
    CHECK_EQ(op(id, 1, -1, 0), 0);
    CHECK_EQ(value(id, 0), 2);
    _exit(check_result());
  }
  wait_for(pid, 0);
  CHECK_EQ(value(id, 0), 5);
  CHECK_EQ(value(id, 1), 0);  // 3 - 4, but never below 0
  CHECK_EQ(semctl(id, 0, GETPID), pid);
  // SETVAL forgets what was to be undone; a waiter is woken by the undoing.
  CHECK_EQ(set(id, 0, 1), 0);
  pid_t waiter = fork();
  if (waiter == 0) _exit(op(id, 0, -1, 0) == 0 ? 0 : 1);
  wait_for(waiter, 0);
  waiter = fork();
  if (waiter == 0) _exit(op(id, 0, -1, 0) == 0 ? 0 : 1);
  while (semctl(id, 0, GETNCNT) != 1) usleep(1000);
  CHECK_EQ(set(id, 1, 1), 0);
  pid = fork();
  if (pid == 0) {
    CHECK_EQ(op(id, 1, -1, SEM_UNDO), 0);
    CHECK_EQ(set(id, 1, 0), 0);
    struct sembuf both[2] = {{0, 1, 0}, {0, -1, SEM_UNDO}};
    CHECK_EQ(semop(id, both, 2), 0);
    execl("/bin/true", "true", NULL);  // the list stays with the process
    _exit(1);
  }
  wait_for(pid, 0);
  CHECK_EQ(value(id, 1), 0);
  wait_for(waiter, 0);
  remove_set(id);
}

static void strangers_are_kept_out(void) {
  if (geteuid() != 0) return;
  int id = semget(IPC_PRIVATE, 1, 0604);
  pid_t pid = fork();
  if (pid == 0) {
    CHECK_EQ(setgid(1234) | setuid(1234), 0);
    CHECK_EQ(value(id, 0), 0);
    CHECK(op(id, 0, 1, 0) == -1 && errno == EACCES);
    CHECK_EQ(op(id, 0, 0, 0), 0);
    CHECK(set(id, 0, 1) == -1 && errno == EACCES);
    CHECK(semctl(id, 0, IPC_RMID) == -1 && errno == EPERM);
    _exit(check_result());
  }
  wait_for(pid, 0);
  remove_set(id);
}

int main(void) {
  RUN(sets_are_found_and_told);
  RUN(values_have_bounds);
  RUN(arrays_are_all_or_nothing);
  RUN(waiters_are_counted_and_woken);
  RUN(waits_end_early);
  RUN(exit_undoes);
  RUN(strangers_are_kept_out);
  return check_result();
}
