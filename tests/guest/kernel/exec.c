// execve: arguments, environment, descriptors, signals, threads; errors. Runs itself.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static char self[4096];

static int status_of(pid_t pid) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// What the new program checks.
static int child_main(int argc, char** argv) {
  if (strcmp(argv[1], "args") == 0) {
    return argc == 4 && strcmp(argv[2], "") == 0 && strcmp(argv[3], "a b") == 0 && getenv("FOO") &&
                   strcmp(getenv("FOO"), "bar") == 0 && !getenv("HOME")
               ? 0
               : 1;
  }
  if (strcmp(argv[1], "fds") == 0) {
    return fcntl(20, F_GETFD) == 0 && fcntl(21, F_GETFD) == -1 && errno == EBADF ? 0 : 1;
  }
  if (strcmp(argv[1], "signals") == 0) {
    struct sigaction sa;
    sigset_t mask, pending;
    sigaction(SIGUSR1, NULL, &sa);
    if (sa.sa_handler != SIG_DFL) return 1;
    sigaction(SIGUSR2, NULL, &sa);
    if (sa.sa_handler != SIG_IGN) return 2;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    if (!sigismember(&mask, SIGTERM)) return 3;
    sigpending(&pending);
    if (!sigismember(&pending, SIGTERM)) return 4;
    return 0;
  }
  if (strcmp(argv[1], "thread") == 0) {
    return getpid() == syscall(SYS_gettid) && atoi(argv[2]) == getpid() ? 0 : 1;
  }
  if (strcmp(argv[1], "auxv") == 0) {
    if (getauxval(AT_PAGESZ) != 4096) return 1;
    if (getauxval(AT_SECURE) != 0) return 2;
    if (getauxval(AT_UID) != getuid()) return 3;
    if (!getauxval(AT_RANDOM)) return 4;
    if (strcmp((char*)getauxval(AT_EXECFN), self) != 0) return 5;
    return 0;
  }
  return 99;
}

static void run(const char* what) {
  pid_t pid = fork();
  if (pid == 0) {
    execl(self, self, what, (char*)NULL);
    _exit(98);
  }
  CHECK_EQ(status_of(pid), 0);
}

static void arguments_and_environment(void) {
  pid_t pid = fork();
  if (pid == 0) {
    char *argv[] = {self, "args", "", "a b", NULL}, *envp[] = {"FOO=bar", NULL};
    execve(self, argv, envp);
    _exit(98);
  }
  CHECK_EQ(status_of(pid), 0);
}

static void descriptors(void) {
  CHECK_EQ(dup2(0, 20), 20);
  CHECK_EQ(dup3(0, 21, O_CLOEXEC), 21);
  run("fds");
  close(20);
  close(21);
}

static void nothing(int s) { (void)s; }
static void signals(void) {
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGTERM);
    signal(SIGUSR1, nothing);
    signal(SIGUSR2, SIG_IGN);
    execl(self, self, "signals", (char*)NULL);
    _exit(98);
  }
  CHECK_EQ(status_of(pid), 0);
}

static void* exec_here(void* arg) {
  char pid[20];
  snprintf(pid, sizeof(pid), "%d", getpid());
  execl(self, self, "thread", pid, (char*)NULL);
  return arg;
}
static void* spin(void* arg) {
  for (;;) sched_yield();
  return arg;
}
static void* sleeper(void* arg) {
  for (;;) pause();
  return arg;
}
static void exec_from_a_thread(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t t;
    pthread_create(&t, NULL, spin, NULL);
    pthread_create(&t, NULL, sleeper, NULL);
    pthread_create(&t, NULL, exec_here, NULL);
    for (;;) pause();
  }
  CHECK_EQ(status_of(pid), 0);
}

static void by_vfork(void) {
  for (int i = 0; i < 20; i++) {
    pid_t pid = vfork();
    if (pid == 0) {
      execl(self, self, "auxv", (char*)NULL);
      _exit(98);
    }
    CHECK_EQ(status_of(pid), 0);
  }
}

static void errors(void) {
  char* argv[] = {"x", NULL};
  CHECK_EQ(execve("/no/such/file", argv, NULL), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(execve("/tmp", argv, NULL), -1);
  CHECK_EQ(errno, EACCES);
  CHECK_EQ(execve("", argv, NULL), -1);
  CHECK_EQ(errno, ENOENT);
  char* volatile bad = (char*)8;  // the compiler must not see it
  CHECK_EQ(execve(bad, argv, NULL), -1);
  CHECK_EQ(errno, EFAULT);
  CHECK_EQ(execve(self, (char**)bad, NULL), -1);
  CHECK_EQ(errno, EFAULT);
  char path[64];
  snprintf(path, sizeof(path), "/tmp/exec-test-%d", getpid());
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, "not a program", 13), 13);
  close(fd);
  CHECK_EQ(execve(path, argv, NULL), -1);
  CHECK_EQ(errno, EACCES);
  CHECK(chmod(path, 0755) == 0);
  CHECK_EQ(execve(path, argv, NULL), -1);
  CHECK_EQ(errno, ENOEXEC);
  fd = open(path, O_WRONLY | O_TRUNC);
  CHECK_EQ(write(fd, "#!/no/such/interpreter\n", 23), 23);
  close(fd);
  CHECK_EQ(execve(path, argv, NULL), -1);
  CHECK_EQ(errno, ENOENT);
  unlink(path);
  char* huge = malloc(200000);
  memset(huge, 'x', 199999);
  huge[199999] = 0;
  char* big[] = {"x", huge, NULL};
  CHECK_EQ(execve(self, big, NULL), -1);
  CHECK_EQ(errno, E2BIG);
  free(huge);
}

static void scripts(void) {
  char path[64];
  snprintf(path, sizeof(path), "/tmp/exec-script-%d", getpid());
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755);
  CHECK(dprintf(fd, "#!%s args  \n", self) > 0);
  close(fd);
  pid_t pid = fork();
  if (pid == 0) {
    // The interpreter's argv: itself, "args", the script, then ours.
    char *argv[] = {"ignored", "a b", NULL}, *envp[] = {NULL};
    execve(path, argv, envp);
    _exit(98);
  }
  CHECK_EQ(status_of(pid), 1);  // ran as far as its own check of the arguments
  unlink(path);
}

static void execveat_by_descriptor(void) {
  int fd = open(self, O_RDONLY | O_CLOEXEC);
  pid_t pid = fork();
  if (pid == 0) {
    char *argv[] = {self, "fds-none", NULL}, *envp[] = {NULL};
    syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
    _exit(98);
  }
  CHECK_EQ(status_of(pid), 99);
  close(fd);
}

int main(int argc, char** argv) {
  snprintf(self, sizeof(self), "%s", argv[0][0] == '/' ? argv[0] : "/bin/program");
  if (argc > 1) return child_main(argc, argv);
  if (access(self, X_OK) != 0) strcpy(self, "/bin/program");
  RUN(arguments_and_environment);
  RUN(descriptors);
  RUN(signals);
  run("auxv");
  RUN(exec_from_a_thread);
  RUN(by_vfork);
  RUN(errors);
  RUN(scripts);
  RUN(execveat_by_descriptor);
  return check_result();
}
