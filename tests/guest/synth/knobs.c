// /proc/sys: what acts acts, what is out of range is refused, what is written is read again.
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "synth.h"

// Writes `value` and expects to read it, then puts the old value back.
static void keeps(const char* path, const char* value) {
  char old[256], expected[256];
  CHECK(slurp(path) > 0);
  snprintf(old, sizeof(old), "%.200s", text);
  CHECK_EQ(put(path, value), 0);
  CHECK(slurp(path) > 0);
  snprintf(expected, sizeof(expected), "%s\n", value);
  if (strcmp(text, expected) != 0) fprintf(stderr, "%s: %s", path, text);
  CHECK(strcmp(text, expected) == 0);
  CHECK_EQ(put(path, old), 0);
}

static void values_are_kept(void) {
  keeps("/proc/sys/vm/swappiness", "10");
  keeps("/proc/sys/vm/overcommit_memory", "1");
  keeps("/proc/sys/kernel/sysrq", "-1");
  keeps("/proc/sys/kernel/core_pattern", "/tmp/core.%e.%p");
  keeps("/proc/sys/net/core/rmem_max", "4194304");
  keeps("/proc/sys/net/ipv4/tcp_rmem", "4096\t8192\t16384");
  keeps("/proc/sys/net/ipv4/tcp_congestion_control", "reno");
  keeps("/proc/sys/kernel/hostname", "elsewhere");
  keeps("/proc/sys/kernel/domainname", "example.org");
}

static void bounds_are_kept(void) {
  static const char* const bad[][2] = {{"/proc/sys/vm/swappiness", "101"},
                                       {"/proc/sys/vm/swappiness", "-1"},
                                       {"/proc/sys/vm/overcommit_memory", "3"},
                                       {"/proc/sys/kernel/dmesg_restrict", "2"},
                                       {"/proc/sys/kernel/pid_max", "300"},
                                       {"/proc/sys/kernel/pid_max", "4194305"},
                                       {"/proc/sys/fs/nr_open", "1"},
                                       {"/proc/sys/vm/drop_caches", "0"},
                                       {"/proc/sys/kernel/panic", "2147483648"},
                                       {"/proc/sys/kernel/panic", "12monkeys"},
                                       {"/proc/sys/kernel/panic", ""},
                                       {"/proc/sys/net/ipv4/ip_local_port_range", "0 8"},
                                       {"/proc/sys/kernel/modules_disabled", "0"}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    if (*bad[i][1] == 0) continue;
    int error = put(bad[i][0], bad[i][1]);
    if (error != EINVAL) fprintf(stderr, "%s = %s\n", bad[i][0], bad[i][1]);
    CHECK_EQ(error, EINVAL);
  }
  // Constants cannot be opened to write, even by root.
  CHECK_EQ(put("/proc/sys/kernel/ostype", "BSD"), EACCES);
  CHECK_EQ(put("/proc/sys/kernel/random/boot_id", "x"), EACCES);
  // More numbers than there are: the rest is not looked at. Fewer: the others stay.
  CHECK_EQ(put("/proc/sys/net/ipv4/tcp_wmem", "4096 16385"), 0);
  CHECK(slurp("/proc/sys/net/ipv4/tcp_wmem") > 0);
  CHECK(strcmp(text, "4096\t16385\t4194304\n") == 0);
}

static void others_may_only_look(void) {
  pid_t child = fork_clean();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    CHECK(slurp("/proc/sys/vm/swappiness") > 0);
    CHECK_EQ(put("/proc/sys/vm/swappiness", "1"), EACCES);
    CHECK(open("/proc/sys/net/ipv4/tcp_fastopen_key", O_RDONLY) == -1 && errno == EACCES);
    _exit(check_result());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

static pid_t next_pid(void) {
  pid_t child = fork_clean();
  if (child == 0) _exit(0);
  waitpid(child, NULL, 0);
  return child;
}

static void pids_are_given_as_told(void) {
  CHECK_EQ(put("/proc/sys/kernel/ns_last_pid", "5000"), 0);
  CHECK_EQ(next_pid(), 5001);
  CHECK_EQ(put("/proc/sys/kernel/pid_max", "5004"), 0);
  CHECK_EQ(next_pid(), 5002);
  CHECK_EQ(next_pid(), 5003);
  CHECK_EQ(next_pid(), 300);
  CHECK_EQ(put("/proc/sys/kernel/pid_max", "32768"), 0);
}

static void limits_are_obeyed(void) {
  struct rlimit limit = {100, 2 << 20};
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == -1 && errno == EPERM);
  CHECK_EQ(put("/proc/sys/fs/nr_open", "4194304"), 0);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);

  CHECK_EQ(put("/proc/sys/fs/inotify/max_user_instances", "0"), 0);
  CHECK(inotify_init() == -1 && errno == EMFILE);
  CHECK_EQ(put("/proc/sys/fs/inotify/max_user_instances", "128"), 0);
  CHECK(inotify_init() >= 0);

  CHECK_EQ(put("/proc/sys/vm/max_map_count", "40"), 0);
  int refused = 0;
  for (int i = 0; i < 100 && !refused; i++) {
    refused = mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0) == MAP_FAILED;
  }
  CHECK(refused && errno == ENOMEM);
  CHECK_EQ(put("/proc/sys/vm/max_map_count", "65530"), 0);
}

