// What is told of CPUs, memory, time and work is true, and the same wherever it is told.
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/wait.h>

#include "synth.h"

// Field `n` (from 1, as proc(5) counts) of /proc/self/stat.
static long long stat_field(int n) {
  if (slurp("/proc/self/stat") <= 0) return -1;
  char* p = strrchr(text, ')') + 2;
  for (int i = 3; i < n; i++) p = strchr(p, ' ') + 1;
  return strtoll(p, NULL, 10);
}

static void cpus_are_counted_alike(void) {
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  CHECK(online >= 1);
  CHECK(slurp("/proc/cpuinfo") > 0);
  CHECK_EQ(count_of("processor\t:"), online);
  CHECK(slurp("/proc/stat") > 0);
  int rows = 0;
  for (const char* p = text; (p = strstr(p, "\ncpu")) != NULL; p++) rows += p[4] != ' ';
  CHECK_EQ(rows, online);
  CHECK(slurp("/sys/devices/system/cpu/online") > 0);
  char expected[32];
  if (online == 1) {
    snprintf(expected, sizeof(expected), "0\n");
  } else {
    snprintf(expected, sizeof(expected), "0-%ld\n", online - 1);
  }
  CHECK(strcmp(text, expected) == 0);
  char path[64];
  for (long i = 0; i < online; i++) {
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/topology/core_id", i);
    CHECK(slurp(path) > 0);
  }
  if (!in_sandbox()) return;  // a host's test may run on fewer CPUs than there are
  cpu_set_t set;
  CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  CHECK_EQ(CPU_COUNT(&set), online);
  snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld", online);
  struct stat st;
  CHECK_EQ(stat(path, &st), -1);
  CHECK_EQ(sysconf(_SC_NPROCESSORS_CONF), online);
  CHECK(slurp("/sys/devices/system/node/node0/cpulist") > 0);
  CHECK(strcmp(text, expected) == 0);
}

static void memory_is_told_alike(void) {
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(slurp("/proc/meminfo") > 0);
  long long total = number_after("MemTotal:"), free_kb = number_after("MemFree:");
  CHECK_EQ(total, (long long)(info.totalram * info.mem_unit / 1024));
  CHECK_EQ(total, sysconf(_SC_PHYS_PAGES) * 4);
  CHECK(free_kb > 0 && free_kb <= total);
  CHECK(number_after("MemAvailable:") <= total);
  CHECK(number_after("Cached:") >= 0 && number_after("Shmem:") >= 0);
  if (!in_sandbox()) return;  // a host may have more nodes
  CHECK(slurp("/sys/devices/system/node/node0/meminfo") > 0);
  CHECK_EQ(number_after("Node 0 MemTotal:"), total);
}

// Touching memory shows: resident, faults, peak, and what is left for others.
static void memory_in_use_shows(void) {
  const size_t size = 64 << 20;
  CHECK(slurp("/proc/meminfo") > 0);
  long long free_before = number_after("MemFree:");
  long long faults = stat_field(10), pages = stat_field(24);
  char* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, size, MADV_NOHUGEPAGE);
  CHECK(stat_field(23) >= (long long)size);
  for (size_t i = 0; i < size; i += 4096) p[i] = 1;
  // The host counts pages in batches.
  CHECK(stat_field(24) - pages >= (long long)(size / 4096) - 512);
  CHECK(stat_field(10) - faults >= (long long)(size / 4096 / 16));  // some hosts map many at once
  CHECK(slurp("/proc/self/status") > 0);
  CHECK(number_after("VmRSS:") >= (long long)(size / 1024) - 2048);
  CHECK(number_after("VmHWM:") >= (long long)(size / 1024) - 2048);
  CHECK(number_after("VmPTE:") > 0);
  CHECK(slurp("/proc/self/statm") > 0);
  CHECK(number_after(" ") >= (long long)(size / 4096) - 512);
  struct rusage usage;
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(usage.ru_maxrss >= (long)(size / 1024) - 2048);
  CHECK(usage.ru_minflt >= (long)(size / 4096 / 16));
  if (in_sandbox()) {
    CHECK(slurp("/proc/meminfo") > 0);
    long long used = free_before - number_after("MemFree:");
    CHECK(used >= (long long)(size / 1024) - 2048 && used < (long long)(size / 1024) * 2);
    CHECK(number_after("AnonPages:") >= (long long)(size / 1024) - 2048);
  }
  char path[64], key[32];
  snprintf(path, sizeof(path), "/proc/%d/smaps", getpid());
  snprintf(key, sizeof(key), "%lx-", (long)p);
  CHECK(slurp(path) > 0);
  const char* area = strstr(text, key);
  CHECK(area != NULL);
  if (area) {
    memmove(text, area, strlen(area) + 1);
    CHECK_EQ(number_after("Rss:"), (long long)(size / 1024));
    CHECK_EQ(number_after("Private_Dirty:"), (long long)(size / 1024));
    CHECK_EQ(number_after("Anonymous:"), (long long)(size / 1024));
  }
  munmap(p, size);
  CHECK(stat_field(24) < pages + (long long)(size / 4096));
  CHECK(slurp("/proc/self/status") > 0);
  CHECK(number_after("VmHWM:") >= (long long)(size / 1024) - 2048);  // the peak stays
}

