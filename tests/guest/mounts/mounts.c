// mount(2), umount2(2), pivot_root(2), mount_namespaces(7), uts_namespaces(7), as root.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "../kernel/check.h"

static char base[] = "/tmp/msentry-mounts-XXXXXX";

static const char* in(const char* name) {
  static char paths[32][256];
  static int next;
  char* path = paths[next++ % 32];
  snprintf(path, sizeof paths[0], "%s/%s", base, name);
  return path;
}

static void make_file(const char* path) { close(open(path, O_CREAT | O_WRONLY, 0644)); }
static int there(const char* path) { return access(path, F_OK) == 0; }

// The line of /proc/self/mountinfo about the last mount on `path`.
static const char* mountinfo(const char* path) {
  static char found[4096];
  char line[4096], at[1024];
  found[0] = 0;
  FILE* f = fopen("/proc/self/mountinfo", "r");
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, "%*d %*d %*s %*s %1023s", at) == 1 && strcmp(at, path) == 0)
      strcpy(found, line);
  }
  fclose(f);
  return found;
}

#define IN_CHILD(body)                    \
  ({                                      \
    int child_status;                     \
    pid_t child_pid = fork();             \
    if (child_pid == 0) {                 \
      check_failures = 0;                 \
      body;                               \
      _exit(check_failures ? 1 : 0);      \
    }                                     \
    waitpid(child_pid, &child_status, 0); \
    child_status;                         \
  })

