// /proc read while processes come and go: no listing fails half-way or shows a process twice, and a
// file of one that is gone says so.
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "synth.h"

enum { kMakers = 3, kRounds = 80 };

static void make_processes(void) {
  for (int i = 0; i < kRounds; i++) {
    pid_t child = fork_clean();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
  }
  _exit(0);
}

// Reads files of process `pid`; only its end may get in the way.
static void read_files_of(const char* pid) {
  static const char* const names[] = {"stat", "status", "cmdline", "statm", "maps", "limits"};
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/%s", pid, names[i]);
    long n = slurp(path);
    if (n < 0) {
      CHECK(errno == ENOENT || errno == ESRCH || errno == EACCES);
    } else if (i == 0) {
      CHECK_EQ(strtol(text, NULL, 10), strtol(pid, NULL, 10));
      CHECK(strchr(text, ')') != NULL && text[n - 1] == '\n');
    } else if (i == 1) {
      CHECK_EQ(number_after("\nPid:"), strtol(pid, NULL, 10));
      CHECK(strstr(text, "nonvoluntary_ctxt_switches:") != NULL);
    }
  }
}

// One listing; how many processes it has.
static int list_all(void) {
  static unsigned char seen[4 << 20];
  memset(seen, 0, sizeof(seen));
  DIR* directory = opendir("/proc");
  CHECK(directory != NULL);
  int processes = 0, self = 0, last = 0;
  struct dirent* e;
  errno = 0;
  while ((e = readdir(directory)) != NULL) {
    char* end;
    long pid = strtol(e->d_name, &end, 10);
    if (*end == 0 && pid > 0 && pid < (long)sizeof(seen)) {
      CHECK_EQ(seen[pid], 0);
      CHECK(pid > last);
      last = (int)pid;
      seen[pid] = 1;
      processes++;
      self |= pid == getpid();
      read_files_of(e->d_name);
    }
    errno = 0;
  }
  CHECK_EQ(errno, 0);
  CHECK(self);
  closedir(directory);
  return processes;
}

// A directory that stays open while its process goes.
static void a_process_goes_while_it_is_looked_at(void) {
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  pid_t child = fork_clean();
  if (child == 0) {
    char c;
    close(pipes[1]);
    (void)!read(pipes[0], &c, 1);
    _exit(0);
  }
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d", child);
  int directory = open(path, O_RDONLY | O_DIRECTORY);
  int status = openat(directory, "status", O_RDONLY);
  snprintf(path, sizeof(path), "/proc/%d/task", child);
  DIR* tasks = opendir(path);
  snprintf(path, sizeof(path), "/proc/%d/fd", child);
  DIR* files = opendir(path);
  CHECK(directory >= 0 && status >= 0 && tasks && files);
  close(pipes[1]);
  waitpid(child, NULL, 0);
  CHECK(read(status, text, 10) == -1 && errno == ESRCH);
  CHECK(openat(directory, "stat", O_RDONLY) == -1 && (errno == ENOENT || errno == ESRCH));
  struct dirent* e;
  while ((e = readdir(tasks)) != NULL) CHECK(strtol(e->d_name, NULL, 10) != child);
  while ((e = readdir(files)) != NULL) CHECK(e->d_name[0] == '.');
  closedir(tasks);
  closedir(files);
  close(status);
  close(directory);
  close(pipes[0]);
}

int main(void) {
  RUN(a_process_goes_while_it_is_looked_at);
  pid_t makers[kMakers];
  for (int i = 0; i < kMakers; i++) {
    makers[i] = fork_clean();
    if (makers[i] == 0) make_processes();
  }
  int listings = 0;
  for (int left = kMakers; left > 0;) {
    CHECK(list_all() >= 1);
    listings++;
    for (int i = 0; i < kMakers; i++) {
      int status = 0;
      if (makers[i] != 0 && waitpid(makers[i], &status, WNOHANG) == makers[i]) {
        CHECK_EQ(status, 0);
        makers[i] = 0;
        left--;
      }
    }
  }
  CHECK(listings > 0);
  return check_result();
}
