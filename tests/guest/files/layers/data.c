// Contents and attributes over a tree that was there before (made by tree.sh): open files,
// mappings, locks and watches that live across the first change of a file of the lower layer, and
// everything that moves data.
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "../../kernel/check.h"

#ifndef F_OFD_SETLK
#error "Linux 3.15 or later"
#endif

enum { kBig = 1 << 20 };

static struct stat stat_of(const char* path) {
  struct stat s = {0};
  CHECK_EQ(lstat(path, &s), 0);
  return s;
}

static void attributes(void) {
  struct stat before = stat_of("file");
  CHECK_EQ(before.st_mode, S_IFREG | 0640);
  CHECK_EQ(before.st_mtim.tv_sec % 60, 6);
  CHECK_EQ(chmod("file", 0600), 0);  // copies the file, and nothing else changes
  struct stat after = stat_of("file");
  CHECK_EQ(after.st_mode, S_IFREG | 0600);
  CHECK_EQ(after.st_ino, before.st_ino);
  CHECK_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  CHECK_EQ(after.st_size, before.st_size);
  CHECK_EQ(after.st_uid, before.st_uid);
  CHECK(after.st_ctim.tv_sec > before.st_mtim.tv_sec);
  struct timespec times[2] = {{1000, 1}, {2000, 999999999}};
  CHECK_EQ(utimensat(AT_FDCWD, "dir", times, 0), 0);
  CHECK_EQ(stat_of("dir").st_mtim.tv_nsec, 999999999);
  int f = open("dir/new", O_CREAT | O_RDWR, 0644);
  CHECK(f >= 0);
  CHECK(stat_of("dir").st_mtim.tv_sec > 2000);
  CHECK_EQ(futimens(f, times), 0);
  CHECK_EQ(write(f, "x", 1), 1);
  CHECK(stat_of("dir/new").st_mtim.tv_sec > 2000);
  CHECK_EQ(stat_of("dir/new").st_blocks * 512 % 4096, 0);
  CHECK_EQ(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW), 0);
  CHECK_EQ(stat_of("link").st_mtim.tv_sec, 2000);
  CHECK_EQ(stat_of("link").st_size, 4);
  close(f);
}

