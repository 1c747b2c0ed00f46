// cgroups(7), version 1: groups come and go, tasks are in them, pids, cpuset and devices hold.
#include <dirent.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "group.h"

static int starts_with(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// The path after "NUMBER:controller:" of /proc/self/cgroup.
static const char* own_path(const char* controller) {
  static char path[512];
  char key[64];
  snprintf(key, sizeof key, ":%s:", controller);
  const char* at = strstr(get_at("/proc/self/cgroup"), key);
  if (!at) return "";
  sscanf(at + strlen(key), "%511[^\n]", path);
  return path;
}

static void test_text_files(void) {
  const char* summary = get_at("/proc/cgroups");
  CHECK(starts_with(summary, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"));
  const char* names[] = {"cpu", "cpuacct", "cpuset", "devices", "memory", "pids"};
  for (int i = 0; i < 6; i++) {
    char line[32];
    snprintf(line, sizeof line, "\n%s\t", names[i]);
    CHECK(strstr(get_at("/proc/cgroups"), line) != NULL);
    CHECK(own_path(names[i])[0] == '/');
  }
}

static void test_groups_come_and_go(void) {
  CHECK_EQ(mkdir(group_path("pids", ""), 0755), 0);
  CHECK_EQ(mkdir(group_path("pids", ""), 0755), -1);
  CHECK_EQ(errno, EEXIST);
  CHECK_EQ(mkdir(group_path("pids", "below"), 0755), 0);
  CHECK_EQ(mkdir(group_path("pids", "tasks"), 0755), -1);
  CHECK_EQ(errno, EEXIST);
  struct stat st;
  CHECK_EQ(stat(group_path("pids", ""), &st), 0);
  CHECK_EQ(st.st_mode, S_IFDIR | 0755);
  CHECK_EQ(st.st_nlink, 3);
  CHECK_EQ(rmdir(group_path("pids", "")), -1);
  CHECK_EQ(errno, EBUSY);
  CHECK_EQ(rename(group_path("pids", "below"), group_path("pids", "other")), 0);
  CHECK_EQ(rename(group_path("pids", "other"), "/sys/fs/cgroup/pids/msentry-moved"), -1);
  CHECK_EQ(errno, EIO);
  CHECK_EQ(rename(group_path("pids", "pids.max"), group_path("pids", "x")), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(unlink(group_path("pids", "pids.max")), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(open(group_path("pids", "new"), O_CREAT | O_WRONLY, 0644), -1);
  CHECK_EQ(errno, EACCES);
  CHECK_EQ(symlink("x", group_path("pids", "link")), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(chmod(group_path("pids", "pids.max"), 0600), 0);
  CHECK_EQ(stat(group_path("pids", "pids.max"), &st), 0);
  CHECK_EQ(st.st_mode, S_IFREG | 0600);

  // What is open of a removed group says so.
  int file = open(group_path("pids", "other/pids.max"), O_RDWR);
  int directory = open(group_path("pids", "other"), O_RDONLY);
  CHECK(file >= 0 && directory >= 0);
  CHECK_EQ(rmdir(group_path("pids", "other")), 0);
  char text[32];
  CHECK_EQ(read(file, text, sizeof text), -1);
  CHECK_EQ(errno, ENODEV);
  CHECK_EQ(write(file, "1", 1), -1);
  CHECK_EQ(errno, ENODEV);
  CHECK_EQ(mkdirat(directory, "x", 0755), -1);
  CHECK_EQ(errno, ENOENT);
  close(file);
  close(directory);
  struct statfs fs;
  CHECK_EQ(statfs(group_path("pids", ""), &fs), 0);
  CHECK_EQ(fs.f_type, 0x27e0eb);
  CHECK_EQ(rmdir(group_path("pids", "")), 0);
}

static void test_listing(void) {
  CHECK_EQ(mkdir(group_path("pids", ""), 0755), 0);
  for (int i = 0; i < 50; i++) {
    char name[16];
    snprintf(name, sizeof name, "g%d", i);
    CHECK_EQ(mkdir(group_path("pids", name), 0755), 0);
  }
  DIR* d = opendir(group_path("pids", ""));
  int groups = 0, files = 0;
  for (struct dirent* e; (e = readdir(d)) != NULL;) {
    groups += e->d_type == DT_DIR && e->d_name[0] == 'g';
    files += e->d_type == DT_REG;
  }
  closedir(d);
  CHECK_EQ(groups, 50);
  CHECK(files >= 5);
  for (int i = 0; i < 50; i++) {
    char name[16];
    snprintf(name, sizeof name, "g%d", i);
    CHECK_EQ(rmdir(group_path("pids", name)), 0);
  }
  CHECK_EQ(rmdir(group_path("pids", "")), 0);
}

static void test_pids(void) {
  CHECK_EQ(mkdir(group_path("pids", ""), 0755), 0);
  const char* max = group_path("pids", "pids.max");
  const char* procs = group_path("pids", "cgroup.procs");
  CHECK(strcmp(get_at(max), "max\n") == 0);
  const struct {
    const char* text;
    int result;
  } writes[] = {{"5", 0},    {"max", 0},   {"-1", -EINVAL},          {"abc", -EINVAL},
                {"0x10", 0}, {" 8 \n", 0}, {"99999999999", -EINVAL}, {"4194305", -EINVAL},
                {"3\n", 0}};
  for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++) {
    CHECK_EQ(put_at(max, writes[i].text), writes[i].result);
  }
  CHECK_EQ(number_at(max), 3);
  const struct {
    const char* text;
    int result;
  } moves[] = {{"abc", -EINVAL}, {"-1", -EINVAL}, {"99999999", -ESRCH}, {"1x", -EINVAL}};
  for (unsigned i = 0; i < sizeof moves / sizeof *moves; i++) {
    CHECK_EQ(put_at(procs, moves[i].text), moves[i].result);
  }

  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(procs, "0"), 0);
             CHECK_EQ(number_at(procs), getpid());
             CHECK(strstr(own_path("pids"), "/msentry-test-") != NULL);
             pid_t children[4] = {0};
             int made = 0;
             for (int i = 0; i < 4; i++) {
               children[i] = fork();
               if (children[i] == 0) {
                 pause();
                 _exit(0);
               }
               if (children[i] < 0) CHECK_EQ(errno, EAGAIN);
               made += children[i] > 0;
             }
             CHECK_EQ(made, 2);
             // A child is where its parent is.
             char path[64];
             snprintf(path, sizeof path, "/proc/%d/cgroup", children[0]);
             CHECK(strstr(get_at(path), "/msentry-test-") != NULL);
             kill(children[0], SIGKILL);
             kill(children[1], SIGKILL);
             waitpid(children[0], NULL, 0);
             waitpid(children[1], NULL, 0);
             CHECK_EQ(IN_CHILD({}), 0);
           }),
           0);
  CHECK_EQ(number_at(group_path("pids", "pids.current")), 0);
  CHECK_EQ(strlen(get_at(group_path("pids", "tasks"))), 0);
  CHECK_EQ(rmdir(group_path("pids", "")), 0);
}

static int thread_move_result;
static void* move_thread(void* path) {
  char id[16];
  snprintf(id, sizeof id, "%ld", (long)syscall(SYS_gettid));
  thread_move_result = put_at(path, id);
  CHECK_EQ(atoi(get_at(path)), syscall(SYS_gettid));
  return NULL;
}

static void test_threads(void) {
  CHECK_EQ(mkdir(group_path("cpuacct", ""), 0755), 0);
  const char* tasks = group_path("cpuacct", "tasks");
  const char* procs = group_path("cpuacct", "cgroup.procs");
  CHECK_EQ(IN_CHILD({
             pthread_t thread;
             pthread_create(&thread, NULL, move_thread, (void*)tasks);
             pthread_join(thread, NULL);
             CHECK_EQ(thread_move_result, 0);
             // The thread alone had moved.
             CHECK(strstr(own_path("cpuacct"), "/msentry-test-") == NULL);
             CHECK_EQ(put_at(procs, "0"), 0);
             CHECK(strstr(own_path("cpuacct"), "/msentry-test-") != NULL);
             for (volatile int i = 0; i < 30000000; i++) {
             }
           }),
           0);
  CHECK(number_at(group_path("cpuacct", "cpuacct.usage")) > 1000000);
  CHECK_EQ(put_at(group_path("cpuacct", "cpuacct.usage"), "1"), -EINVAL);
  CHECK_EQ(put_at(group_path("cpuacct", "cpuacct.usage"), "0"), 0);
  CHECK(number_at(group_path("cpuacct", "cpuacct.usage")) < 1000000);
  CHECK_EQ(rmdir(group_path("cpuacct", "")), 0);
}

static void test_cpuset(void) {
  CHECK_EQ(mkdir(group_path("cpuset", ""), 0755), 0);
  const char* cpus = group_path("cpuset", "cpuset.cpus");
  CHECK(strcmp(get_at(cpus), "\n") == 0);
  CHECK_EQ(put_at(group_path("cpuset", "tasks"), "0"), -ENOSPC);
  CHECK_EQ(put_at(cpus, "8191"), -ERANGE);
  CHECK_EQ(put_at(cpus, "abc"), -EINVAL);
  CHECK_EQ(put_at(cpus, "0"), 0);
  CHECK_EQ(put_at(group_path("cpuset", "cpuset.mems"), "1"), -EINVAL);
  CHECK_EQ(put_at(group_path("cpuset", "cpuset.mems"), "0"), 0);
  const char* tasks = group_path("cpuset", "tasks");
  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(tasks, "0"), 0);
             cpu_set_t set;
             CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
             CHECK_EQ(CPU_COUNT(&set), 1);
             CHECK(CPU_ISSET(0, &set));
             CHECK_EQ(put_at(cpus, ""), 0);  // a write of nothing is none
           }),
           0);
  // Without clone_children a group begins with nothing, with it as its parent is.
  CHECK_EQ(mkdir(group_path("cpuset", "a"), 0755), 0);
  CHECK(strcmp(get_at(group_path("cpuset", "a/cpuset.cpus")), "\n") == 0);
  CHECK_EQ(put_at(group_path("cpuset", "cgroup.clone_children"), "1"), 0);
  CHECK_EQ(mkdir(group_path("cpuset", "b"), 0755), 0);
  CHECK(strcmp(get_at(group_path("cpuset", "b/cpuset.cpus")), "0\n") == 0);
  CHECK_EQ(rmdir(group_path("cpuset", "a")), 0);
  CHECK_EQ(rmdir(group_path("cpuset", "b")), 0);
  CHECK_EQ(rmdir(group_path("cpuset", "")), 0);
}

