// Files and directories through the system calls.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "../kernel/check.h"

static char dir[64];
static volatile unsigned long bad_address = 8;

static void reading_and_writing(void) {
  int f = open("a", O_RDWR | O_CREAT | O_EXCL, 0640);
  CHECK(f >= 0);
  CHECK_EQ(open("a", O_RDWR | O_CREAT | O_EXCL, 0640), -1);
  CHECK_EQ(errno, EEXIST);
  struct iovec v[2] = {{"hello ", 6}, {"world", 5}};
  CHECK_EQ(writev(f, v, 2), 11);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 11);
  char b[32];
  CHECK_EQ(pread(f, b, 5, 6), 5);
  CHECK(!memcmp(b, "world", 5));
  CHECK_EQ(pwrite(f, "W", 1, 6), 1);
  CHECK_EQ(lseek(f, -5, SEEK_END), 6);
  CHECK_EQ(read(f, b, 32), 5);
  CHECK(!memcmp(b, "World", 5));
  CHECK_EQ(read(f, b, 32), 0);
  CHECK_EQ(ftruncate(f, 5), 0);
  struct stat s;
  CHECK_EQ(fstat(f, &s), 0);
  CHECK_EQ(s.st_size, 5);
  CHECK_EQ(s.st_mode, S_IFREG | 0640);
  CHECK_EQ(s.st_nlink, 1);
  CHECK_EQ(fsync(f), 0);
  CHECK_EQ(fcntl(f, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR);
  CHECK_EQ(fcntl(f, F_SETFL, O_APPEND), 0);
  CHECK_EQ(lseek(f, 0, SEEK_SET), 0);
  CHECK_EQ(write(f, "!", 1), 1);
  CHECK_EQ(pread(f, b, 32, 0), 6);
  CHECK(!memcmp(b, "hello!", 6));
  CHECK_EQ(read(f, NULL, 0), 0);
  CHECK_EQ(lseek(f, 0, SEEK_SET), 0);
  CHECK_EQ(read(f, (void*)bad_address, 4), -1);
  CHECK_EQ(errno, EFAULT);
  close(f);
  CHECK_EQ(open("a/b", O_RDONLY), -1);
  CHECK_EQ(errno, ENOTDIR);
  f = open("a", O_WRONLY);
  CHECK_EQ(read(f, b, 1), -1);
  CHECK_EQ(errno, EBADF);
  close(f);
}

static void names(void) {
  struct stat s;
  CHECK_EQ(mkdir("d", 0755), 0);
  CHECK_EQ(link("a", "d/b"), 0);
  CHECK_EQ(stat("d/b", &s), 0);
  CHECK_EQ(s.st_nlink, 2);
  CHECK_EQ(symlink("d/b", "s"), 0);
  char b[32];
  CHECK_EQ(readlink("s", b, 32), 3);
  CHECK_EQ(lstat("s", &s), 0);
  CHECK(S_ISLNK(s.st_mode));
  CHECK_EQ(rename("d/b", "d/c"), 0);
  CHECK_EQ(stat("s", &s), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(rmdir("d"), -1);
  CHECK_EQ(errno, ENOTEMPTY);
  CHECK_EQ(renameat2(AT_FDCWD, "a", AT_FDCWD, "d/c", RENAME_NOREPLACE), -1);
  CHECK_EQ(errno, EEXIST);
  CHECK_EQ(access("a", R_OK), 0);
  CHECK_EQ(access("nothing", F_OK), -1);
  int seen = 0, n = 0;
  DIR* d = opendir(".");
  for (struct dirent* e; (e = readdir(d));) {
    n++;
    if (!strcmp(e->d_name, "a")) seen |= e->d_type == DT_REG ? 1 : 8;
    if (!strcmp(e->d_name, "d")) seen |= e->d_type == DT_DIR ? 2 : 8;
    if (!strcmp(e->d_name, "s")) seen |= e->d_type == DT_LNK ? 4 : 8;
  }
  CHECK_EQ(seen, 7);
  CHECK_EQ(n, 5);
  closedir(d);
  char cwd[4096];
  CHECK_EQ(chdir("d"), 0);
  CHECK(getcwd(cwd, sizeof cwd) && !strcmp(cwd + strlen(cwd) - 2, "/d"));
  CHECK_EQ(chdir(".."), 0);
  CHECK_EQ(unlink("d/c"), 0);
  CHECK_EQ(rmdir("d"), 0);
  CHECK_EQ(unlink("s"), 0);
}

static void attributes(void) {
  struct stat s;
  CHECK_EQ(chmod("a", 0600), 0);
  struct timespec t[2] = {{1000, 5}, {2000, 7}};
  CHECK_EQ(utimensat(AT_FDCWD, "a", t, 0), 0);
  CHECK_EQ(stat("a", &s), 0);
  CHECK_EQ(s.st_mode & 07777, 0600);
  CHECK_EQ(s.st_mtim.tv_sec, 2000);
  CHECK_EQ(s.st_mtim.tv_nsec, 7);
  struct statx x;
  CHECK_EQ(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &x), 0);
  CHECK_EQ(x.stx_ino, s.st_ino);
  CHECK_EQ(x.stx_size, s.st_size);
  struct statfs f;
  CHECK_EQ(statfs(".", &f), 0);
  CHECK(f.f_bsize > 0 && f.f_blocks > 0);
  CHECK_EQ(umask(027), 022);
  int fd = open("m", O_CREAT | O_RDWR, 0666);
  CHECK_EQ(fstat(fd, &s), 0);
  CHECK_EQ(s.st_mode & 0777, 0640);
  umask(022);
  CHECK_EQ(fallocate(fd, 0, 0, 10000), 0);
  CHECK_EQ(fstat(fd, &s), 0);
  CHECK_EQ(s.st_size, 10000);
  close(fd);
  unlink("m");
}

