// Mappings and page faults.
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGE 4096L
#define COW_PAGES 1024L

static char* map_small_pages(size_t bytes) {
  char* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(p != MAP_FAILED, "mmap");
  madvise(p, bytes, MADV_NOHUGEPAGE);
  return p;
}

static void op_mmap_munmap_64k(long n) {
  for (; n > 0; n--) {
    void* p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(p != MAP_FAILED, "mmap");
    munmap(p, 65536);
  }
}

// First touch of anonymous pages, in mappings of 64 MiB.
static void op_anon_fault_4k(long n) {
  const long pages = (64 << 20) / PAGE;
  while (n > 0) {
    char* p = map_small_pages(pages * PAGE);
    for (long i = 0; i < pages && n > 0; i++, n--) p[i * PAGE] = 1;
    munmap(p, pages * PAGE);
  }
}

// First touch of pages of a file that the host has in memory, in mappings of 1 MiB.
static void op_file_fault_4k(long n) {
  const long pages = (1 << 20) / PAGE;
  while (n > 0) {
    volatile char* p = mmap(NULL, pages * PAGE, PROT_READ, MAP_PRIVATE, data_fd, 0);
    must(p != MAP_FAILED, "mmap");
    for (long i = 0; i < pages && n > 0; i++, n--) (void)p[i * PAGE];
    munmap((void*)p, pages * PAGE);
  }
}

// A page copied on write after a fork of 4 MiB; the fork is part of it.
static void op_fork_cow_4k(long n) {
  const long pages = COW_PAGES;
  static char* p;
  if (p == NULL) {
    p = map_small_pages(pages * PAGE);
    memset(p, 1, pages * PAGE);
  }
  for (; n > 0; n -= pages) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
      for (long i = 0; i < pages; i++) p[i * PAGE] = 2;
      _exit(0);
    }
    waitpid(child, NULL, 0);
  }
}

const struct operation memory_operations[] = {
    {"mmap_munmap_64k", op_mmap_munmap_64k, 0},
    {"anon_fault_4k", op_anon_fault_4k, 0},
    {"file_fault_4k", op_file_fault_4k, 0},
    {"fork_cow_4k", op_fork_cow_4k, COW_PAGES},
    {NULL, NULL, 0},
};