static void owners(void) {
  if (geteuid() != 0) {
    CHECK_EQ(chown("program", 4321, -1), -1);
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(chown("program", -1, getegid()), 0);
    return;
  }
  CHECK_EQ(chmod("program", 06755), 0);
  CHECK_EQ(stat_of("program").st_mode & 07777, 06755);
  CHECK_EQ(chown("program", 1234, 4321), 0);
  struct stat s = stat_of("program");
  CHECK_EQ(s.st_uid, 1234);
  CHECK_EQ(s.st_gid, 4321);
  CHECK_EQ(s.st_mode & 07777, 0755);
  CHECK_EQ(lchown("link", 5, 6), 0);
  CHECK_EQ(stat_of("link").st_uid, 5);
  pid_t child = fork();
  if (child == 0) {
    if (setgid(4321) || setuid(1234)) _exit(1);
    int bad = 0;
    if (chmod("program", 0700)) bad |= 2;
    if (chown("program", 0, -1) != -1 || errno != EPERM) bad |= 4;
    if (open("program", O_RDWR) < 0) bad |= 8;
    if (open("file", O_RDONLY) >= 0 || errno != EACCES) bad |= 16;
    if (unlink("program") != -1 || errno != EACCES) bad |= 32;
    if (chmod("big", 0777) != -1 || errno != EPERM) bad |= 64;
    _exit(bad);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(stat_of("program").st_mode & 07777, 0700);
}

static void open_files_see_changes(void) {
  char b[32] = {0};
  int r = open("other/o", O_RDONLY), path = open("other/o", O_PATH);
  CHECK_EQ(flock(r, LOCK_EX), 0);
  int w = open("other/o", O_RDWR);
  CHECK_EQ(flock(w, LOCK_EX | LOCK_NB), -1);
  CHECK_EQ(errno, EWOULDBLOCK);
  CHECK_EQ(pwrite(w, "OTHER", 5, 0), 5);
  CHECK_EQ(read(r, b, sizeof b), 6);
  CHECK(!memcmp(b, "OTHER\n", 6));
  struct stat sr, sw, sp;
  CHECK_EQ(fstat(r, &sr) | fstat(w, &sw) | fstat(path, &sp), 0);
  CHECK_EQ(sr.st_ino, sw.st_ino);
  CHECK_EQ(sr.st_ino, sp.st_ino);
  CHECK_EQ(sr.st_dev, sw.st_dev);
  CHECK_EQ(ftruncate(w, 3), 0);
  CHECK_EQ(pread(r, b, sizeof b, 0), 3);
  CHECK_EQ(fchmod(r, 0604), 0);
  CHECK_EQ(stat_of("other/o").st_mode & 0777, 0604);
  // Without a name, and then changed.
  int first = open("dir/b", O_RDONLY);
  CHECK_EQ(unlink("dir/b"), 0);
  CHECK_EQ(fchmod(first, 0600), 0);
  CHECK_EQ(fstat(first, &sr), 0);
  CHECK_EQ(sr.st_nlink, 0);
  CHECK_EQ(sr.st_mode & 0777, 0600);
  CHECK_EQ(pread(first, b, sizeof b, 0), 2);
  close(first);
  close(r);
  CHECK_EQ(flock(w, LOCK_EX | LOCK_NB), 0);
  close(w);
  close(path);
}

static void truncating_and_appending(void) {
  struct stat s;
  int f = open("dir/a", O_WRONLY | O_APPEND);
  CHECK_EQ(write(f, "b\n", 2), 2);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 4);
  close(f);
  f = open("dir/a", O_RDWR | O_TRUNC);
  CHECK_EQ(fstat(f, &s), 0);
  CHECK_EQ(s.st_size, 0);
  CHECK_EQ(s.st_blocks, 0);
  close(f);
  CHECK_EQ(truncate("dir/sub/deep", 2), 0);
  CHECK_EQ(stat_of("dir/sub/deep").st_size, 2);
  CHECK_EQ(truncate("dir/sub/deep", 100000), 0);
  f = open("dir/sub/deep", O_RDONLY);
  char b[8];
  CHECK_EQ(pread(f, b, 8, 0), 8);
  CHECK(!memcmp(b, "de\0\0\0\0\0\0", 8));
  CHECK_EQ(ftruncate(f, 1), -1);
  CHECK_EQ(errno, EINVAL);
  close(f);
  CHECK_EQ(truncate("dir", 1), -1);
  CHECK_EQ(errno, EISDIR);
}

