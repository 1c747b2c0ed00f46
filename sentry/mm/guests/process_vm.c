// process_vm_readv(2), process_vm_writev(2), /proc/PID/mem.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096

int main(void) {
  char* p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(p + PAGE, PAGE);
  strcpy(p, "parent");
  int to_child[2], to_parent[2];
  CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
  pid_t child = fork();
  if (child == 0) {
    char c;
    strcpy(p, "child");
    strcpy(p + 100, "more");
    if (write(to_parent[1], "x", 1) != 1) _exit(9);
    if (read(to_child[0], &c, 1) != 1) _exit(9);
    _exit(strcmp(p, "CHILD") != 0);
  }
  char c, text[16] = "", tail[16] = "";
  CHECK(read(to_parent[0], &c, 1) == 1);
  struct iovec local[2] = {{text, 6}, {tail, 5}}, remote[2] = {{p, 6}, {p + 100, 5}};
  CHECK(process_vm_readv(child, local, 2, remote, 2, 0) == 11);
  CHECK(strcmp(text, "child") == 0 && strcmp(tail, "more") == 0 && strcmp(p, "parent") == 0);
  // Up to the first address that is not there.
  char page[PAGE];
  struct iovec big = {page, 10}, edge = {p + PAGE - 4, 10};
  CHECK(process_vm_readv(child, &big, 1, &edge, 1, 0) == 4 ||
        process_vm_readv(child, &big, 1, &edge, 1, 0) == -1);
  edge.iov_base = p + PAGE;
  CHECK_ERRNO(process_vm_readv(child, &big, 1, &edge, 1, 0), EFAULT);
  CHECK_ERRNO(process_vm_readv(child, local, 2, remote, 2, 1), EINVAL);
  CHECK_ERRNO(process_vm_readv(0x3fffffff, local, 2, remote, 2, 0), ESRCH);
  struct iovec out = {"CH", 2}, in = {p, 2};
  CHECK(process_vm_writev(child, &out, 1, &in, 1, 0) == 2);

  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/mem", child);
  int fd = open(path, O_RDWR);
  CHECK(fd >= 0);
  CHECK(pread(fd, text, 6, (long)p) == 6 && strcmp(text, "CHild") == 0);
  CHECK(pwrite(fd, "ILD", 3, (long)p + 2) == 3);
  CHECK_ERRNO(pread(fd, text, 6, (long)p + PAGE), EIO);
  close(fd);
  CHECK(write(to_child[1], "x", 1) == 1);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  if (failures == 0) puts("ok");
  return failures != 0;
}
