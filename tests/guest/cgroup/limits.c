// cgroups(7), version 1: CPU bandwidth and memory limits hold.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "group.h"

static double seconds(clockid_t clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec + ts.tv_nsec / 1e9;
}

static long long field_of(const char* path, const char* name) {
  const char* at = strstr(get_at(path), name);
  return at ? strtoll(at + strlen(name), NULL, 10) : -1;
}

// A twentieth of a CPU: what a process gets however idle the machine is.
static void test_cpu_quota(void) {
  CHECK_EQ(mkdir(group_path("cpu", ""), 0755), 0);
  const char* quota = group_path("cpu", "cpu.cfs_quota_us");
  const char* period = group_path("cpu", "cpu.cfs_period_us");
  const char* shares = group_path("cpu", "cpu.shares");
  const char* stat = group_path("cpu", "cpu.stat");
  const char* tasks = group_path("cpu", "tasks");
  CHECK_EQ(number_at(quota), -1);
  CHECK_EQ(number_at(period), 100000);
  CHECK_EQ(number_at(shares), 1024);
  const struct {
    const char *path, *text;
    int result;
    long long after;
  } writes[] = {
      {shares, "1", 0, 2},
      {shares, "999999", 0, 262144},
      {shares, "-1", -EINVAL, 262144},
      {shares, "abc", -EINVAL, 262144},
      {shares, "1024", 0, 1024},
      {period, "999", -EINVAL, 100000},
      {period, "1000001", -EINVAL, 100000},
      {period, "abc", -EINVAL, 100000},
      {quota, "999", -EINVAL, -1},
      {quota, "abc", -EINVAL, -1},
      {quota, "-5", 0, -1},
      {quota, "18446744073709551615", -ERANGE, -1},
      {quota, "50000", 0, 50000},
  };
  for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++) {
    CHECK_EQ(put_at(writes[i].path, writes[i].text), writes[i].result);
    CHECK_EQ(number_at(writes[i].path), writes[i].after);
  }
  CHECK_EQ(put_at(quota, "5000"), 0);
  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(tasks, "0"), 0);
             double begin = seconds(CLOCK_MONOTONIC);
             double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
             while (seconds(CLOCK_MONOTONIC) < begin + 1.5) {
             }
             double passed = seconds(CLOCK_MONOTONIC) - begin;
             double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
             if (used > passed * 0.05 + 0.1) fprintf(stderr, "used %.3f of %.3f s\n", used, passed);
             CHECK(used <= passed * 0.05 + 0.1);
           }),
           0);
  CHECK(field_of(stat, "nr_periods ") > 3);
  CHECK(field_of(stat, "nr_throttled ") > 2);
  CHECK(field_of(stat, "throttled_time ") > 200000000);
  // A throttled process can be killed.
  pid_t child = fork();
  if (child == 0) {
    put_at(tasks, "0");
    for (;;) {
    }
  }
  usleep(300000);
  double begin = seconds(CLOCK_MONOTONIC);
  kill(child, SIGKILL);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(seconds(CLOCK_MONOTONIC) - begin < 2);
  // A group below has no more than the one above it.
  CHECK_EQ(mkdir(group_path("cpu", "below"), 0755), 0);
  CHECK_EQ(put_at(group_path("cpu", "below/cpu.cfs_quota_us"), "6000"), -EINVAL);
  CHECK_EQ(put_at(group_path("cpu", "below/cpu.cfs_quota_us"), "4000"), 0);
  CHECK_EQ(rmdir(group_path("cpu", "below")), 0);
  CHECK_EQ(rmdir(group_path("cpu", "")), 0);
}

static void allocate_forever(void) {
  for (;;) {
    char* p = malloc(1 << 20);
    if (!p) _exit(3);
    memset(p, 1, 1 << 20);
  }
}