static void locks(void) {
  int f = open("a", O_RDWR);
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  CHECK_EQ(fcntl(f, F_SETLK, &l), 0);
  CHECK_EQ(flock(f, LOCK_EX), 0);
  pid_t c = fork();
  if (c == 0) {
    int g = open("a", O_RDWR), bad = 0;
    struct flock m = l;
    if (fcntl(g, F_SETLK, &m) != -1 || errno != EAGAIN) bad |= 1;
    if (fcntl(g, F_GETLK, &m) != 0 || m.l_type != F_WRLCK || m.l_pid != getppid()) bad |= 2;
    if (flock(g, LOCK_EX | LOCK_NB) != -1 || errno != EWOULDBLOCK) bad |= 4;
    _exit(bad);
  }
  int status;
  waitpid(c, &status, 0);
  CHECK_EQ(WEXITSTATUS(status), 0);
  c = fork();
  if (c == 0) {
    close(f);  // the inherited description holds the flock
    int g = open("a", O_RDWR);
    _exit(fcntl(g, F_SETLKW, &l) == 0 && flock(g, LOCK_EX) == 0 ? 0 : 1);
  }
  l.l_type = F_UNLCK;
  CHECK_EQ(fcntl(f, F_SETLK, &l), 0);
  close(f);
  CHECK_EQ(waitpid(c, &status, 0), c);
  CHECK_EQ(status, 0);
}

static void descriptors(void) {
  int f = open("a", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(fcntl(f, F_GETFD), FD_CLOEXEC);
  int g = fcntl(f, F_DUPFD, 100);
  CHECK_EQ(g, 100);
  CHECK_EQ(fcntl(g, F_GETFD), 0);
  CHECK_EQ(dup2(f, 101), 101);
  CHECK_EQ(lseek(f, 3, SEEK_SET), 3);
  CHECK_EQ(lseek(101, 0, SEEK_CUR), 3);
  CHECK_EQ(close(g), 0);
  CHECK_EQ(close(g), -1);
  CHECK_EQ(errno, EBADF);
  CHECK_EQ(dup3(f, f, 0), -1);
  CHECK_EQ(errno, EINVAL);
  close(101);
  int p = open("a", O_PATH);
  char c;
  CHECK_EQ(read(p, &c, 1), -1);
  CHECK_EQ(errno, EBADF);
  struct stat s;
  CHECK_EQ(fstat(p, &s), 0);
  close(p);
  close(f);
}

static void moving_data(void) {
  int in = open("a", O_RDONLY), out = open("copy", O_CREAT | O_RDWR, 0600), p[2];
  off_t at = 1;
  CHECK_EQ(sendfile(out, in, &at, 3), 3);
  CHECK_EQ(at, 4);
  char b[16];
  CHECK_EQ(pread(out, b, 16, 0), 3);
  CHECK(!memcmp(b, "ell", 3));
  CHECK_EQ(copy_file_range(in, NULL, out, NULL, 100, 0), 6);
  CHECK_EQ(pread(out, b, 16, 0), 9);
  pipe(p);
  off_t zero = 0;
  CHECK_EQ(splice(in, &zero, p[1], NULL, 6, 0), 6);
  CHECK_EQ(read(p[0], b, 16), 6);
  CHECK(!memcmp(b, "hello!", 6));
  close(p[0]);
  close(p[1]);
  close(in);
  close(out);
  unlink("copy");
  int m = memfd_create("x", MFD_ALLOW_SEALING);
  CHECK(m >= 0);
  CHECK_EQ(ftruncate(m, 4096), 0);
  char* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
  CHECK(map != MAP_FAILED);
  map[5] = 'y';
  CHECK_EQ(pread(m, b, 1, 5), 1);
  CHECK_EQ(b[0], 'y');
  munmap(map, 4096);
  CHECK_EQ(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE), 0);
  CHECK_EQ(write(m, "z", 1), -1);
  CHECK_EQ(errno, EPERM);
  close(m);
}

static void devices(void) {
  char b[64];
  int f = open("/dev/zero", O_RDWR);
  memset(b, 1, sizeof b);
  CHECK_EQ(read(f, b, 64), 64);
  CHECK_EQ(b[63], 0);
  close(f);
  f = open("/dev/full", O_WRONLY);
  CHECK_EQ(write(f, b, 1), -1);
  CHECK_EQ(errno, ENOSPC);
  close(f);
  f = open("/dev/null", O_RDWR);
  CHECK_EQ(write(f, b, 64), 64);
  CHECK_EQ(read(f, b, 64), 0);
  close(f);
  f = open("/dev/urandom", O_RDONLY);
  CHECK_EQ(read(f, b, 64), 64);
  close(f);
}

int main(void) {
  snprintf(dir, sizeof dir, "files.%d", getpid());
  umask(022);
  CHECK_EQ(mkdir(dir, 0755), 0);
  CHECK_EQ(chdir(dir), 0);
  RUN(reading_and_writing);
  RUN(names);
  RUN(attributes);
  RUN(locks);
  RUN(descriptors);
  RUN(moving_data);
  RUN(devices);
  unlink("a");
  CHECK_EQ(chdir(".."), 0);
  CHECK_EQ(rmdir(dir), 0);
  return check_result();
}
