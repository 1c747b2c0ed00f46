// No space left on device: what fails says ENOSPC, and what needs no space goes on working. The
// working directory is on a small file system (full.sh); the argument, if any, is a file of the
// lower layer that is larger than all of it.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "../../kernel/check.h"

static char block[65536];

// Bytes until ENOSPC.
static long fill(const char* path) {
  int f = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  CHECK(f >= 0);
  long total = 0, n;
  while ((n = write(f, block, sizeof block)) > 0) total += n;
  CHECK_EQ(n, -1);
  CHECK_EQ(errno, ENOSPC);
  while ((n = write(f, block, 512)) > 0) total += n;
  CHECK_EQ(errno, ENOSPC);
  struct stat s;
  CHECK_EQ(fstat(f, &s), 0);
  CHECK_EQ(s.st_size, total);
  close(f);
  return total;
}

static void no_blocks(void) {
  int before = open("before", O_CREAT | O_RDWR, 0644);
  CHECK_EQ(write(before, "some", 4), 4);
  CHECK_EQ(ftruncate(before, 65536), 0);
  long total = fill("filler");
  CHECK(total > 2 << 20 && total < 4 << 20);
  CHECK_EQ(pwrite(before, block, 4096, 8192), -1);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(pwrite(before, "SOME", 4, 0), 4);  // has its block
  CHECK_EQ(fallocate(before, 0, 0, 65536), -1);
  CHECK_EQ(errno, ENOSPC);
  struct statfs fs;
  CHECK_EQ(statfs(".", &fs), 0);
  CHECK_EQ(fs.f_bavail, 0);
  char* map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, before, 0);
  CHECK(map != MAP_FAILED);
  CHECK(!memcmp(map, "SOME", 4));
  pid_t child = fork();
  if (child == 0) {
    *(volatile char*)(map + 32768) = 1;
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  munmap(map, 65536);
  CHECK_EQ(rename("before", "after"), 0);
  CHECK_EQ(unlink("filler"), 0);
  CHECK_EQ(pwrite(before, block, 4096, 8192), 4096);
  close(before);
  CHECK_EQ(unlink("after"), 0);
}

static void no_inodes(void) {
  char name[32];
  int n = 0, f;
  for (;; n++) {
    snprintf(name, sizeof name, "f%d", n);
    f = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (f < 0) break;
    close(f);
  }
  CHECK_EQ(errno, ENOSPC);
  CHECK(n > 50 && n < 200);
  struct stat s;
  CHECK_EQ(stat(name, &s), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(mkdir("m", 0755), -1);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(symlink("x", "s"), -1);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(mkfifo("p", 0644), -1);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(rename("f0", "f1"), 0);
  for (int i = 1; i < n; i++) {
    snprintf(name, sizeof name, "f%d", i);
    CHECK_EQ(unlink(name), 0);
  }
  CHECK_EQ(mkdir("m", 0755), 0);
  CHECK_EQ(rmdir("m"), 0);
}

static const char* lower;

static void no_room_for_a_copy(void) {
  char b[4];
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(open(lower, O_RDWR), -1);
    CHECK_EQ(errno, ENOSPC);
    CHECK_EQ(chmod(lower, 0600), -1);
    CHECK_EQ(errno, ENOSPC);
    int f = open(lower, O_RDONLY);
    CHECK_EQ(pread(f, b, 4, 8388608 - 4), 4);
    CHECK(!memcmp(b, "BBBB", 4));
    struct stat s;
    CHECK_EQ(fstat(f, &s), 0);
    CHECK_EQ(s.st_size, 8388608);
    CHECK_EQ(s.st_nlink, 1);
    close(f);
  }
  CHECK(fill("filler") > 2 << 20);  // the failed copies are gone
  CHECK_EQ(unlink("filler"), 0);
  int f = open(lower, O_RDWR | O_TRUNC);  // nothing to copy
  CHECK(f >= 0);
  CHECK_EQ(write(f, "new", 3), 3);
  close(f);
}

int main(int argc, char** argv) {
  RUN(no_blocks);
  RUN(no_inodes);
  lower = argc > 1 ? argv[1] : NULL;
  if (lower) RUN(no_room_for_a_copy);
  return check_result();
}
