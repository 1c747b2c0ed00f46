// Names over a tree that was there before (made by tree.sh): rename, unlink, links and listings of
// files that the sandbox's root has in its lower layer. On the host it is a plain directory, and
// the outcome the same.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "../../kernel/check.h"

static ino_t inode_of(const char* path) {
  struct stat s;
  return lstat(path, &s) == 0 ? s.st_ino : 0;
}

static int links_of(const char* path) {
  struct stat s;
  return lstat(path, &s) == 0 ? (int)s.st_nlink : -1;
}

static void write_text(const char* path, const char* text) {
  int f = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  CHECK(f >= 0);
  CHECK_EQ(write(f, text, strlen(text)), (ssize_t)strlen(text));
  close(f);
}

static int has_text(const char* path, const char* text) {
  char b[64] = {0};
  int f = open(path, O_RDONLY);
  if (f < 0) return 0;
  ssize_t n = read(f, b, sizeof b - 1);
  close(f);
  return n >= 0 && strcmp(b, text) == 0;
}

// Entries but "." and "..", read through a buffer of `bytes`; -1 when one comes twice or its number
// is not its inode's.
static int count_entries(const char* path, int bytes) {
  static char buffer[32768];
  static unsigned char seen[4096];
  int f = open(path, O_RDONLY | O_DIRECTORY), n = 0, bad = 0;
  CHECK(f >= 0);
  memset(seen, 0, sizeof seen);
  for (long got; (got = syscall(SYS_getdents64, f, buffer, bytes)) > 0;) {
    for (long at = 0; at < got;) {
      const char* e = buffer + at;
      const char* name = e + 19;
      at += *(unsigned short*)(e + 16);
      if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
      n++;
      struct stat s;
      if (fstatat(f, name, &s, AT_SYMLINK_NOFOLLOW) || s.st_ino != *(unsigned long*)e) bad++;
      if (name[0] == 'f' && name[1] >= '0' && name[1] <= '9') bad += seen[atoi(name + 1) % 4096]++;
    }
  }
  close(f);
  return bad ? -1 : n;
}