static void the_address_space_is_random_or_not(void) {
  char first[64] = "";
  CHECK_EQ(put("/proc/sys/kernel/randomize_va_space", "0"), 0);
  for (int i = 0; i < 2; i++) {
    FILE* p = popen("grep -m1 stack /proc/self/maps | cut -d- -f2", "r");
    if (!p || !fgets(text, 64, p)) {
      if (p) pclose(p);
      break;  // no shell here
    }
    pclose(p);
    if (i == 0) strncpy(first, text, 63);
    if (i == 1) CHECK(strcmp(first, text) == 0);
  }
  CHECK_EQ(put("/proc/sys/kernel/randomize_va_space", "2"), 0);
}

static void processes_take_settings(void) {
  CHECK_EQ(put("/proc/self/oom_score_adj", "500"), 0);
  CHECK(slurp("/proc/self/oom_score_adj") > 0 && strcmp(text, "500\n") == 0);
  CHECK(slurp("/proc/self/oom_adj") > 0 && strcmp(text, "8\n") == 0);
  CHECK(slurp("/proc/self/oom_score") > 0 && strtol(text, NULL, 10) >= 500);
  CHECK_EQ(put("/proc/self/oom_score_adj", "1001"), EINVAL);
  CHECK_EQ(put("/proc/self/oom_score_adj", "x"), EINVAL);
  CHECK_EQ(put("/proc/self/oom_adj", "16"), EINVAL);
  CHECK_EQ(put("/proc/self/oom_adj", "15"), 0);
  CHECK(slurp("/proc/self/oom_score_adj") > 0 && strcmp(text, "1000\n") == 0);
  CHECK_EQ(put("/proc/self/oom_score_adj", "0"), 0);
  CHECK_EQ(put("/proc/self/coredump_filter", "0x7f"), 0);
  CHECK(slurp("/proc/self/coredump_filter") > 0 && strcmp(text, "0000007f\n") == 0);
  CHECK_EQ(put("/proc/self/timerslack_ns", "12345"), 0);
  CHECK(slurp("/proc/self/timerslack_ns") > 0 && strcmp(text, "12345\n") == 0);
  CHECK_EQ(put("/proc/self/clear_refs", "6"), EINVAL);
  CHECK_EQ(put("/proc/self/clear_refs", "1"), 0);
  CHECK(slurp("/proc/self/loginuid") > 0 && strcmp(text, "4294967295") == 0);
  CHECK_EQ(put("/proc/self/loginuid", "1000"), 0);
  CHECK(slurp("/proc/self/loginuid") > 0 && strcmp(text, "1000") == 0);
  CHECK(slurp("/proc/self/sessionid") > 0 && strcmp(text, "1") == 0);
  pid_t child = fork_clean();
  if (child == 0) {
    CHECK(slurp("/proc/self/loginuid") > 0 && strcmp(text, "1000") == 0);
    CHECK(slurp("/proc/self/coredump_filter") > 0 && strcmp(text, "0000007f\n") == 0);
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    CHECK(put("/proc/self/oom_score_adj", "-1") == EACCES);
    _exit(check_result());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

int main(void) {
  if (geteuid() != 0) return 0;
  RUN(values_are_kept);
  RUN(bounds_are_kept);
  RUN(others_may_only_look);
  RUN(pids_are_given_as_told);
  RUN(limits_are_obeyed);
  RUN(the_address_space_is_random_or_not);
  RUN(processes_take_settings);
  return check_result();
}
