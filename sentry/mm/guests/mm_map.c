// mmap(2), munmap(2), mprotect(2), madvise(2), msync(2), mincore(2): results, errors and effects.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf jump;
static volatile int fault_signal, fault_code;
static void* volatile fault_address;

static void OnFault(int signo, siginfo_t* info, void* context) {
  (void)context;
  fault_signal = signo;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  siglongjmp(jump, 1);
}

// The signal that touching `p` raises, 0 for none.
static int Touch(volatile char* p, int write) {
  fault_signal = 0;
  if (sigsetjmp(jump, 1) == 0) {
    if (write)
      *p = 1;
    else
      (void)*p;
  }
  return fault_signal;
}

static char* Map(size_t pages, int prot, int flags) {
  char* p = mmap(NULL, pages * PAGE, prot, flags, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(2);
  }
  return p;
}

static void Anonymous(void) {
  char* p = Map(4, RW, ANON);
  CHECK(((uintptr_t)p & (PAGE - 1)) == 0);
  CHECK(p[0] == 0 && p[4 * PAGE - 1] == 0);
  memset(p, 'x', 4 * PAGE);
  CHECK(munmap(p + PAGE, PAGE) == 0);
  CHECK(Touch(p + PAGE, 0) == SIGSEGV && fault_code == SEGV_MAPERR && fault_address == p + PAGE);
  CHECK(p[2 * PAGE] == 'x');
  CHECK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
  CHECK(p[PAGE] == 0 && p[2 * PAGE] == 'x');
  CHECK(munmap(p, 4 * PAGE) == 0);
  CHECK(munmap(p, 4 * PAGE) == 0);
}

static void Errors(void) {
  CHECK_ERRNO(mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
  CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
  CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
  CHECK_ERRNO(mmap((void*)1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
  CHECK_ERRNO(mmap(NULL, ~0UL, RW, ANON, -1, 0), ENOMEM);
  CHECK_ERRNO(mmap(NULL, 1UL << 47, RW, ANON, -1, 0), ENOMEM);
  CHECK_ERRNO(mmap((void*)0x7fffffff0000, 1UL << 20, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
  char* p = Map(2, RW, ANON);
  CHECK_ERRNO(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
  CHECK_ERRNO(munmap(p + 1, PAGE), EINVAL);
  CHECK_ERRNO(munmap(p, 0), EINVAL);
  CHECK_ERRNO(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
  CHECK_ERRNO(mprotect(p, PAGE, 0x40), EINVAL);
  CHECK(mprotect(p, 0, PROT_READ) == 0);
  CHECK_ERRNO(madvise(p, PAGE, 12345), EINVAL);
  CHECK_ERRNO(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL);
  CHECK_ERRNO(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
  CHECK_ERRNO(msync(p + 1, PAGE, MS_SYNC), EINVAL);
  CHECK(munmap(p, 2 * PAGE) == 0);
  CHECK_ERRNO(msync(p, PAGE, MS_SYNC), ENOMEM);
  CHECK_ERRNO(mprotect(p, PAGE, PROT_READ), ENOMEM);
  CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), ENOMEM);
}

static void Protection(void) {
  char* p = Map(3, RW, ANON);
  p[PAGE] = 'x';
  CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
  CHECK(Touch(p + PAGE, 0) == 0 && p[PAGE] == 'x');
  CHECK(Touch(p + PAGE, 1) == SIGSEGV && fault_code == SEGV_ACCERR);
  CHECK(mprotect(p + PAGE, PAGE, PROT_NONE) == 0);
  CHECK(Touch(p + PAGE, 0) == SIGSEGV);
  // System calls obey it too.
  int fds[2];
  CHECK(pipe(fds) == 0);
  CHECK_ERRNO(write(fds[1], p + PAGE, 1), EFAULT);
  CHECK(write(fds[1], "abc", 3) == 3);
  CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
  CHECK_ERRNO(read(fds[0], p + PAGE, 1), EFAULT);
  CHECK(read(fds[0], p, 3) == 3 && memcmp(p, "abc", 3) == 0);
  close(fds[0]);
  close(fds[1]);
  CHECK(mprotect(p + PAGE, PAGE, RW) == 0);
  p[PAGE] = 'y';
  CHECK(munmap(p, 3 * PAGE) == 0);
}

static void Executable(void) {
  unsigned char* code = (unsigned char*)Map(1, RW, ANON);
  // mov $42, %eax; ret
  memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6);
  CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
  CHECK(((int (*)(void))code)() == 42);
  CHECK(munmap(code, PAGE) == 0);
}

static void Files(void) {
  char path[] = "/tmp/mm_map.XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  CHECK(ftruncate(fd, PAGE + 100) == 0);
  CHECK(pwrite(fd, "file", 4, PAGE) == 4);
  char* shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
  char* private = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);
  CHECK(shared != MAP_FAILED && private != MAP_FAILED);
  CHECK(memcmp(shared + PAGE, "file", 4) == 0 && memcmp(private + PAGE, "file", 4) == 0);
  memcpy(shared, "hello", 5);
  char text[8] = "";
  CHECK(pread(fd, text, 5, 0) == 5 && memcmp(text, "hello", 5) == 0);
  CHECK(memcmp(private, "hello", 5) == 0);
  memcpy(private, "other", 5);
  CHECK(memcmp(shared, "hello", 5) == 0);
  CHECK(pwrite(fd, "HELLO", 5, 0) == 5);
  CHECK(memcmp(shared, "HELLO", 5) == 0 && memcmp(private, "other", 5) == 0);
  CHECK(msync(shared, PAGE, MS_SYNC) == 0);
  CHECK(shared[PAGE + 200] == 0);
  CHECK(Touch(shared + 3 * PAGE, 0) == SIGBUS && fault_code == BUS_ADRERR);
  // A buffer that runs into a page that cannot be written is filled up to there.
  char* edge = Map(2, RW, ANON);
  CHECK(mprotect(edge + PAGE, PAGE, PROT_READ) == 0);
  CHECK(pread(fd, edge + PAGE - 4, 8, 0) == 4 && memcmp(edge + PAGE - 4, "HELL", 4) == 0);
  CHECK_ERRNO(pread(fd, edge + PAGE, 8, 0), EFAULT);
  CHECK(munmap(edge, 2 * PAGE) == 0);
  char* at_offset = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE);
  CHECK(at_offset != MAP_FAILED && memcmp(at_offset, "file", 4) == 0);
  CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100), EINVAL);
  CHECK(munmap(shared, 4 * PAGE) == 0 && munmap(private, 2 * PAGE) == 0);
  CHECK(munmap(at_offset, PAGE) == 0);
  close(fd);

  fd = open("/proc/self/exe", O_RDONLY);
  CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EACCES);
  char* p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(p != MAP_FAILED && memcmp(p, "\177ELF", 4) == 0);
  CHECK_ERRNO(mprotect(p, PAGE, RW), EACCES);
  CHECK(munmap(p, PAGE) == 0);
  p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
  CHECK(p != MAP_FAILED);
  p[0] = 'x';
  CHECK(munmap(p, PAGE) == 0);
  close(fd);
  fd = open("/tmp", O_RDONLY);
  CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
  close(fd);
  fd = open("/dev/null", O_WRONLY);
  CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EACCES);
  close(fd);
  fd = open("/dev/zero", O_RDWR);
  p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
  CHECK(p != MAP_FAILED && p[0] == 0);
  CHECK(munmap(p, PAGE) == 0);
  close(fd);
}

