// Files: names, attributes and data on the sandbox's root file system.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define FILE_BYTES (1 << 20)
static char block[FILE_BYTES];

static void op_fstat(long n) {
  struct stat st;
  for (; n > 0; n--) must(fstat(data_fd, &st) == 0, "fstat");
}

static void op_stat(long n) {
  struct stat st;
  for (; n > 0; n--) must(stat(data_path, &st) == 0, "stat");
}

static void op_stat_enoent(long n) {
  struct stat st;
  for (; n > 0; n--) must(stat(absent_path, &st) != 0, "stat of nothing");
}

static void op_open_close(long n) {
  for (; n > 0; n--) {
    int fd = open(data_path, O_RDONLY);
    must(fd >= 0, "open");
    close(fd);
  }
}

static void op_create_unlink(long n) {
  for (; n > 0; n--) {
    int fd = open(absent_path, O_CREAT | O_EXCL | O_RDWR, 0644);
    must(fd >= 0, "create");
    close(fd);
    must(unlink(absent_path) == 0, "unlink");
  }
}

static void op_getdents(long n) {
  char entries[32 * 1024];
  for (; n > 0; n--) {
    int fd = open(scratch_dir, O_RDONLY | O_DIRECTORY);
    must(fd >= 0, "open directory");
    while (syscall(SYS_getdents64, fd, entries, sizeof entries) > 0) {
    }
    close(fd);
  }
}

static void read_blocks(long n, size_t size) {
  off_t at = 0;
  for (; n > 0; n--) {
    must(pread(data_fd, block, size, at) == (ssize_t)size, "pread");
    at = (at + size) % FILE_BYTES;
  }
}

static void write_blocks(long n, size_t size) {
  off_t at = 0;
  for (; n > 0; n--) {
    must(pwrite(data_fd, block, size, at) == (ssize_t)size, "pwrite");
    at = (at + size) % FILE_BYTES;
  }
}

static void op_pread_4k(long n) { read_blocks(n, 4096); }
static void op_pread_64k(long n) { read_blocks(n, 65536); }
static void op_pwrite_4k(long n) { write_blocks(n, 4096); }
static void op_pwrite_64k(long n) { write_blocks(n, 65536); }

// Sequential, in a file that starts anew every 256 MiB.
static void op_write_seq_1m(long n) {
  int fd = open(absent_path, O_CREAT | O_RDWR | O_TRUNC, 0644);
  must(fd >= 0, "create");
  for (long i = 0; i < n; i++) {
    if (i % 256 == 0) lseek(fd, 0, SEEK_SET);
    must(write(fd, block, sizeof block) == sizeof block, "write");
  }
  close(fd);
  unlink(absent_path);
}

static void op_write_dsync_4k(long n) {
  int fd = open(absent_path, O_CREAT | O_RDWR | O_TRUNC | O_DSYNC, 0644);
  must(fd >= 0, "create");
  for (long i = 0; i < n; i++) {
    must(pwrite(fd, block, 4096, i % 1024 * 4096) == 4096, "pwrite");
  }
  close(fd);
  unlink(absent_path);
}

const struct operation file_operations[] = {
    {"fstat", op_fstat, 0},
    {"stat", op_stat, 0},
    {"stat_enoent", op_stat_enoent, 0},
    {"open_close", op_open_close, 0},
    {"create_unlink", op_create_unlink, 0},
    {"getdents", op_getdents, 0},
    {"pread_4k", op_pread_4k, 0},
    {"pread_64k", op_pread_64k, 0},
    {"pwrite_4k", op_pwrite_4k, 0},
    {"pwrite_64k", op_pwrite_64k, 0},
    {"write_seq_1m", op_write_seq_1m, 0},
    {"write_dsync_4k", op_write_dsync_4k, 0},
    {NULL, NULL, 0},
};