// The same of a child that is gone.
static void a_childs_figures_reach_its_parent(void) {
  pid_t child = fork_clean();
  if (child == 0) {
    const size_t size = 48 << 20;
    char* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096) p[i] = 1;
    _exit(0);
  }
  struct rusage usage;
  CHECK_EQ(wait4(child, NULL, 0, &usage), child);
  CHECK(usage.ru_minflt >= 48 * 256 / 16);
  CHECK(usage.ru_maxrss >= 46 << 10);
}

static volatile unsigned sink;
static void burn(int ms) {
  struct timespec ts;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  int64_t end = ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + ms, now;
  do {
    for (unsigned i = 0; i < 100000; i++) sink += i;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    now = ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
  } while (now < end);
}

static void time_spent_shows(void) {
  long hz = sysconf(_SC_CLK_TCK);
  CHECK_EQ(hz, 100);
  CHECK(slurp("/proc/stat") > 0);
  long long all = number_after("cpu  ");
  long long before = stat_field(14) + stat_field(15);
  burn(300);
  long long own = stat_field(14) + stat_field(15) - before;
  CHECK(own >= 28 && own < 100);
  CHECK(slurp("/proc/stat") > 0);
  CHECK(number_after("cpu  ") - all >= 20);
  struct tms t;
  times(&t);
  CHECK(t.tms_utime + t.tms_stime >= 28);
  CHECK(slurp("/proc/self/schedstat") > 0);
  CHECK(strtoll(text, NULL, 10) >= 280000000);
  double up = 0, idle = 0, later = 0;
  CHECK(slurp("/proc/uptime") > 0 && sscanf(text, "%lf %lf", &up, &idle) == 2);
  usleep(120000);
  CHECK(slurp("/proc/uptime") > 0 && sscanf(text, "%lf", &later) == 1);
  CHECK(later - up >= 0.11 && later - up < 5);
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(info.uptime >= (long)up && info.uptime <= (long)up + 6);
}

static void work_is_counted(void) {
  CHECK(slurp("/proc/stat") > 0);
  long long switches = number_after("ctxt "), forks = number_after("processes ");
  CHECK(number_after("procs_running ") >= 1);
  long long boot = number_after("btime ");
  double up = 0;
  CHECK(slurp("/proc/uptime") > 0 && sscanf(text, "%lf", &up) == 1);
  CHECK(llabs((long long)time(NULL) - boot - (long long)up) <= 2);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork_clean();
    if (child == 0) _exit(0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
  }
  CHECK(slurp("/proc/stat") > 0);
  CHECK(number_after("processes ") - forks >= 5);
  CHECK(number_after("ctxt ") > switches);
  CHECK(slurp("/proc/self/status") > 0);
  long long voluntary = number_after("\nvoluntary_ctxt_switches:");
  for (int i = 0; i < 10; i++) usleep(100);
  CHECK(slurp("/proc/self/status") > 0);
  CHECK(number_after("\nvoluntary_ctxt_switches:") - voluntary >= 10);
  double load[3];
  int running = 0, tasks = 0, last = 0;
  CHECK(slurp("/proc/loadavg") > 0);
  CHECK_EQ(
      sscanf(text, "%lf %lf %lf %d/%d %d", &load[0], &load[1], &load[2], &running, &tasks, &last),
      6);
  CHECK(running >= 1 && tasks >= running && last > 0);
}

static void io_is_counted(void) {
  int fd = open("synth_figures.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0);
  CHECK(slurp("/proc/self/io") > 0);
  long long read_chars = number_after("rchar: "), written = number_after("wchar: ");
  long long reads = number_after("syscr: "), writes = number_after("syscw: ");
  long long storage = number_after("\nwrite_bytes: ");
  static char block[8192];
  for (int i = 0; i < 4; i++) CHECK_EQ(write(fd, block, sizeof(block)), sizeof(block));
  for (int i = 0; i < 4; i++) CHECK_EQ(pread(fd, block, sizeof(block), 0), sizeof(block));
  fsync(fd);
  CHECK(slurp("/proc/self/io") > 0);
  CHECK_EQ(number_after("wchar: ") - written, 4 * 8192);
  CHECK(number_after("rchar: ") - read_chars >= 4 * 8192);
  CHECK_EQ(number_after("syscw: ") - writes, 4);
  CHECK(number_after("syscr: ") - reads >= 4);
  CHECK(number_after("\nwrite_bytes: ") - storage >= 4 * 8192);
  close(fd);
  unlink("synth_figures.file");
}

int main(void) {
  RUN(cpus_are_counted_alike);
  RUN(memory_is_told_alike);
  RUN(memory_in_use_shows);
  RUN(a_childs_figures_reach_its_parent);
  RUN(time_spent_shows);
  RUN(work_is_counted);
  RUN(io_is_counted);
  return check_result();
}