static void test_devices(void) {
  CHECK_EQ(mkdir(group_path("devices", ""), 0755), 0);
  const char* deny = group_path("devices", "devices.deny");
  const char* allow = group_path("devices", "devices.allow");
  const char* list = group_path("devices", "devices.list");
  const char* tasks = group_path("devices", "tasks");
  CHECK(strcmp(get_at(list), "a *:* rwm\n") == 0);
  CHECK_EQ(put_at(deny, "c 1:3 x"), -EINVAL);
  CHECK_EQ(put_at(deny, "c 1"), -EINVAL);
  CHECK_EQ(put_at(deny, "x"), -EINVAL);
  CHECK_EQ(put_at(deny, "c 1:3 w"), 0);
  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(tasks, "0"), 0);
             CHECK_EQ(open("/dev/null", O_WRONLY), -1);
             CHECK_EQ(errno, EPERM);
             CHECK(open("/dev/null", O_RDONLY) >= 0);
             CHECK(open("/dev/zero", O_RDWR) >= 0);
           }),
           0);
  CHECK_EQ(put_at(deny, "a"), 0);
  CHECK_EQ(strlen(get_at(list)), 0);
  CHECK_EQ(put_at(allow, "c 1:5 rm"), 0);
  CHECK(strcmp(get_at(list), "c 1:5 rm\n") == 0);
  CHECK_EQ(IN_CHILD({
             CHECK_EQ(put_at(tasks, "0"), 0);
             CHECK(open("/dev/zero", O_RDONLY) >= 0);
             CHECK_EQ(open("/dev/zero", O_RDWR), -1);
             CHECK_EQ(errno, EPERM);
             CHECK_EQ(mknod("/dev/shm/msentry-node", S_IFCHR | 0600, makedev(1, 3)), -1);
             CHECK_EQ(errno, EPERM);
             CHECK_EQ(mknod("/dev/shm/msentry-node", S_IFCHR | 0600, makedev(1, 5)), 0);
             unlink("/dev/shm/msentry-node");
           }),
           0);
  // A child never has more than its parent.
  CHECK_EQ(mkdir(group_path("devices", "below"), 0755), 0);
  CHECK(strcmp(get_at(group_path("devices", "below/devices.list")), "c 1:5 rm\n") == 0);
  CHECK_EQ(put_at(group_path("devices", "below/devices.allow"), "c 1:3 r"), -EPERM);
  CHECK_EQ(put_at(deny, "c 1:5 m"), 0);
  CHECK(strcmp(get_at(group_path("devices", "below/devices.list")), "") == 0 ||
        strcmp(get_at(group_path("devices", "below/devices.list")), "c 1:5 r\n") == 0);
  CHECK_EQ(rmdir(group_path("devices", "below")), 0);
  CHECK_EQ(rmdir(group_path("devices", "")), 0);
}