static void test_memory_limit(void) {
  CHECK_EQ(mkdir(group_path("memory", ""), 0755), 0);
  const char* limit = group_path("memory", "memory.limit_in_bytes");
  const char* tasks = group_path("memory", "tasks");
  const struct {
    const char* text;
    int result;
    long long after;
  } writes[] = {{"4097", 0, 4096},        {"1G", 0, 1 << 30},        {"abc", -EINVAL, 1 << 30},
                {"-2", -EINVAL, 1 << 30}, {"1kb", -EINVAL, 1 << 30}, {"64M", 0, 64 << 20}};
  for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++) {
    CHECK_EQ(put_at(limit, writes[i].text), writes[i].result);
    CHECK_EQ(number_at(limit), writes[i].after);
  }

  // What fits is left alone, and counted.
  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(tasks, "0"), 0);
             char* p =
                 mmap(NULL, 40 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             memset(p, 1, 40 << 20);
             long long usage = number_at(group_path("memory", "memory.usage_in_bytes"));
             char path[256];
             snprintf(path, sizeof path,
                      "/sys/fs/cgroup/memory/msentry-test-%d/memory.usage_in_bytes", getppid());
             usage = number_at(path);
             CHECK(usage >= 40 << 20);
             CHECK(usage < 60 << 20);
             // A child shares its pages: they count once.
             pid_t grandchild = fork();
             if (grandchild == 0) {
               pause();
               _exit(0);
             }
             usleep(100000);
             CHECK(number_at(path) < 60 << 20);
             kill(grandchild, SIGKILL);
             waitpid(grandchild, NULL, 0);
           }),
           0);
  CHECK_EQ(number_at(group_path("memory", "memory.failcnt")), 0);

  // What does not is killed, and somebody who asked hears of it.
  int event = eventfd(0, EFD_NONBLOCK),
      control = open(group_path("memory", "memory.oom_control"), O_RDONLY);
  char text[64];
  snprintf(text, sizeof text, "%d %d", event, control);
  CHECK_EQ(put_at(group_path("memory", "cgroup.event_control"), text), 0);
  CHECK_EQ(put_at(group_path("memory", "cgroup.event_control"), "0 0"), -EINVAL);
  double begin = seconds(CLOCK_MONOTONIC);
  int status = IN_CHILD({
    put_at(tasks, "0");
    allocate_forever();
  });
  double took = seconds(CLOCK_MONOTONIC) - begin;
  CHECK_EQ(status, -SIGKILL);
  CHECK(took < 5);
  CHECK(number_at(group_path("memory", "memory.failcnt")) > 0);
  CHECK_EQ(field_of(group_path("memory", "memory.oom_control"), "oom_kill "), 1);
  CHECK_EQ(field_of(group_path("memory", "memory.oom_control"), "under_oom "), 0);
  struct pollfd ready = {event, POLLIN, 0};
  CHECK_EQ(poll(&ready, 1, 1000), 1);
  CHECK_EQ(rmdir(group_path("memory", "")), 0);
}

// With the OOM killer off a group stands still until its limit is raised.
static void test_memory_without_killer(void) {
  CHECK_EQ(mkdir(group_path("memory", ""), 0755), 0);
  const char* limit = group_path("memory", "memory.limit_in_bytes");
  const char* tasks = group_path("memory", "tasks");
  CHECK_EQ(put_at(limit, "32M"), 0);
  CHECK_EQ(put_at(group_path("memory", "memory.oom_control"), "2"), -EINVAL);
  CHECK_EQ(put_at(group_path("memory", "memory.oom_control"), "1"), 0);
  pid_t child = fork();
  if (child == 0) {
    put_at(tasks, "0");
    char* p = mmap(NULL, 96 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 96; i++) {
      memset(p + (i << 20), 1, 1 << 20);
      usleep(2000);
    }
    _exit(7);
  }
  for (int i = 0;
       i < 500 && field_of(group_path("memory", "memory.oom_control"), "under_oom ") != 1; i++) {
    usleep(10000);
  }
  CHECK_EQ(field_of(group_path("memory", "memory.oom_control"), "under_oom "), 1);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
  CHECK_EQ(put_at(limit, "512M"), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  CHECK_EQ(rmdir(group_path("memory", "")), 0);
}

int main(void) {
  need_groups();
  RUN(test_cpu_quota);
  RUN(test_memory_limit);
  RUN(test_memory_without_killer);
  return check_result();
}
