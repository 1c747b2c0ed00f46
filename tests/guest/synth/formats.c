// The files that programs look for are there, with the modes and the form that Linux gives them
// (proc(5), sysfs(5), Documentation/filesystems/proc.txt of 4.4).
#include <dirent.h>
#include <netinet/in.h>
#include <regex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "synth.h"

struct file {
  const char* path;
  int mode;
};

static void check_files(const struct file* list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct stat st;
    if (lstat(list[i].path, &st) != 0 || (st.st_mode & 07777) != (mode_t)list[i].mode) {
      fprintf(stderr, "%s: %s, mode %o\n", list[i].path, strerror(errno), st.st_mode & 07777);
      check_failures++;
    }
  }
}

static void process_files_are_there(void) {
  static const struct file list[] = {
      {"/proc/self/attr", 0555},
      {"/proc/self/attr/current", 0666},
      {"/proc/self/attr/prev", 0444},
      {"/proc/self/auxv", 0400},
      {"/proc/self/cgroup", 0444},
      {"/proc/self/clear_refs", 0200},
      {"/proc/self/cmdline", 0444},
      {"/proc/self/comm", 0644},
      {"/proc/self/coredump_filter", 0644},
      {"/proc/self/cpuset", 0444},
      {"/proc/self/cwd", 0777},
      {"/proc/self/environ", 0400},
      {"/proc/self/exe", 0777},
      {"/proc/self/gid_map", 0644},
      {"/proc/self/io", 0400},
      {"/proc/self/limits", 0444},
      {"/proc/self/loginuid", 0644},
      {"/proc/self/maps", 0444},
      {"/proc/self/mem", 0600},
      {"/proc/self/mountinfo", 0444},
      {"/proc/self/mounts", 0444},
      {"/proc/self/mountstats", 0400},
      {"/proc/self/net", 0555},
      {"/proc/self/ns", 0511},
      {"/proc/self/numa_maps", 0444},
      {"/proc/self/oom_adj", 0644},
      {"/proc/self/oom_score", 0444},
      {"/proc/self/oom_score_adj", 0644},
      {"/proc/self/pagemap", 0400},
      {"/proc/self/personality", 0400},
      {"/proc/self/projid_map", 0644},
      {"/proc/self/root", 0777},
      {"/proc/self/schedstat", 0444},
      {"/proc/self/sessionid", 0444},
      {"/proc/self/setgroups", 0644},
      {"/proc/self/smaps", 0444},
      {"/proc/self/stat", 0444},
      {"/proc/self/statm", 0444},
      {"/proc/self/status", 0444},
      {"/proc/self/syscall", 0400},
      {"/proc/self/task", 0555},
      {"/proc/self/timers", 0444},
      {"/proc/self/timerslack_ns", 0666},
      {"/proc/self/uid_map", 0644},
      {"/proc/self/wchan", 0444},
      {"/proc/thread-self/children", 0444},
      {"/proc/thread-self/stat", 0444},
  };
  check_files(list, sizeof(list) / sizeof(*list));
  if (!in_sandbox()) return;
  static const struct file optional[] = {{"/proc/self/sched", 0644}, {"/proc/self/stack", 0400}};
  check_files(optional, sizeof(optional) / sizeof(*optional));
}

