// /proc/PID as programs read it: formats, links, threads, permissions, the end of a process.
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sentry/mm/guests/check.h"

static char text[1 << 20];

// The whole file in `text`, read in steps of `step`; its length, or -1.
static long Slurp(const char* path, size_t step) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -1;
  size_t have = 0;
  ssize_t n;
  while ((n = read(fd, text + have, step)) > 0) have += n;
  text[have] = 0;
  close(fd);
  return n < 0 ? -1 : (long)have;
}

static void Status(void) {
  CHECK(Slurp("/proc/self/status", 4096) > 0);
  int pid = 0, ppid = 0, uid = -1, threads = 0;
  sscanf(strstr(text, "\nPid:"), "\nPid: %d", &pid);
  sscanf(strstr(text, "\nPPid:"), "\nPPid: %d", &ppid);
  sscanf(strstr(text, "\nUid:"), "\nUid: %d", &uid);
  sscanf(strstr(text, "\nThreads:"), "\nThreads: %d", &threads);
  CHECK(pid == getpid() && ppid == getppid() && uid == (int)getuid() && threads == 1);
  CHECK(strstr(text, "State:\tR (running)") != NULL);
  CHECK(strstr(text, "VmRSS:") != NULL && strstr(text, "SigCgt:") != NULL);
  int read_pid;
  char state, name[32];
  CHECK(Slurp("/proc/self/stat", 4096) > 0);
  CHECK(sscanf(text, "%d (%31[^)]) %c %d", &read_pid, name, &state, &ppid) == 4);
  CHECK(read_pid == getpid() && state == 'R' && ppid == getppid());
  int fields = 1;
  for (char* p = strrchr(text, ')'); *p; ++p) fields += *p == ' ';
  CHECK(fields == 51);
  long size = 0, resident = 0;
  CHECK(Slurp("/proc/self/statm", 4096) > 0);
  CHECK(sscanf(text, "%ld %ld", &size, &resident) == 2 && size > 0 && resident > 0);
}

static void Comm(void) {
  CHECK(prctl(PR_SET_NAME, "a name") == 0);
  CHECK(Slurp("/proc/self/comm", 64) == 7 && strcmp(text, "a name\n") == 0);
  int fd = open("/proc/self/comm", O_WRONLY);
  CHECK(write(fd, "another name that is long\n", 26) == 26);
  close(fd);
  char name[16];
  CHECK(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "another name th") == 0);
}

static void Maps(void) {
  char* p = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mprotect(p + 4096, 4096, PROT_NONE) == 0);
  static char small[sizeof(text)];
  CHECK(Slurp("/proc/self/maps", 64) > 0);
  memcpy(small, text, sizeof(text));
  CHECK(Slurp("/proc/self/maps", sizeof(text) - 1) > 0);
  CHECK(strcmp(small, text) == 0);  // the step does not matter
  CHECK(strstr(text, "[stack]\n") != NULL && strstr(text, "proc_self\n") != NULL);
  char expected[64];
  snprintf(expected, sizeof(expected), "%lx-%lx ---p 00000000 00:00 0 \n", (long)p + 4096,
           (long)p + 8192);
  CHECK(strstr(text, expected) != NULL);
  CHECK(Slurp("/proc/self/smaps", 4096) > 0 && strstr(text, "VmFlags:") != NULL);
  munmap(p, 3 * 4096);
}

static void Arguments(char** argv) {
  CHECK(Slurp("/proc/self/cmdline", 4096) > 0);
  CHECK(strcmp(text, argv[0]) == 0);
  CHECK(Slurp("/proc/self/auxv", 4096) > 0);
  Elf64_auxv_t* aux = (Elf64_auxv_t*)text;
  while (aux->a_type != AT_ENTRY && aux->a_type != AT_NULL) ++aux;
  CHECK(aux->a_type == AT_ENTRY && aux->a_un.a_val == getauxval(AT_ENTRY));
  char exe[256] = "", cwd[256] = "", here[256];
  CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0 && strstr(exe, "/proc_self") != NULL);
  CHECK(readlink("/proc/self/cwd", cwd, sizeof(cwd) - 1) > 0);
  CHECK(getcwd(here, sizeof(here)) && strcmp(cwd, here) == 0);
  struct stat a, b;
  CHECK(stat("/proc/self/exe", &a) == 0 && stat(exe, &b) == 0 && a.st_ino == b.st_ino);
  CHECK(stat("/proc/self/root/etc", &a) == 0 && stat("/etc", &b) == 0 && a.st_ino == b.st_ino);
}