static void test_mount_and_umount(void) {
  mkdir(in("a"), 0755);
  make_file(in("a/under"));
  CHECK_EQ(mount("none", in("a"), "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=700"), 0);
  CHECK(!there(in("a/under")));
  struct stat st;
  CHECK_EQ(stat(in("a"), &st), 0);
  CHECK_EQ(st.st_mode & 07777, 0700);
  struct statfs fs;
  CHECK_EQ(statfs(in("a"), &fs), 0);
  CHECK_EQ(fs.f_type, 0x01021994);
  CHECK_EQ(fs.f_blocks * fs.f_bsize, 65536);
  CHECK(strstr(mountinfo(in("a")), "nosuid,nodev") != NULL);
  make_file(in("a/x"));
  int fd = open(in("a/x"), O_RDONLY);
  CHECK_EQ(umount(in("a")), -1);
  CHECK_EQ(errno, EBUSY);
  close(fd);
  CHECK_EQ(umount(in("a")), 0);
  CHECK(there(in("a/under")));
  CHECK_EQ(umount(in("a")), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(umount(in("missing")), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(mount("none", in("a"), "no-such-type", 0, NULL), -1);
  CHECK_EQ(errno, ENODEV);
  CHECK_EQ(mount("none", in("a/under"), "tmpfs", 0, NULL), -1);
  CHECK_EQ(errno, ENOTDIR);
  // Lazily, while in use.
  CHECK_EQ(mount("none", in("a"), "tmpfs", 0, NULL), 0);
  make_file(in("a/y"));
  fd = open(in("a/y"), O_RDWR);
  CHECK_EQ(umount2(in("a"), MNT_DETACH), 0);
  CHECK(!there(in("a/y")));
  CHECK_EQ(write(fd, "y", 1), 1);
  close(fd);
}

static void test_remount(void) {
  mkdir(in("r"), 0755);
  CHECK_EQ(mount("none", in("r"), "tmpfs", 0, NULL), 0);
  make_file(in("r/x"));
  CHECK_EQ(mount(NULL, in("r"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  CHECK_EQ(open(in("r/new"), O_CREAT | O_WRONLY, 0644), -1);
  CHECK_EQ(errno, EROFS);
  CHECK_EQ(mount(NULL, in("r"), NULL, MS_REMOUNT, NULL), 0);
  int fd = open(in("r/x"), O_WRONLY);
  CHECK(fd >= 0);
  CHECK_EQ(mount(NULL, in("r"), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), -1);
  CHECK_EQ(errno, EBUSY);
  close(fd);
  CHECK_EQ(
      mount(NULL, in("r"), NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC | MS_NOSUID | MS_NODEV, NULL), 0);
  CHECK(strstr(mountinfo(in("r")), " rw,nosuid,nodev,noexec") != NULL);
  CHECK_EQ(mount(NULL, in("r/x"), NULL, MS_REMOUNT, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(umount(in("r")), 0);
}

static void test_bind_and_move(void) {
  mkdir(in("b"), 0755);
  mkdir(in("b/sub"), 0755);
  mkdir(in("c"), 0755);
  mkdir(in("d"), 0755);
  make_file(in("b/file"));
  make_file(in("target"));
  CHECK_EQ(mount("none", in("b/sub"), "tmpfs", 0, NULL), 0);
  make_file(in("b/sub/deep"));
  CHECK_EQ(mount(in("b"), in("c"), NULL, MS_BIND, NULL), 0);
  CHECK(there(in("c/file")));
  CHECK(!there(in("c/sub/deep")));
  CHECK_EQ(umount(in("c")), 0);
  CHECK_EQ(mount(in("b"), in("c"), NULL, MS_BIND | MS_REC, NULL), 0);
  CHECK(there(in("c/sub/deep")));
  CHECK_EQ(umount(in("c")), -1);
  CHECK_EQ(errno, EBUSY);
  CHECK_EQ(mount(in("c"), in("d"), NULL, MS_MOVE, NULL), 0);
  CHECK(there(in("d/sub/deep")));
  CHECK(!there(in("c/file")));
  CHECK_EQ(mount(in("d"), in("d/sub"), NULL, MS_MOVE, NULL), -1);
  CHECK_EQ(errno, ELOOP);
  CHECK_EQ(umount2(in("d"), MNT_DETACH), 0);
  // A file on a file.
  CHECK_EQ(mount(in("b/file"), in("target"), NULL, MS_BIND, NULL), 0);
  CHECK_EQ(mount(in("b/file"), in("b"), NULL, MS_BIND, NULL), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(umount(in("target")), 0);
  CHECK_EQ(umount(in("b/sub")), 0);
}

static void test_shared(void) {
  mkdir(in("s"), 0755);
  mkdir(in("t"), 0755);
  mkdir(in("u"), 0755);
  CHECK_EQ(mount("none", in("s"), "tmpfs", 0, NULL), 0);
  mkdir(in("s/m"), 0755);
  CHECK_EQ(mount(NULL, in("s"), NULL, MS_SHARED, NULL), 0);
  CHECK(strstr(mountinfo(in("s")), " shared:") != NULL);
  CHECK_EQ(mount(in("s"), in("t"), NULL, MS_BIND, NULL), 0);
  CHECK_EQ(mount(in("s"), in("u"), NULL, MS_BIND, NULL), 0);
  CHECK_EQ(mount(NULL, in("u"), NULL, MS_SLAVE, NULL), 0);
  CHECK(strstr(mountinfo(in("u")), " master:") != NULL);
  // To peers and slaves, and back from peers.
  CHECK_EQ(mount("none", in("t/m"), "tmpfs", 0, NULL), 0);
  make_file(in("t/m/x"));
  CHECK(there(in("s/m/x")));
  CHECK(there(in("u/m/x")));
  CHECK_EQ(umount(in("s/m")), 0);
  CHECK(!there(in("t/m/x")));
  CHECK(!there(in("u/m/x")));
  // Not from a slave.
  CHECK_EQ(mount("none", in("u/m"), "tmpfs", 0, NULL), 0);
  make_file(in("u/m/x"));
  CHECK(!there(in("s/m/x")));
  CHECK_EQ(umount(in("u/m")), 0);
  // Two kinds at once are none.
  CHECK_EQ(mount(NULL, in("s"), NULL, MS_SHARED | MS_PRIVATE, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(mount(NULL, in("s/m"), NULL, MS_SHARED, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  // In another namespace, both ways.
  int status = IN_CHILD({
    CHECK_EQ(unshare(CLONE_NEWNS), 0);
    CHECK_EQ(mount("none", in("s/m"), "tmpfs", 0, NULL), 0);
    make_file(in("s/m/from-child"));
  });
  CHECK_EQ(status, 0);
  CHECK(there(in("s/m/from-child")));
  CHECK_EQ(umount(in("s/m")), 0);
  CHECK_EQ(mount(NULL, in("u"), NULL, MS_UNBINDABLE, NULL), 0);
  mkdir(in("v"), 0755);
  CHECK_EQ(mount(in("u"), in("v"), NULL, MS_BIND, NULL), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(umount(in("u")), 0);
  CHECK_EQ(umount(in("t")), 0);
  CHECK_EQ(umount(in("s")), 0);
}

static void namespace_name(const char* kind, char* out) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
  ssize_t n = readlink(path, out, 63);
  out[n > 0 ? n : 0] = 0;
}

static void test_namespaces(void) {
  char before[64];
  char after[64];
  namespace_name("mnt", before);
  CHECK(strncmp(before, "mnt:[", 5) == 0);
  mkdir(in("n"), 0755);
  int fd = open("/proc/self/ns/mnt", O_RDONLY);
  CHECK(fd >= 0);
  int status = IN_CHILD({
    CHECK_EQ(unshare(CLONE_NEWNS), 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    namespace_name("mnt", after);
    CHECK(strcmp(before, after) != 0);
    CHECK_EQ(mount("none", in("n"), "tmpfs", 0, NULL), 0);
    make_file(in("n/x"));
    CHECK(there(in("n/x")));
    CHECK_EQ(setns(fd, CLONE_NEWUTS), -1);
    CHECK_EQ(errno, EINVAL);
    CHECK_EQ(setns(fd, CLONE_NEWNS), 0);
    namespace_name("mnt", after);
    CHECK(strcmp(before, after) == 0);
    CHECK(!there(in("n/x")));
  });
  CHECK_EQ(status, 0);
  CHECK(!there(in("n/x")));
  close(fd);

  // A host name of one's own.
  struct utsname name;
  uname(&name);
  char was[sizeof name.nodename];
  strcpy(was, name.nodename);
  status = IN_CHILD({
    CHECK_EQ(unshare(CLONE_NEWUTS), 0);
    CHECK_EQ(sethostname("other", 5), 0);
    uname(&name);
    CHECK(strcmp(name.nodename, "other") == 0);
    char text[80] = "";
    int file = open("/proc/sys/kernel/hostname", O_RDONLY);
    CHECK(read(file, text, sizeof text - 1) > 0);
    CHECK(strcmp(text, "other\n") == 0);
  });
  CHECK_EQ(status, 0);
  uname(&name);
  CHECK(strcmp(name.nodename, was) == 0);

  // As clone(2) makes it.
  pid_t child = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    check_failures = 0;
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", in("n"), "tmpfs", 0, NULL), 0);
    CHECK_EQ(sethostname("clone", 5), 0);
    _exit(check_failures ? 1 : 0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  uname(&name);
  CHECK(strcmp(name.nodename, was) == 0);
  CHECK_EQ(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0), -1);
  CHECK_EQ(errno, EINVAL);
}

static void test_pivot_root(void) {
  int status = IN_CHILD({
    CHECK_EQ(unshare(CLONE_NEWNS), 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    mkdir(in("root"), 0755);
    CHECK_EQ(syscall(SYS_pivot_root, in("root"), in("root")), -1);
    CHECK_EQ(errno, EINVAL);  // not a mount
    CHECK_EQ(mount("none", in("root"), "tmpfs", 0, NULL), 0);
    mkdir(in("root/old"), 0755);
    make_file(in("root/mark"));
    CHECK_EQ(syscall(SYS_pivot_root, in("root"), in("root/old")), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK(there("/mark"));
    CHECK(there("/old/proc"));
    CHECK_EQ(umount2("/old", MNT_DETACH), 0);
    CHECK(!there("/old/proc"));
  });
  CHECK_EQ(status, 0);
  // Stacked on each other, as pivot_root(2) shows.
  status = IN_CHILD({
    CHECK_EQ(unshare(CLONE_NEWNS), 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", in("root"), "tmpfs", 0, NULL), 0);
    make_file(in("root/mark"));
    CHECK_EQ(chdir(in("root")), 0);
    CHECK_EQ(syscall(SYS_pivot_root, ".", "."), 0);
    CHECK_EQ(umount2(".", MNT_DETACH), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK(there("/mark"));
    CHECK(!there("/proc"));
  });
  CHECK_EQ(status, 0);
}

static void test_rights(void) {
  int status = IN_CHILD({
    CHECK_EQ(setuid(12345), 0);
    CHECK_EQ(mount("none", "/tmp", "tmpfs", 0, NULL), -1);
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(umount("/proc"), -1);
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(unshare(CLONE_NEWNS), -1);
    CHECK_EQ(errno, EPERM);
  });
  CHECK_EQ(status, 0);
}

int main(void) {
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
    fprintf(stderr, "skipped: no right to mount: %s\n", strerror(errno));
    return 0;
  }
  if (!mkdtemp(base) || mount("none", base, "tmpfs", 0, NULL) != 0) return 1;
  RUN(test_mount_and_umount);
  RUN(test_remount);
  RUN(test_bind_and_move);
  RUN(test_shared);
  RUN(test_namespaces);
  RUN(test_pivot_root);
  RUN(test_rights);
  umount2(base, MNT_DETACH);
  rmdir(base);
  return check_result();
}