// A hierarchy with a name and no controller, and its release agent.
static void test_release_agent(void) {
  char base[] = "/tmp/msentry-cgroup-XXXXXX", path[256], options[64], agent[128], witness[128];
  if (!mkdtemp(base)) return;
  snprintf(options, sizeof options, "none,name=msentry-%d", getpid());
  snprintf(path, sizeof path, "%s/m", base);
  snprintf(agent, sizeof agent, "%s/agent", base);
  snprintf(witness, sizeof witness, "%s/witness", base);
  mkdir(path, 0755);
  FILE* script = fopen(agent, "w");
  fprintf(script, "#!/bin/sh\necho \"$1\" > %s.new\nmv %s.new %s\n", witness, witness, witness);
  fclose(script);
  chmod(agent, 0755);
  if (mount("none", path, "cgroup", 0, options) != 0) {
    fprintf(stderr, "skipped: no right to mount: %s\n", strerror(errno));
  } else {
    char file[512];
    snprintf(file, sizeof file, "%s/release_agent", path);
    CHECK_EQ(put_at(file, agent), 0);
    snprintf(file, sizeof file, "%s/group", path);
    CHECK_EQ(mkdir(file, 0755), 0);
    snprintf(file, sizeof file, "%s/group/notify_on_release", path);
    CHECK_EQ(put_at(file, "1"), 0);
    snprintf(file, sizeof file, "%s/group/tasks", path);
    CHECK_EQ(IN_CHILD({
               CHECK_EQ(put_at(file, "0"), 0);
               char name[32];
               snprintf(name, sizeof name, "name=msentry-%d", getppid());
               CHECK(strcmp(own_path(name), "/group") == 0);
             }),
             0);
    for (int i = 0; i < 1000 && access(witness, F_OK) != 0; i++) usleep(5000);
    CHECK(strcmp(get_at(witness), "/group\n") == 0);
    snprintf(file, sizeof file, "%s/group", path);
    CHECK_EQ(rmdir(file), 0);
    CHECK_EQ(umount(path), 0);
  }
  unlink(witness);
  unlink(agent);
  rmdir(path);
  rmdir(base);
}

int main(void) {
  RUN(test_text_files);
  need_groups();
  RUN(test_groups_come_and_go);
  RUN(test_listing);
  RUN(test_pids);
  RUN(test_threads);
  RUN(test_cpuset);
  RUN(test_devices);
  RUN(test_release_agent);
  return check_result();
}
