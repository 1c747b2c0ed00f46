// The kernel log: syslog(2), /dev/kmsg, /proc/kmsg, and what it says of programs that die.
#include <poll.h>
#include <signal.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "synth.h"

enum { kRead = 2, kReadAll, kReadClear, kClear, kOff, kOn, kLevel, kUnread, kSize };

// The last record of /dev/kmsg, in `text`; its sequence number.
static long long last_record(void) {
  int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  CHECK(fd >= 0);
  long long sequence = -1;
  char record[8192];
  ssize_t n;
  while ((n = read(fd, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
    if (n < 0) continue;
    record[n] = 0;
    memcpy(text, record, (size_t)n + 1);
    int priority;
    CHECK_EQ(sscanf(record, "%d,%lld,", &priority, &sequence), 2);
  }
  CHECK_EQ(errno, EAGAIN);
  close(fd);
  return sequence;
}

static void the_log_opens_with_the_boot(void) {
  if (!in_sandbox()) return;
  int n = klogctl(kReadAll, text, sizeof(text));
  CHECK(n > 0);
  text[n] = 0;
  CHECK(strncmp(text, "<6>[    0.000000] Starting gVisor...\n", 37) == 0);
  CHECK(strstr(text, "] Ready!\n") != NULL);
  double last = -1;
  for (char* line = text; *line; line = strchr(line, '\n') + 1) {
    double at = -1;
    CHECK_EQ(sscanf(line, "<%*d>[%lf]", &at), 1);
    CHECK(at > last);
    last = at;
  }
}

static void records_are_read_written_and_sought(void) {
  int fd = open("/dev/kmsg", O_RDWR | O_NONBLOCK);
  CHECK(fd >= 0);
  CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
  struct pollfd p = {.fd = fd, .events = POLLIN};
  char record[8192];
  CHECK(read(fd, record, sizeof(record)) == -1 && errno == EAGAIN);
  CHECK_EQ(poll(&p, 1, 0), 0);
  CHECK_EQ(write(fd, "<14>synth: one\ttwo\n", 19), 19);
  CHECK(poll(&p, 1, 1000) == 1 && (p.revents & POLLIN));
  CHECK(read(fd, record, 10) == -1 && errno == EINVAL);
  ssize_t n = read(fd, record, sizeof(record) - 1);
  CHECK(n > 0);
  record[n > 0 ? n : 0] = 0;
  int priority = 0;
  long long sequence = 0, us = 0;
  CHECK_EQ(sscanf(record, "%d,%lld,%lld,-", &priority, &sequence, &us), 3);
  CHECK_EQ(priority, 14);
  CHECK(strstr(record, ";synth: one\\x09two\n") != NULL);
  CHECK(read(fd, record, sizeof(record)) == -1 && errno == EAGAIN);
  // Without a prefix: facility user, the default level.
  CHECK_EQ(write(fd, "synth: plain", 12), 12);
  n = read(fd, record, sizeof(record) - 1);
  CHECK(n > 0 && strncmp(record, "12,", 3) == 0);
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  CHECK(read(fd, record, sizeof(record)) > 0);
  CHECK_EQ(lseek(fd, 0, SEEK_DATA), 0);
  CHECK(lseek(fd, 1, SEEK_SET) == -1 && errno == ESPIPE);
  CHECK(lseek(fd, 0, SEEK_CUR) == -1 && errno == EINVAL);
  close(fd);
  fd = open("/dev/kmsg", O_WRONLY);
  CHECK(read(fd, record, 1) == -1 && errno == EBADF);
  close(fd);
}

static void syslog_actions(void) {
  CHECK(klogctl(kSize, NULL, 0) >= 1 << 14);
  CHECK(klogctl(kReadAll, NULL, 10) == -1 && errno == EINVAL);
  CHECK(klogctl(kReadAll, text, -1) == -1 && errno == EINVAL);
  CHECK_EQ(klogctl(kReadAll, text, 0), 0);
  CHECK(klogctl(99, text, 10) == -1 && errno == EINVAL);
  CHECK(klogctl(kLevel, NULL, 9) == -1 && errno == EINVAL);
  CHECK(klogctl(kLevel, NULL, 0) == -1 && errno == EINVAL);
  if (!in_sandbox()) return;
  CHECK_EQ(klogctl(kLevel, NULL, 7), 0);
  CHECK(slurp("/proc/sys/kernel/printk") > 0 && text[0] == '7');
  CHECK_EQ(klogctl(kOff, NULL, 0), 0);
  CHECK(slurp("/proc/sys/kernel/printk") > 0 && text[0] == '1');
  CHECK_EQ(klogctl(kOn, NULL, 0), 0);
  CHECK(slurp("/proc/sys/kernel/printk") > 0 && text[0] == '7');
  // Consumed once, read and cleared by others.
  CHECK(klogctl(kUnread, NULL, 0) > 0);
  while (klogctl(kUnread, NULL, 0) > 0) CHECK(klogctl(kRead, text, 4096) > 0);
  CHECK_EQ(put("/dev/kmsg", "<13>synth: unread"), 0);
  int n = klogctl(kUnread, NULL, 0);
  CHECK(n > 0);
  int fd = open("/proc/kmsg", O_RDONLY | O_NONBLOCK);
  CHECK(fd >= 0);
  CHECK_EQ(read(fd, text, sizeof(text)), n);
  CHECK(strstr(text, "] synth: unread\n") != NULL && strncmp(text, "<13>[", 5) == 0);
  CHECK(read(fd, text, sizeof(text)) == -1 && errno == EAGAIN);
  close(fd);
  CHECK(klogctl(kReadClear, text, sizeof(text)) > 0);
  CHECK_EQ(klogctl(kReadAll, text, sizeof(text)), 0);
  CHECK_EQ(put("/dev/kmsg", "<13>synth: after"), 0);
  n = klogctl(kReadAll, text, sizeof(text));
  CHECK(n > 0);
  text[n > 0 ? n : 0] = 0;
  CHECK_EQ(count_of("\n"), 1);
  CHECK_EQ(klogctl(kClear, NULL, 0), 0);
  CHECK_EQ(klogctl(kReadAll, text, sizeof(text)), 0);
}

// A blocked reader wakes up when something is printed.
static void a_reader_waits(void) {
  int fd = open("/dev/kmsg", O_RDONLY);
  CHECK(fd >= 0);
  CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
  pid_t child = fork_clean();
  if (child == 0) {
    usleep(50000);
    _exit(put("/dev/kmsg", "synth: wake up"));
  }
  ssize_t n = read(fd, text, 4096);
  CHECK(n > 0);
  text[n > 0 ? n : 0] = 0;
  CHECK(strstr(text, ";synth: wake up\n") != NULL);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(fd);
}

static void die(int how) {
  prctl(PR_SET_NAME, "synth-dies");
  switch (how) {
    case 0:
      *(volatile int*)8 = 1;
      break;
    case 1:
      (void)*(volatile int*)0xdeadbeefcafe0000;  // not canonical
      break;
    case 2:
      __asm__ volatile("ud2");
      break;
    case 3: {
      volatile int zero = 0;
      volatile int quotient = 7 / zero;
      (void)quotient;
      break;
    }
  }
  _exit(0);
}

static void the_log_says_who_died(void) {
  static const char* const words[] = {"]: segfault at 8 ip ", "] general protection ip:",
                                      "] trap invalid opcode ip:", "] trap divide error ip:"};
  static const int signals[] = {SIGSEGV, SIGSEGV, SIGILL, SIGFPE};
  for (int how = 0; how < 4; how++) {
    long long before = last_record();
    pid_t child = fork_clean();
    if (child == 0) die(how);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(WTERMSIG(status), signals[how]);
    if (!in_sandbox()) continue;  // newer kernels say more, and some hosts nothing
    CHECK(last_record() > before);
    char name[64];
    snprintf(name, sizeof(name), "synth-dies[%d", child);
    CHECK(strstr(text, name) != NULL && strstr(text, words[how]) != NULL);
    CHECK(strstr(text, " in synth_kmsg[") != NULL);
    if (how == 0) CHECK(strstr(text, " error ") != NULL);
    if (how > 0) CHECK(strstr(text, ";traps: ") != NULL);
  }
  // A handler keeps it out of the log, and so does a signal that was sent.
  long long before = last_record();
  pid_t child = fork_clean();
  if (child == 0) {
    kill(getpid(), SIGSEGV);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK(!in_sandbox() || last_record() == before);
}

static void others_may_look_unless_restricted(void) {
  if (!in_sandbox()) return;
  CHECK_EQ(put("/dev/kmsg", "synth: something to see"), 0);
  for (int restricted = 0; restricted < 2; restricted++) {
    CHECK_EQ(put("/proc/sys/kernel/dmesg_restrict", restricted ? "1" : "0"), 0);
    pid_t child = fork_clean();
    if (child == 0) {
      if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
      CHECK_EQ(klogctl(kReadAll, text, sizeof(text)) > 0, !restricted);
      int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
      CHECK_EQ(fd >= 0, !restricted);
      CHECK(klogctl(kClear, NULL, 0) == -1 && errno == EPERM);
      CHECK(open("/proc/kmsg", O_RDONLY) == -1 && errno == EACCES);
      CHECK(open("/dev/kmsg", O_WRONLY) == -1 && errno == EACCES);
      _exit(check_result());
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
  }
  CHECK_EQ(put("/proc/sys/kernel/dmesg_restrict", "0"), 0);
}

int main(void) {
  if (geteuid() != 0) return 0;
  if (!in_sandbox()) {
    // A host may keep programs from writing into its log, or from seeing it at all.
    if (access("/dev/kmsg", R_OK | W_OK) != 0) return 0;
    if (slurp("/proc/sys/kernel/printk_devkmsg") <= 0 || strncmp(text, "on", 2) != 0) {
      RUN(the_log_says_who_died);
      return check_result();
    }
  }
  RUN(the_log_opens_with_the_boot);
  RUN(records_are_read_written_and_sought);
  RUN(syslog_actions);
  RUN(a_reader_waits);
  RUN(the_log_says_who_died);
  RUN(others_may_look_unless_restricted);
  return check_result();
}