static void system_files_are_there(void) {
  static const struct file list[] = {
      {"/proc/buddyinfo", 0444},
      {"/proc/bus", 0555},
      {"/proc/cgroups", 0444},
      {"/proc/cmdline", 0444},
      {"/proc/consoles", 0444},
      {"/proc/cpuinfo", 0444},
      {"/proc/crypto", 0444},
      {"/proc/devices", 0444},
      {"/proc/diskstats", 0444},
      {"/proc/driver", 0555},
      {"/proc/execdomains", 0444},
      {"/proc/filesystems", 0444},
      {"/proc/fs", 0555},
      {"/proc/interrupts", 0444},
      {"/proc/irq", 0555},
      {"/proc/kallsyms", 0444},
      {"/proc/key-users", 0444},
      {"/proc/kmsg", 0400},
      {"/proc/loadavg", 0444},
      {"/proc/locks", 0444},
      {"/proc/meminfo", 0444},
      {"/proc/misc", 0444},
      {"/proc/mounts", 0777},
      {"/proc/net", 0777},
      {"/proc/partitions", 0444},
      {"/proc/softirqs", 0444},
      {"/proc/stat", 0444},
      {"/proc/swaps", 0444},
      {"/proc/sys", 0555},
      {"/proc/sysrq-trigger", 0200},
      {"/proc/tty/drivers", 0444},
      {"/proc/tty/ldiscs", 0444},
      {"/proc/uptime", 0444},
      {"/proc/version", 0444},
      {"/proc/vmstat", 0444},
      {"/proc/zoneinfo", 0444},
      {"/proc/net/arp", 0444},
      {"/proc/net/dev", 0444},
      {"/proc/net/netstat", 0444},
      {"/proc/net/protocols", 0444},
      {"/proc/net/route", 0444},
      {"/proc/net/snmp", 0444},
      {"/proc/net/sockstat", 0444},
      {"/proc/net/tcp", 0444},
      {"/proc/net/udp", 0444},
      {"/proc/net/unix", 0444},
      {"/sys/block", 0755},
      {"/sys/bus", 0755},
      {"/sys/class/net", 0755},
      {"/sys/dev/char", 0755},
      {"/sys/devices/system/cpu", 0755},
      {"/sys/devices/system/cpu/online", 0444},
      {"/sys/devices/system/node/node0/cpulist", 0444},
      {"/sys/fs/cgroup", 0755},
      {"/sys/kernel/mm/transparent_hugepage/enabled", 0644},
  };
  size_t n = sizeof(list) / sizeof(*list);
  for (size_t i = 0; i < n; i++) {
    struct stat st;
    if (lstat(list[i].path, &st) == 0) {
      // Directories of sysfs are writable by root on Linux; ours is read-only and says so or not.
      if (S_ISDIR(st.st_mode) && strncmp(list[i].path, "/sys", 4) == 0) continue;
      if ((st.st_mode & 07777) == (mode_t)list[i].mode) continue;
    } else if (!in_sandbox()) {
      continue;  // hosts are configured in many ways
    }
    fprintf(stderr, "%s: mode %o\n", list[i].path, st.st_mode & 07777);
    check_failures++;
  }
  if (!in_sandbox()) return;
  struct stat st;
  static const char* const absent[] = {"/proc/config.gz", "/proc/pressure", "/sys/firmware/dmi",
                                       "/sys/firmware/acpi", "/proc/acpi"};
  for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++) {
    CHECK(stat(absent[i], &st) == -1 && errno == ENOENT);
  }
}

// All of `path` matches the extended expression `form`.
static void has_form(const char* path, const char* form) {
  regex_t expression;
  char whole[4096];
  snprintf(whole, sizeof(whole), "^(%s)$", form);
  CHECK_EQ(regcomp(&expression, whole, REG_EXTENDED | REG_NOSUB), 0);
  CHECK(slurp(path) > 0);
  if (regexec(&expression, text, 0, NULL, 0) != 0) {
    fprintf(stderr, "%s has not the form %s:\n%s", path, form, text);
    check_failures++;
  }
  regfree(&expression);
}