static void SharedWithChild(void) {
  char* shared = Map(1, RW, MAP_SHARED | MAP_ANONYMOUS);
  char* private = Map(1, RW, ANON);
  char* gone = Map(1, RW, ANON);
  char* wiped = Map(1, RW, ANON);
  private[0] = gone[0] = wiped[0] = 'p';
  CHECK(madvise(gone, PAGE, MADV_DONTFORK) == 0);
  CHECK(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0);
  pid_t child = fork();
  if (child == 0) {
    shared[0] = 'c';
    private[0] = 'c';
    if (Touch(gone, 0) != SIGSEGV) _exit(1);
    if (wiped[0] != 0) _exit(2);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(shared[0] == 'c' && private[0] == 'p' && gone[0] == 'p' && wiped[0] == 'p');
  munmap(shared, PAGE);
  munmap(private, PAGE);
  munmap(gone, PAGE);
  munmap(wiped, PAGE);
}

static void Advice(void) {
  char* p = Map(4, RW, ANON);
  memset(p, 'x', 4 * PAGE);
  CHECK(madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED) == 0);
  CHECK(p[0] == 'x' && p[PAGE] == 0 && p[2 * PAGE] == 0 && p[3 * PAGE] == 'x');
  CHECK(madvise(p, 4 * PAGE, MADV_WILLNEED) == 0);
  CHECK(madvise(p, 4 * PAGE, MADV_NORMAL) == 0);
  munmap(p, 4 * PAGE);
  p = Map(4, RW, ANON);
  p[0] = p[2 * PAGE] = 1;
  unsigned char residency[4] = {9, 9, 9, 9};
  CHECK(mincore(p, 4 * PAGE, residency) == 0);
  CHECK((residency[0] & 1) == 1 && (residency[2] & 1) == 1);
  CHECK_ERRNO(mincore(p + 1, PAGE, residency), EINVAL);
  CHECK_ERRNO(mincore(p, PAGE, NULL), EFAULT);
  munmap(p, 4 * PAGE);
  CHECK_ERRNO(mincore(p, PAGE, residency), ENOMEM);
}

static void Huge(void) {
  // More than there is, as language runtimes reserve it.
  size_t size = 1UL << 40;
  char* p = mmap(NULL, size, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
  CHECK(p != MAP_FAILED);
  CHECK(mprotect(p + (size >> 1), PAGE, RW) == 0);
  p[size >> 1] = 'x';
  CHECK(munmap(p, size) == 0);
  char* low = mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);
  CHECK(low != MAP_FAILED && (uintptr_t)low < 1UL << 32);
  munmap(low, PAGE);
}

static void Limits(void) {
  struct rlimit old, now;
  CHECK(getrlimit(RLIMIT_AS, &old) == 0);
  now = old;
  now.rlim_cur = 1UL << 30;
  CHECK(setrlimit(RLIMIT_AS, &now) == 0);
  CHECK_ERRNO(mmap(NULL, 1UL << 30, RW, ANON, -1, 0), ENOMEM);
  CHECK(setrlimit(RLIMIT_AS, &old) == 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = OnFault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  Anonymous();
  Errors();
  Protection();
  Executable();
  Files();
  SharedWithChild();
  Advice();
  Huge();
  Limits();
  if (failures == 0) puts("ok");
  return failures != 0;
}