static void whiteouts(void) {
  CHECK_EQ(unlink("other/o"), 0);
  CHECK_EQ(access("other/o", F_OK), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(count_entries("other", 4096), 0);
  CHECK_EQ(unlink("other/o"), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(mkdir("other/o", 0755), 0);  // another kind of file where one was
  CHECK_EQ(count_entries("other/o", 4096), 0);
  CHECK_EQ(rmdir("other/o"), 0);
  write_text("other/o", "new");
  CHECK(has_text("other/o", "new"));
  CHECK_EQ(links_of("other/o"), 1);
  CHECK_EQ(count_entries("other", 4096), 1);
  CHECK_EQ(unlink("other/o"), 0);
  CHECK_EQ(rmdir("other"), 0);
  CHECK_EQ(access("other", F_OK), -1);
  CHECK_EQ(mkdir("other", 0700), 0);  // opaque: nothing shines through
  CHECK_EQ(count_entries("other", 4096), 0);
  CHECK_EQ(access("other/o", F_OK), -1);
  CHECK_EQ(rmdir("empty"), 0);
  CHECK_EQ(symlink("file", "empty"), 0);
  CHECK_EQ(unlink("empty"), 0);
}

static void renaming_files(void) {
  ino_t a = inode_of("dir/a");
  CHECK_EQ(rename("dir/a", "dir/b"), 0);  // both are lower files
  CHECK_EQ(inode_of("dir/b"), a);
  CHECK(has_text("dir/b", "a\n"));
  CHECK_EQ(access("dir/a", F_OK), -1);
  CHECK_EQ(rename("dir/b", "moved"), 0);
  CHECK_EQ(inode_of("moved"), a);
  CHECK_EQ(access("dir/b", F_OK), -1);
  write_text("upper", "upper");
  CHECK_EQ(rename("upper", "moved"), 0);
  CHECK(has_text("moved", "upper"));
  ino_t file = inode_of("file"), moved = inode_of("moved");
  CHECK_EQ(renameat2(AT_FDCWD, "file", AT_FDCWD, "moved", RENAME_NOREPLACE), -1);
  CHECK_EQ(errno, EEXIST);
  CHECK_EQ(renameat2(AT_FDCWD, "file", AT_FDCWD, "moved", RENAME_EXCHANGE), 0);
  CHECK_EQ(inode_of("moved"), file);
  CHECK_EQ(inode_of("file"), moved);
  CHECK(has_text("moved", "lower file\n"));
  CHECK_EQ(renameat2(AT_FDCWD, "file", AT_FDCWD, "moved", RENAME_EXCHANGE), 0);
  CHECK_EQ(renameat2(AT_FDCWD, "file", AT_FDCWD, "nothing", RENAME_EXCHANGE), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(rename("link", "link2"), 0);
  char target[16];
  CHECK_EQ(readlink("link2", target, sizeof target), 4);
  CHECK(has_text("link2", "lower file\n"));
  CHECK_EQ(rename("moved", "moved"), 0);
  CHECK_EQ(unlink("moved"), 0);
}

static void renaming_directories(void) {
  ino_t number = inode_of("dir");
  CHECK_EQ(rename("dir", "dir/sub/x"), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(rename("dir/sub", "dir"), -1);
  CHECK_EQ(errno, ENOTEMPTY);
  CHECK_EQ(rename("dir", "file"), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(rename("file", "dir"), -1);
  CHECK_EQ(errno, EISDIR);
  CHECK_EQ(rename("dir", "gone"), 0);  // no EXDEV
  CHECK_EQ(inode_of("gone"), number);
  CHECK_EQ(access("dir", F_OK), -1);
  CHECK(has_text("gone/sub/deep", "deep\n"));
  write_text("gone/sub/deep", "changed");
  CHECK_EQ(mkdir("dir", 0755), 0);
  CHECK_EQ(count_entries("dir", 4096), 0);
  CHECK_EQ(rename("gone", "dir"), 0);  // onto an empty directory
  CHECK(has_text("dir/sub/deep", "changed"));
  CHECK_EQ(access("dir/empty", F_OK), 0);
  CHECK_EQ(rename("dir/sub", "sub"), 0);
  CHECK_EQ(renameat2(AT_FDCWD, "sub", AT_FDCWD, "dir/empty", RENAME_EXCHANGE), 0);
  CHECK(has_text("dir/empty/deep", "changed"));
  CHECK_EQ(count_entries("sub", 4096), 0);
  CHECK_EQ(rmdir("sub"), 0);
  CHECK_EQ(rmdir("dir/empty"), -1);
  CHECK_EQ(errno, ENOTEMPTY);
}

static void hard_links(void) {
  ino_t number = inode_of("hl1");
  CHECK_EQ(links_of("hl1"), 3);
  CHECK_EQ(inode_of("dir/hl3"), number);
  int f = open("hl2", O_WRONLY | O_APPEND);
  CHECK_EQ(write(f, "more\n", 5), 5);
  close(f);
  CHECK(has_text("hl1", "linked\nmore\n"));
  CHECK(has_text("dir/hl3", "linked\nmore\n"));
  CHECK_EQ(inode_of("hl1"), number);
  CHECK_EQ(inode_of("hl2"), number);
  CHECK_EQ(links_of("dir/hl3"), 3);
  CHECK_EQ(link("hl1", "hl4"), 0);
  CHECK_EQ(links_of("hl2"), 4);
  CHECK_EQ(unlink("hl2"), 0);
  CHECK_EQ(unlink("hl1"), 0);
  CHECK_EQ(links_of("hl4"), 2);
  CHECK(has_text("dir/hl3", "linked\nmore\n"));
  CHECK_EQ(inode_of("dir/hl3"), number);
  CHECK_EQ(unlink("hl4"), 0);
  CHECK_EQ(links_of("dir/hl3"), 1);
  CHECK_EQ(link("dir", "d2"), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(link("file", "program"), -1);
  CHECK_EQ(errno, EEXIST);
}

static void listings(void) {
  char name[64];
  CHECK_EQ(count_entries("many", 32768), 1000);
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "many/f%d", i * 3);
    CHECK_EQ(unlink(name), 0);
  }
  CHECK_EQ(count_entries("many", 32768), 700);
  for (int i = 1000; i < 1500; i++) {
    snprintf(name, sizeof name, "many/f%d", i);
    write_text(name, "");
  }
  CHECK_EQ(count_entries("many", 32768), 1200);
  CHECK_EQ(count_entries("many", 300), 1200);
  CHECK_EQ(chmod("many/f1", 0600), 0);  // in both layers now
  CHECK_EQ(count_entries("many", 300), 1200);
  // rm -r: remove while reading.
  DIR* d = opendir("many");
  int n = 0;
  for (struct dirent* e; (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    CHECK_EQ(unlinkat(dirfd(d), e->d_name, 0), 0);
    n++;
  }
  CHECK_EQ(n, 1200);
  // The same open directory, from its start.
  rewinddir(d);
  n = 0;
  while (readdir(d)) n++;
  CHECK_EQ(n, 2);
  write_text("many/f7", "again");
  rewinddir(d);
  n = 0;
  while (readdir(d)) n++;
  CHECK_EQ(n, 3);
  closedir(d);
  CHECK_EQ(unlink("many/f7"), 0);
  CHECK_EQ(rmdir("many"), 0);
}

static void special_files(void) {
  struct stat s;
  CHECK_EQ(mkfifo("dir/fifo", 0640), 0);
  CHECK_EQ(lstat("dir/fifo", &s), 0);
  CHECK_EQ(s.st_mode, S_IFIFO | 0640);
  int r = open("dir/fifo", O_RDONLY | O_NONBLOCK), w = open("dir/fifo", O_WRONLY);
  char b[4];
  CHECK_EQ(write(w, "x", 1), 1);
  CHECK_EQ(read(r, b, 4), 1);
  close(r);
  close(w);
  int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "dir/socket"};
  CHECK_EQ(bind(l, (void*)&address, sizeof address), 0);
  CHECK_EQ(listen(l, 1), 0);
  CHECK_EQ(connect(c, (void*)&address, sizeof address), 0);
  CHECK_EQ(rename("dir/socket", "dir/socket2"), 0);
  CHECK_EQ(lstat("dir/socket2", &s), 0);
  CHECK(S_ISSOCK(s.st_mode));
  close(l);
  close(c);
  CHECK_EQ(unlink("dir/socket2"), 0);
  CHECK_EQ(unlink("dir/fifo"), 0);
}

static void errors(void) {
  char name[300];
  memset(name, 'n', sizeof name);
  name[256] = 0;
  CHECK_EQ(open(name, O_RDONLY), -1);
  CHECK_EQ(errno, ENAMETOOLONG);
  CHECK_EQ(open(name, O_RDWR | O_CREAT, 0644), -1);
  CHECK_EQ(errno, ENAMETOOLONG);
  name[255] = 0;
  int f = open(name, O_RDWR | O_CREAT, 0644);
  CHECK(f >= 0);
  close(f);
  CHECK_EQ(unlink(name), 0);
  CHECK_EQ(mkdir("file/x", 0755), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(mkdir("nothing/x", 0755), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(open("dir", O_WRONLY), -1);
  CHECK_EQ(errno, EISDIR);
  CHECK_EQ(unlink("dir"), -1);
  CHECK_EQ(errno, EISDIR);
  CHECK_EQ(rmdir("file"), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(open("file/", O_RDONLY), -1);
  CHECK_EQ(errno, ENOTDIR);
  CHECK_EQ(symlink("loop", "loop"), 0);
  CHECK_EQ(open("loop", O_RDONLY), -1);
  CHECK_EQ(errno, ELOOP);
  CHECK_EQ(unlink("loop"), 0);
  CHECK_EQ(symlink("", "s"), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(rmdir("dir/."), -1);
  CHECK_EQ(errno, EINVAL);
  int d = open("dir", O_RDONLY);
  CHECK_EQ(mkdir("dead", 0755), 0);
  int dead = open("dead", O_RDONLY);
  CHECK_EQ(rmdir("dead"), 0);
  CHECK_EQ(openat(dead, "x", O_CREAT | O_RDWR, 0644), -1);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(fstatat(d, "nothing", &(struct stat){0}, 0), -1);
  CHECK_EQ(errno, ENOENT);
  close(d);
  close(dead);
}

// A name that comes and goes, in a directory with a lower layer and in one without.
static void coming_and_going(void) {
  CHECK_EQ(mkdir("fresh", 0755), 0);
  for (int i = 0; i < 50; i++) {
    const char* in[] = {"fresh/t", "dir/t", "dir/sub2", "fresh/sub2"};
    for (int k = 0; k < 2; k++) {
      CHECK_EQ(access(in[k], F_OK), -1);
      int f = open(in[k], O_CREAT | O_EXCL | O_RDWR, 0644);
      CHECK(f >= 0);
      CHECK_EQ(open(in[k], O_CREAT | O_EXCL | O_RDWR, 0644), -1);
      CHECK_EQ(errno, EEXIST);
      CHECK_EQ(write(f, "t", 1), 1);
      CHECK_EQ(links_of(in[k]), 1);
      CHECK_EQ(unlink(in[k]), 0);
      struct stat s;
      CHECK_EQ(fstat(f, &s), 0);
      CHECK_EQ(s.st_nlink, 0);
      CHECK_EQ(s.st_size, 1);
      close(f);
    }
    for (int k = 2; k < 4; k++) {
      CHECK_EQ(mkdir(in[k], 0755), 0);
      CHECK_EQ(count_entries(in[k], 4096), 0);
      CHECK_EQ(rmdir(in[k]), 0);
      CHECK_EQ(rmdir(in[k]), -1);
      CHECK_EQ(errno, ENOENT);
    }
  }
  CHECK_EQ(count_entries("fresh", 4096), 0);
  CHECK_EQ(rmdir("fresh"), 0);
}

int main(void) {
  umask(022);
  RUN(whiteouts);
  RUN(coming_and_going);
  RUN(renaming_files);
  RUN(renaming_directories);
  RUN(hard_links);
  RUN(listings);
  RUN(special_files);
  RUN(errors);
  return check_result();
}