static void texts_have_their_form(void) {
  has_form("/proc/uptime", "[0-9]+\\.[0-9]{2} [0-9]+\\.[0-9]{2}\n");
  has_form("/proc/loadavg", "([0-9]+\\.[0-9]{2} ){3}[1-9][0-9]*/[1-9][0-9]* [0-9]+\n");
  has_form("/proc/version", "Linux version .*#.*\n");
  has_form("/proc/self/statm", "([0-9]+ ){4}0 [0-9]+ 0\n");
  has_form("/proc/self/stat",
           "[0-9]+ \\(.*\\) R [0-9]+ [0-9]+ [0-9]+ -?[0-9]+ -?[0-9]+ [0-9]+( [0-9]+){8}( "
           "-?[0-9]+){4}( [0-9]+){16}( -?[0-9]+) [0-9]+( [0-9]+){13}\n");
  has_form("/proc/self/io",
           "rchar: [0-9]+\nwchar: [0-9]+\nsyscr: [0-9]+\nsyscw: [0-9]+\nread_bytes: "
           "[0-9]+\nwrite_bytes: [0-9]+\ncancelled_write_bytes: [0-9]+\n");
  has_form("/proc/self/schedstat", "[0-9]+ [0-9]+ [0-9]+\n");
  has_form("/proc/self/personality", "[0-9a-f]{8}\n");
  has_form("/proc/self/coredump_filter", "[0-9a-f]{8}\n");
  has_form("/proc/self/syscall", "0( 0x[0-9a-f]+){8}\n");
  has_form("/proc/self/oom_score", "[0-9]+\n");
  has_form("/proc/self/timerslack_ns", "50000\n");
  has_form("/proc/self/uid_map", "( +[0-9]+ +[0-9]+ +[0-9]+\n)+");
  has_form("/proc/self/numa_maps", "([0-9a-f]+ [a-z]+.*\n)+");
  has_form("/proc/self/cgroup", "([0-9]+:[^:]*:.*\n)+");
  has_form("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t+Used\t+Priority\n(.*\n)*");
  has_form("/proc/key-users", "( *[0-9]+: +[0-9]+ [0-9]+/[0-9]+ [0-9]+/[0-9]+ [0-9]+/[0-9]+\n)+");
  has_form("/proc/buddyinfo", "(Node [0-9], zone +[A-Za-z0-9]+( +[0-9]+){11} \n)+");
  has_form("/proc/softirqs", "( +CPU[0-9]+)+ *\n( *[A-Z_]+:( +[0-9]+)+\n)+");
  has_form("/proc/interrupts", "( +CPU[0-9]+)+ *\n( *[0-9A-Z]+:.*\n)+");
  has_form("/proc/devices",
           "Character devices:\n( *[0-9]+ .*\n)+\nBlock devices:\n( *[0-9]+ .*\n)*");
  has_form("/proc/net/psched", "([0-9a-f]{8} ?){4}\n");
  has_form("/proc/sys/kernel/random/uuid",
           "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n");
  if (!in_sandbox()) return;
  has_form("/proc/cmdline", "BOOT_IMAGE=/vmlinuz-4\\.4\\.0-gvisor quiet\n");
  has_form("/proc/self/setgroups", "allow\n");
  has_form("/proc/self/stack", "\\[<ffffffffffffffff>\\] 0xffffffffffffffff\n");
  has_form("/proc/self/sched", ".* \\([0-9]+, #threads: 1\\)\n-+\n([a-z._-]+ +: +[0-9.]+\n)+");
}

// The lines of status and meminfo, in 4.4's order.
static void lines_come_in_order(void) {
  if (!in_sandbox()) return;
  static const char* const status =
      "Name State Tgid Ngid Pid PPid TracerPid Uid Gid FDSize Groups NStgid NSpid NSpgid NSsid "
      "VmPeak VmSize VmLck VmPin VmHWM VmRSS VmData VmStk VmExe VmLib VmPTE VmPMD VmSwap "
      "HugetlbPages Threads SigQ SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd "
      "CapAmb Seccomp Cpus_allowed Cpus_allowed_list Mems_allowed Mems_allowed_list "
      "voluntary_ctxt_switches nonvoluntary_ctxt_switches ";
  static const char* const meminfo =
      "MemTotal MemFree MemAvailable Buffers Cached SwapCached Active Inactive Active(anon) "
      "Inactive(anon) Active(file) Inactive(file) Unevictable Mlocked SwapTotal SwapFree Dirty "
      "Writeback AnonPages Mapped Shmem Slab SReclaimable SUnreclaim KernelStack PageTables "
      "NFS_Unstable Bounce WritebackTmp CommitLimit Committed_AS VmallocTotal VmallocUsed "
      "VmallocChunk AnonHugePages HugePages_Total HugePages_Free HugePages_Rsvd HugePages_Surp "
      "Hugepagesize DirectMap4k ";
  const char* const files[][2] = {{"/proc/self/status", status}, {"/proc/meminfo", meminfo}};
  for (int i = 0; i < 2; i++) {
    char keys[4096] = "";
    CHECK(slurp(files[i][0]) > 0);
    for (char* line = text; *line; line = strchr(line, '\n') + 1) {
      size_t n = strcspn(line, ":");
      strncat(keys, line, n);
      strcat(keys, " ");
    }
    if (strcmp(keys, files[i][1]) != 0) fprintf(stderr, "%s\n", keys);
    CHECK(strcmp(keys, files[i][1]) == 0);
  }
}

