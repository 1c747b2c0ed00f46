// mremap(2) and brk(2).
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

// `pages` pages with nothing mapped around them: page i begins with 'a' + i.
static char* Marked(size_t pages) {
  char* p = mmap(NULL, (pages + 64) * PAGE, RW, ANON, -1, 0);
  if (p == MAP_FAILED) exit(2);
  munmap(p, 32 * PAGE);
  munmap(p + (32 + pages) * PAGE, 32 * PAGE);
  p += 32 * PAGE;
  for (size_t i = 0; i < pages; ++i) p[i * PAGE] = 'a' + i;
  return p;
}

static void Remap(void) {
  char* p = Marked(2);
  char* q = mremap(p, 2 * PAGE, 4 * PAGE, 0);
  CHECK(q == p && q[0] == 'a' && q[PAGE] == 'b' && q[2 * PAGE] == 0);
  q = mremap(p, 4 * PAGE, PAGE, 0);
  CHECK(q == p && q[0] == 'a');
  unsigned char residency;
  CHECK_ERRNO(mincore(p + PAGE, PAGE, &residency), ENOMEM);
  CHECK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
  mprotect(p + PAGE, PAGE, PROT_READ);
  CHECK_ERRNO(mremap(p, PAGE, 3 * PAGE, 0), ENOMEM);
  q = mremap(p, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
  CHECK(q != MAP_FAILED && q != p && q[0] == 'a' && q[2 * PAGE] == 0);
  CHECK_ERRNO(mincore(p, PAGE, &residency), ENOMEM);
  munmap(q, 3 * PAGE);
  munmap(p + PAGE, PAGE);
}

static void Fixed(void) {
  char* p = Marked(3);
  char* target = Marked(3);
  char* q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE);
  CHECK(q == target + PAGE && target[0] == 'a' && q[0] == 'a' && q[PAGE] == 'b');
  CHECK(p[2 * PAGE] == 'c');
  CHECK_ERRNO(mremap(q, PAGE, PAGE, MREMAP_FIXED, target), EINVAL);
  CHECK_ERRNO(mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE), EINVAL);
  CHECK_ERRNO(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + 1), EINVAL);
  munmap(p + 2 * PAGE, PAGE);
  munmap(target, 3 * PAGE);
}

static void Errors(void) {
  char* p = Marked(2);
  CHECK_ERRNO(mremap(p + 1, PAGE, PAGE, 0), EINVAL);
  CHECK_ERRNO(mremap(p, PAGE, 0, 0), EINVAL);
  CHECK_ERRNO(mremap(p, PAGE, PAGE, 64), EINVAL);
  CHECK_ERRNO(mremap(p, 0, PAGE, MREMAP_MAYMOVE), EINVAL);  // private memory has no second view
  munmap(p, 2 * PAGE);
  CHECK_ERRNO(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

static void SharedDuplicate(void) {
  char* p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  p[0] = 'x';
  char* q = mremap(p, 0, 2 * PAGE, MREMAP_MAYMOVE);
  CHECK(q != MAP_FAILED && q != p && q[0] == 'x');
  q[PAGE] = 'y';
  CHECK(p[PAGE] == 'y');
  munmap(p, 2 * PAGE);
  munmap(q, 2 * PAGE);
}

// After a fork the host may keep in pieces what the program sees as one mapping.
static void AfterFork(void) {
  char* p = Marked(8);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 8; i += 2) p[i * PAGE + 1] = '!';
    mprotect(p + 2 * PAGE, PAGE, PROT_READ);
    mprotect(p + 2 * PAGE, PAGE, RW);
    char* q = mremap(p, 8 * PAGE, 1024 * PAGE, MREMAP_MAYMOVE);
    if (q == MAP_FAILED) _exit(1);
    for (int i = 0; i < 8; ++i) {
      if (q[i * PAGE] != 'a' + i) _exit(2);
    }
    _exit(q[1023 * PAGE] != 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(p[7 * PAGE] == 'h');
  munmap(p, 8 * PAGE);
}

static void Brk(void) {
  char* start = sbrk(0);
  CHECK(sbrk(10 * PAGE) == start);
  memset(start, 'x', 10 * PAGE);
  CHECK(sbrk(-5 * (long)PAGE) == start + 10 * PAGE);
  CHECK(sbrk(5 * PAGE) == start + 5 * PAGE);
  CHECK(start[5 * PAGE - 1] == 'x');
  char* page = (char*)(((uintptr_t)start + 5 * PAGE + PAGE - 1) & ~(PAGE - 1));
  CHECK(page[0] == 0);
  CHECK(sbrk(-10 * (long)PAGE) == start + 10 * PAGE);
  CHECK(sbrk(0) == start);
}

int main(void) {
  Remap();
  Fixed();
  Errors();
  SharedDuplicate();
  AfterFork();
  Brk();
  if (failures == 0) puts("ok");
  return failures != 0;
}