static void mappings(void) {
  int f = open("big", O_RDWR);
  char* map = mmap(NULL, kBig, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
  char* copy = mmap(NULL, kBig, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
  CHECK(map != MAP_FAILED && copy != MAP_FAILED);
  CHECK_EQ(map[4096], 'L');
  CHECK_EQ(pwrite(f, "W", 1, 4096), 1);
  CHECK_EQ(map[4096], 'W');
  copy[0] = 'c';
  map[8192] = 'M';
  char b;
  CHECK_EQ(pread(f, &b, 1, 8192), 1);
  CHECK_EQ(b, 'M');
  CHECK_EQ(map[0], 'L');
  CHECK_EQ(ftruncate(f, kBig + 4096), 0);
  CHECK_EQ(ftruncate(f, kBig / 2), 0);
  CHECK_EQ(map[kBig / 2 - 1], 'L');
  pid_t child = fork();
  if (child == 0) {
    volatile char gone = map[kBig - 1];
    _exit(gone ? 1 : 0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  CHECK_EQ(ftruncate(f, kBig), 0);
  CHECK_EQ(map[kBig - 1], 0);
  CHECK_EQ(msync(map, kBig, MS_SYNC), 0);
  int g = open("big", O_RDONLY);
  CHECK_EQ(pread(g, &b, 1, 8192), 1);
  CHECK_EQ(b, 'M');
  char* read_only = mmap(NULL, kBig, PROT_READ, MAP_SHARED, g, 0);
  CHECK(read_only != MAP_FAILED);
  map[12288] = 'S';
  CHECK_EQ(read_only[12288], 'S');
  CHECK_EQ(mprotect(read_only, kBig, PROT_READ | PROT_WRITE), -1);
  CHECK_EQ(errno, EACCES);
  CHECK(mmap(NULL, kBig, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0) == MAP_FAILED);
  CHECK_EQ(errno, EACCES);
  munmap(read_only, kBig);
  munmap(map, kBig);
  munmap(copy, kBig);
  close(f);
  close(g);
}

static void files_without_names(void) {
  int f = open(".", O_TMPFILE | O_RDWR, 0640);
  CHECK(f >= 0);
  struct stat s;
  CHECK_EQ(fstat(f, &s), 0);
  CHECK_EQ(s.st_nlink, 0);
  CHECK_EQ(s.st_mode, S_IFREG | 0640);
  CHECK_EQ(write(f, "nameless", 8), 8);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", f);
  CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "dir/named", AT_SYMLINK_FOLLOW), 0);
  CHECK_EQ(stat_of("dir/named").st_ino, s.st_ino);
  CHECK_EQ(stat_of("dir/named").st_nlink, 1);
  CHECK_EQ(stat_of("dir/named").st_size, 8);
  close(f);
  CHECK_EQ(unlink("dir/named"), 0);
  CHECK_EQ(open("file", O_TMPFILE | O_RDWR, 0600), -1);
  CHECK_EQ(errno, ENOTDIR);
}

static void extended_attributes(void) {
  char b[64];
  const char* paths[] = {"file", "dir", "hl1"};
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(getxattr(paths[i], "user.k", b, sizeof b), -1);
    CHECK_EQ(errno, ENODATA);
    CHECK_EQ(setxattr(paths[i], "user.k", "value", 5, XATTR_REPLACE), -1);
    CHECK_EQ(errno, ENODATA);
    CHECK_EQ(setxattr(paths[i], "user.k", "value", 5, XATTR_CREATE), 0);
    CHECK_EQ(setxattr(paths[i], "user.k", "v", 1, XATTR_CREATE), -1);
    CHECK_EQ(errno, EEXIST);
    CHECK_EQ(setxattr(paths[i], "user.empty", "", 0, 0), 0);
    CHECK_EQ(getxattr(paths[i], "user.k", b, sizeof b), 5);
    CHECK(!memcmp(b, "value", 5));
    CHECK_EQ(getxattr(paths[i], "user.k", NULL, 0), 5);
    CHECK_EQ(getxattr(paths[i], "user.k", b, 2), -1);
    CHECK_EQ(errno, ERANGE);
    CHECK_EQ(getxattr(paths[i], "user.empty", b, sizeof b), 0);
    CHECK_EQ(listxattr(paths[i], b, sizeof b), 18);
    CHECK_EQ(removexattr(paths[i], "user.empty"), 0);
    CHECK_EQ(removexattr(paths[i], "user.empty"), -1);
    CHECK_EQ(errno, ENODATA);
    CHECK_EQ(listxattr(paths[i], b, sizeof b), 7);
  }
  CHECK_EQ(getxattr("hl2", "user.k", b, sizeof b), 5);  // another name of the same file
  CHECK_EQ(lsetxattr("link", "user.k", "v", 1, 0), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(setxattr("file", "nonsense", "v", 1, 0), -1);
  CHECK_EQ(errno, EOPNOTSUPP);
  if (geteuid() != 0) {
    CHECK_EQ(setxattr("file", "trusted.k", "v", 1, 0), -1);
    CHECK_EQ(errno, EPERM);
    return;
  }
  CHECK_EQ(setxattr("file", "trusted.k", "v", 1, 0), 0);
  CHECK_EQ(getxattr("file", "trusted.k", b, sizeof b), 1);
  // cap_net_raw=ep, revision 2.
  const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
  CHECK_EQ(setxattr("program", "security.capability", capability, 20, 0), 0);
  CHECK_EQ(getxattr("program", "security.capability", b, sizeof b), 20);
  CHECK(!memcmp(b, capability, 20));
}

static void moving_data(void) {
  char b[16];
  int big = open("big", O_RDONLY), out = open("out", O_CREAT | O_RDWR, 0644), p[2];
  off_t at = 100;
  CHECK_EQ(sendfile(out, big, &at, 1000), 1000);
  CHECK_EQ(at, 1100);
  loff_t from = 0, to = 4000;
  CHECK_EQ(copy_file_range(big, &from, out, &to, 5000, 0), 5000);
  CHECK_EQ(to, 9000);
  CHECK_EQ(stat_of("out").st_size, 9000);
  CHECK_EQ(pread(out, b, 2, 8998), 2);
  CHECK_EQ(b[1], 'L');
  CHECK_EQ(pread(out, b, 2, 2000), 2);
  CHECK_EQ(b[0], 0);
  from = 0, to = 10;
  CHECK_EQ(copy_file_range(out, &from, out, &to, 100, 0), -1);  // the ranges overlap
  CHECK_EQ(errno, EINVAL);
  from = kBig;
  CHECK_EQ(copy_file_range(big, &from, out, &to, 100, 0), 0);
  int reader = open("out", O_RDONLY);
  CHECK_EQ(copy_file_range(big, NULL, reader, NULL, 100, 0), -1);
  CHECK_EQ(errno, EBADF);
  CHECK_EQ(pipe(p), 0);
  from = 0;
  CHECK_EQ(splice(big, &from, p[1], NULL, 4096, 0), 4096);
  to = 20000;
  CHECK_EQ(splice(p[0], NULL, out, &to, 4096, 0), 4096);
  CHECK_EQ(stat_of("out").st_size, 24096);
  close(p[0]);
  close(p[1]);
  close(reader);
  close(big);
  close(out);
}

static void holes(void) {
  char b[8];
  int f = open("holes", O_CREAT | O_RDWR, 0644);
  CHECK_EQ(pwrite(f, "end", 3, 1 << 20), 3);
  CHECK_EQ(lseek(f, 0, SEEK_DATA), 1 << 20);
  CHECK_EQ(lseek(f, 0, SEEK_HOLE), 0);
  CHECK_EQ(lseek(f, 1 << 20, SEEK_HOLE), (1 << 20) + 3);
  CHECK_EQ(lseek(f, 2 << 20, SEEK_DATA), -1);
  CHECK_EQ(errno, ENXIO);
  CHECK_EQ(fallocate(f, 0, 0, 65536), 0);
  CHECK_EQ(stat_of("holes").st_size, (1 << 20) + 3);
  CHECK(stat_of("holes").st_blocks >= 128);
  CHECK_EQ(pwrite(f, "data", 4, 8192), 4);
  CHECK_EQ(fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096), 0);
  CHECK_EQ(pread(f, b, 4, 8192), 4);
  CHECK(!memcmp(b, "\0\0\0\0", 4));
  CHECK_EQ(fallocate(f, FALLOC_FL_KEEP_SIZE, 4 << 20, 4096), 0);
  CHECK_EQ(stat_of("holes").st_size, (1 << 20) + 3);
  CHECK_EQ(fallocate(f, FALLOC_FL_PUNCH_HOLE, 0, 4096), -1);
  CHECK_EQ(errno, EOPNOTSUPP);
  CHECK_EQ(fallocate(f, 0, 0, 0), -1);
  CHECK_EQ(errno, EINVAL);
  close(f);
  f = open("big", O_RDONLY);
  CHECK_EQ(fallocate(f, 0, 0, 4096), -1);
  CHECK_EQ(errno, EBADF);
  CHECK_EQ(lseek(f, 4096, SEEK_DATA), 4096);
  close(f);
}

static void direct_io(void) {
  char* b = aligned_alloc(4096, 8192);
  int f = open("direct", O_CREAT | O_RDWR | O_DIRECT, 0644);
  CHECK(f >= 0);
  CHECK(fcntl(f, F_GETFL) & O_DIRECT);
  memset(b, 'd', 8192);
  CHECK_EQ(pwrite(f, b, 8192, 0), 8192);
  memset(b, 0, 8192);
  CHECK_EQ(pread(f, b, 4096, 4096), 4096);
  CHECK_EQ(b[4095], 'd');
  CHECK_EQ(pread(f, b, 4096, 8192), 0);
  close(f);
  f = open("big", O_RDONLY | O_DIRECT);
  CHECK_EQ(pread(f, b, 4096, 65536), 4096);
  CHECK_EQ(b[0], 'L');
  close(f);
  free(b);
}

static void ofd_locks(void) {
  int f = open("hl1", O_RDWR), g = open("hl2", O_RDWR);  // two names of one lower file
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
  CHECK_EQ(fcntl(f, F_OFD_SETLK, &l), 0);
  struct flock m = l;
  CHECK_EQ(fcntl(g, F_OFD_SETLK, &m), -1);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(fcntl(g, F_OFD_GETLK, &m), 0);
  CHECK_EQ(m.l_type, F_WRLCK);
  CHECK_EQ(m.l_pid, -1);
  CHECK_EQ(m.l_start, 10);
  m.l_start = 20, m.l_type = F_RDLCK, m.l_pid = 0;
  CHECK_EQ(fcntl(g, F_OFD_SETLK, &m), 0);
  int d = dup(f);
  close(f);  // the description lives on
  m = l;
  CHECK_EQ(fcntl(g, F_OFD_SETLK, &m), -1);
  close(d);
  CHECK_EQ(fcntl(g, F_OFD_SETLK, &m), 0);
  close(g);
}

static int expect_event(int i, uint32_t mask, const char* name) {
  static char buffer[4096] __attribute__((aligned(8)));
  static ssize_t have, at;
  if (at == have) {
    struct pollfd p = {.fd = i, .events = POLLIN};
    at = have = 0;
    if (poll(&p, 1, 2000) == 1) have = read(i, buffer, sizeof buffer);
    if (have <= 0) return have = 0;
  }
  struct inotify_event* e = (void*)(buffer + at);
  at += sizeof *e + e->len;
  int right = (e->mask & ~IN_ISDIR) == mask && !strcmp(e->len ? e->name : "", name);
  if (!right) fprintf(stderr, "inotify: %x %s\n", e->mask, e->len ? e->name : "");
  return right;
}

static void watching(void) {
  int i = inotify_init1(IN_CLOEXEC);
  int w = inotify_add_watch(i, "dir/sub", IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN));
  int d = inotify_add_watch(i, "dir/sub/deep", IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF);
  CHECK(w >= 0 && d >= 0);
  int f = open("dir/sub/deep", O_WRONLY);
  CHECK_EQ(write(f, "D", 1), 1);
  close(f);
  CHECK(expect_event(i, IN_MODIFY, "deep"));
  CHECK(expect_event(i, IN_MODIFY, ""));
  CHECK(expect_event(i, IN_CLOSE_WRITE, "deep"));
  CHECK_EQ(chmod("dir/sub/deep", 0600), 0);
  CHECK(expect_event(i, IN_ATTRIB, "deep"));
  CHECK(expect_event(i, IN_ATTRIB, ""));
  CHECK_EQ(rename("dir/sub/deep", "dir/sub/deeper"), 0);
  CHECK(expect_event(i, IN_MOVED_FROM, "deep"));
  CHECK(expect_event(i, IN_MOVED_TO, "deeper"));
  CHECK_EQ(mkdir("dir/sub/n", 0755), 0);
  CHECK(expect_event(i, IN_CREATE, "n"));
  CHECK_EQ(unlink("dir/sub/deeper"), 0);
  CHECK(expect_event(i, IN_ATTRIB, ""));
  CHECK(expect_event(i, IN_DELETE_SELF, ""));
  CHECK(expect_event(i, IN_IGNORED, ""));
  CHECK(expect_event(i, IN_DELETE, "deeper"));
  close(i);
}

static void space(void) {
  struct statfs fs;
  CHECK_EQ(statfs("dir", &fs), 0);
  CHECK(fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree);
  CHECK_EQ(fs.f_namelen, 255);
  int f = open("file", O_RDONLY);
  struct statfs same;
  CHECK_EQ(fstatfs(f, &same), 0);
  CHECK_EQ(same.f_type, fs.f_type);
  CHECK_EQ(same.f_blocks, fs.f_blocks);
  close(f);
}

int main(void) {
  umask(022);
  RUN(attributes);
  RUN(open_files_see_changes);
  RUN(truncating_and_appending);
  RUN(mappings);
  RUN(files_without_names);
  RUN(extended_attributes);
  RUN(owners);
  RUN(moving_data);
  RUN(holes);
  RUN(direct_io);
  RUN(ofd_locks);
  RUN(watching);
  RUN(space);
  return check_result();
}