static void sockets_are_listed(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CHECK_EQ(bind(listener, (struct sockaddr*)&in, sizeof(in)), 0);
  CHECK_EQ(listen(listener, 5), 0);
  socklen_t size = sizeof(in);
  CHECK_EQ(getsockname(listener, (struct sockaddr*)&in, &size), 0);
  struct stat st;
  CHECK_EQ(fstat(listener, &st), 0);
  char key[128];
  CHECK(slurp("/proc/net/tcp") > 0);
  snprintf(key, sizeof(key),
           ": 0100007F:%04X 00000000:0000 0A 00000000:00000000 00:00000000 "
           "00000000 %5u        0 %lu ",
           ntohs(in.sin_port), getuid(), (unsigned long)st.st_ino);
  CHECK(strstr(text, key) != NULL);
  CHECK_EQ(strchr(text, '\n') - text, 149);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(client, (struct sockaddr*)&in, sizeof(in)), 0);
  CHECK(slurp("/proc/net/tcp") > 0);
  snprintf(key, sizeof(key), " 0100007F:%04X 01 ", ntohs(in.sin_port));
  CHECK(strstr(text, key) != NULL);
  close(client);
  close(listener);
  int un = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0synth formats"};
  CHECK_EQ(bind(un, (struct sockaddr*)&name, sizeof(sa_family_t) + 14), 0);
  CHECK_EQ(listen(un, 1), 0);
  CHECK_EQ(fstat(un, &st), 0);
  CHECK(slurp("/proc/net/unix") > 0);
  snprintf(key, sizeof(key), " 00000000 00010000 0001 01 %5lu @synth formats\n",
           (unsigned long)st.st_ino);
  CHECK(strstr(text, key) != NULL);
  close(un);
}

static void locks_are_listed(void) {
  int fd = open("synth_formats.lock", O_RDWR | O_CREAT | O_TRUNC, 0600);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK(slurp("/proc/locks") > 0);
  char key[128];
  snprintf(key, sizeof(key), "POSIX  ADVISORY  WRITE %d ", getpid());
  CHECK(strstr(text, key) != NULL);
  snprintf(key, sizeof(key), ":%lu 10 29\n", (unsigned long)st.st_ino);
  CHECK(strstr(text, key) != NULL);
  close(fd);
  unlink("synth_formats.lock");
}

static void a_sleeper_shows_where(void) {
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  pid_t child = fork_clean();
  if (child == 0) {
    char c;
    close(pipes[1]);
    _exit((int)read(pipes[0], &c, 1));
  }
  char path[64], state = 0;
  snprintf(path, sizeof(path), "/proc/%d/stat", child);
  for (int i = 0; i < 500 && state != 'S'; i++) {
    usleep(10000);
    if (slurp(path) > 0) state = strrchr(text, ')')[2];
  }
  CHECK_EQ(state, 'S');
  snprintf(path, sizeof(path), "/proc/%d/syscall", child);
  char key[64];
  snprintf(key, sizeof(key), "0 0x%x 0x", pipes[0]);
  CHECK(slurp(path) > 0 && strncmp(text, key, strlen(key)) == 0);
  snprintf(path, sizeof(path), "/proc/%d/wchan", child);
  CHECK(slurp(path) > 0);
  close(pipes[1]);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  close(pipes[0]);
}