static void Descriptors(void) {
  char path[64], link[256] = "";
  int fd = open("/tmp/proc_self.file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(write(fd, "hello", 5) == 5);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  CHECK(readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, "/tmp/proc_self.file") == 0);
  struct stat status;
  CHECK(lstat(path, &status) == 0 && (status.st_mode & 0777) == 0700 && S_ISLNK(status.st_mode));
  int again = open(path, O_RDONLY);
  CHECK(read(again, text, 10) == 5);
  close(again);
  CHECK(unlink("/tmp/proc_self.file") == 0);
  memset(link, 0, sizeof(link));
  CHECK(readlink(path, link, sizeof(link) - 1) > 0 &&
        strcmp(link, "/tmp/proc_self.file (deleted)") == 0);
  again = open(path, O_RDONLY);  // the file is still there
  CHECK(again >= 0 && read(again, text, 10) == 5);
  close(again);
  snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
  long position = -1, flags = 0;
  CHECK(Slurp(path, 4096) > 0 && sscanf(text, "pos: %ld flags: %lo", &position, &flags) == 2);
  CHECK(position == 5 && (flags & O_ACCMODE) == O_RDWR && (flags & O_CLOEXEC) != 0);
  int seen = 0;
  DIR* directory = opendir("/proc/self/fd");
  for (struct dirent* e; (e = readdir(directory)) != NULL;) seen |= atoi(e->d_name) == fd;
  closedir(directory);
  CHECK(seen);
  close(fd);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  CHECK_ERRNO(readlink(path, link, sizeof(link)), ENOENT);
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", pipes[0]);
  memset(link, 0, sizeof(link));
  CHECK(readlink(path, link, sizeof(link) - 1) > 0 && strncmp(link, "pipe:[", 6) == 0);
  close(pipes[0]);
  close(pipes[1]);
}

static pthread_barrier_t barrier;
static int thread_id;
static char thread_link[64];

static void* Thread(void* unused) {
  thread_id = syscall(SYS_gettid);
  prctl(PR_SET_NAME, "second");
  CHECK(readlink("/proc/thread-self", thread_link, sizeof(thread_link) - 1) > 0);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return unused;
}

static void Threads(void) {
  pthread_t thread;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_create(&thread, NULL, Thread, NULL);
  pthread_barrier_wait(&barrier);
  char path[64];
  snprintf(path, sizeof(path), "%d/task/%d", getpid(), thread_id);
  CHECK(strcmp(path, thread_link) == 0);
  snprintf(path, sizeof(path), "/proc/self/task/%d/comm", thread_id);
  CHECK(Slurp(path, 64) > 0 && strcmp(text, "second\n") == 0);
  int count = 0;
  DIR* directory = opendir("/proc/self/task");
  for (struct dirent* e; (e = readdir(directory)) != NULL;) count += e->d_name[0] != '.';
  closedir(directory);
  CHECK(count == 2);
  pthread_barrier_wait(&barrier);
  pthread_join(thread, NULL);
}

static void OtherProcesses(void) {
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  pid_t child = fork();
  if (child == 0) {
    char c;
    close(pipes[1]);
    _exit(read(pipes[0], &c, 1) != 0);
  }
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/status", child);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  snprintf(path, sizeof(path), "/proc/%d/", child);
  int directory = open(path, O_RDONLY | O_DIRECTORY);
  close(pipes[1]);
  siginfo_t info;
  CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
  CHECK(read(fd, text, 100) > 0);
  snprintf(path, sizeof(path), "/proc/%d/stat", child);
  CHECK(Slurp(path, 4096) > 0 && strstr(text, ") Z ") != NULL);
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK_ERRNO(read(fd, text, 100), ESRCH);
  CHECK(openat(directory, "stat", O_RDONLY) == -1 && (errno == ENOENT || errno == ESRCH));
  CHECK_ERRNO(open(path, O_RDONLY), ENOENT);
  close(fd);
  close(directory);
  close(pipes[0]);
  CHECK_ERRNO(open("/proc/01", O_RDONLY), ENOENT);
  CHECK_ERRNO(open("/proc/self/nothing", O_RDONLY), ENOENT);
}

static void Machine(void) {
  double up = 0, idle = 0;
  CHECK(Slurp("/proc/uptime", 4096) > 0 && sscanf(text, "%lf %lf", &up, &idle) == 2 && up > 0);
  CHECK(Slurp("/proc/cpuinfo", 4096) > 0);
  int processors = 0;
  for (const char* p = text; (p = strstr(p, "processor\t:")) != NULL; ++p) ++processors;
  CHECK(processors == sysconf(_SC_NPROCESSORS_ONLN));
  long total = 0;
  CHECK(Slurp("/proc/meminfo", 4096) > 0 && sscanf(text, "MemTotal: %ld kB", &total) == 1);
  CHECK(total > 1000);
  CHECK(Slurp("/proc/stat", 4096) > 0 && strncmp(text, "cpu  ", 5) == 0);
  CHECK(strstr(text, "\nbtime ") != NULL);
  CHECK(Slurp("/proc/loadavg", 4096) > 0 && strchr(text, '/') != NULL);
  CHECK(Slurp("/proc/version", 4096) > 0 && strncmp(text, "Linux version ", 14) == 0);
  CHECK(Slurp("/proc/self/mounts", 4096) > 0 && strstr(text, " /proc proc ") != NULL);
  CHECK(Slurp("/proc/self/mountinfo", 4096) > 0 && strstr(text, " - proc ") != NULL);
  CHECK(Slurp("/proc/sys/kernel/ostype", 4096) == 6 && strcmp(text, "Linux\n") == 0);
  char uuid[64];
  CHECK(Slurp("/proc/sys/kernel/random/uuid", 4096) == 37 && text[14] == '4');
  snprintf(uuid, sizeof(uuid), "%.60s", text);
  CHECK(Slurp("/proc/sys/kernel/random/uuid", 4096) == 37 && strcmp(uuid, text) != 0);
  CHECK(Slurp("/proc/self/limits", 4096) > 0 && strstr(text, "Max open files") != NULL);
  CHECK(Slurp("/sys/devices/system/cpu/possible", 4096) > 0 && text[0] == '0');
}

int main(int argc, char** argv) {
  (void)argc;
  Status();
  Comm();
  Maps();
  Arguments(argv);
  Descriptors();
  Threads();
  OtherProcesses();
  Machine();
  if (failures == 0) puts("ok");
  return failures != 0;
}