static void pages_show_in_pagemap(void) {
  char* p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, 4 * 4096, MADV_NOHUGEPAGE);
  p[4096] = 1;
  int fd = open("/proc/self/pagemap", O_RDONLY);
  CHECK(fd >= 0);
  uint64_t entries[4] = {0};
  CHECK_EQ(pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)p / 4096 * 8)), sizeof(entries));
  CHECK_EQ(entries[1] >> 63, 1);
  CHECK_EQ(entries[3] >> 63, 0);
  CHECK(pread(fd, entries, 7, 0) == -1 && errno == EINVAL);
  CHECK(pread(fd, entries, 8, 4) == -1 && errno == EINVAL);
  close(fd);
  munmap(p, 4 * 4096);
}

// What others may not see.
static void others_are_kept_out(void) {
  if (geteuid() != 0) return;
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  pid_t target = fork_clean();
  if (target == 0) {
    char c;
    close(pipes[1]);
    _exit((int)read(pipes[0], &c, 1));
  }
  pid_t child = fork_clean();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    static const struct {
      const char* name;
      int open_error, read_error;
    } files[] = {{"stat", 0, 0},           {"status", 0, 0},          {"cmdline", 0, 0},
                 {"limits", 0, 0},         {"oom_score", 0, 0},       {"wchan", 0, 0},
                 {"schedstat", 0, 0},      {"maps", EACCES, 0},       {"smaps", EACCES, 0},
                 {"numa_maps", EACCES, 0}, {"environ", EACCES, 0},    {"auxv", EACCES, 0},
                 {"mem", EACCES, 0},       {"pagemap", EACCES, 0},    {"io", EACCES, 0},
                 {"syscall", EACCES, 0},   {"personality", EACCES, 0}};
    char path[64];
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
      snprintf(path, sizeof(path), "/proc/%d/%s", target, files[i].name);
      int fd = open(path, O_RDONLY);
      if ((fd < 0 ? errno : 0) != files[i].open_error) fprintf(stderr, "%s\n", path);
      CHECK_EQ(fd < 0 ? errno : 0, files[i].open_error);
      close(fd);
    }
    snprintf(path, sizeof(path), "/proc/%d/exe", target);
    CHECK(readlink(path, text, 100) == -1 && errno == EACCES);
    snprintf(path, sizeof(path), "/proc/%d/ns/pid", target);
    CHECK(readlink(path, text, 100) == -1 && errno == EACCES);
    snprintf(path, sizeof(path), "/proc/%d/fd", target);
    CHECK(opendir(path) == NULL && errno == EACCES);
    // Addresses in stat are hidden: 1 for the code, 0 for the stack.
    snprintf(path, sizeof(path), "/proc/%d/stat", target);
    CHECK(slurp(path) > 0);
    char* p = strrchr(text, ')') + 2;
    for (int i = 3; i < 26; i++) p = strchr(p, ' ') + 1;
    CHECK(strncmp(p, "1 1 0 0 0 ", 10) == 0);
    _exit(check_result());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(pipes[1]);
  waitpid(target, NULL, 0);
}

static void the_interface_is_there(void) {
  CHECK(slurp("/sys/class/net/lo/address") > 0 && strcmp(text, "00:00:00:00:00:00\n") == 0);
  CHECK(slurp("/sys/class/net/lo/mtu") > 0 && strcmp(text, "65536\n") == 0);
  CHECK(slurp("/sys/class/net/lo/type") > 0 && strcmp(text, "772\n") == 0);
  CHECK(slurp("/sys/class/net/lo/speed") == -1 && errno == EINVAL);
  CHECK(slurp("/proc/net/dev") > 0 && strstr(text, "\n    lo: ") != NULL);
  CHECK(slurp("/sys/dev/char/1:3/uevent") > 0 && strstr(text, "DEVNAME=null\n") != NULL);
  struct stat st;
  CHECK(stat("/sys/class/net/lo/mtu", &st) == 0 && st.st_size == 4096);
}

int main(void) {
  RUN(process_files_are_there);
  RUN(system_files_are_there);
  RUN(texts_have_their_form);
  RUN(lines_come_in_order);
  RUN(sockets_are_listed);
  RUN(locks_are_listed);
  RUN(a_sleeper_shows_where);
  RUN(pages_show_in_pagemap);
  RUN(others_are_kept_out);
  RUN(the_interface_is_there);
  return check_result();
}
