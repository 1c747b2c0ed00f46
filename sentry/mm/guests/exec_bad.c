// execve(2) of things that are no programs, and of programs at the limits.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char directory[] = "/tmp/exec_bad.XXXXXX";

static const char* Write(const char* name, const void* data, size_t size, int mode) {
  static char path[256];
  snprintf(path, sizeof(path), "%s/%s", directory, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) exit(2);
  fchmod(fd, mode);
  close(fd);
  return path;
}

// The errno of the exec; 0 when the program ran and exited with 0; -status otherwise.
static int Exec(const char* path, char* const argv[], char* const envp[]) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) exit(2);
  pid_t child = fork();
  if (child == 0) {
    execve(path, argv, envp);
    int error = errno;
    if (write(fds[1], &error, sizeof(error)) < 0) _exit(99);
    _exit(1);
  }
  close(fds[1]);
  int error = 0, status;
  ssize_t n = read(fds[0], &error, sizeof(error));
  close(fds[0]);
  waitpid(child, &status, 0);
  return n > 0 ? error : -status;
}

static int ExecFile(const char* path) {
  char* argv[] = {(char*)path, NULL};
  char* envp[] = {NULL};
  return Exec(path, argv, envp);
}

static int ExecElf(const Elf64_Ehdr* header, const Elf64_Phdr* segments, int count) {
  char bytes[8192] = "";
  memcpy(bytes, header, sizeof(*header));
  memcpy(bytes + sizeof(*header), segments, count * sizeof(*segments));
  return ExecFile(Write("elf", bytes, sizeof(bytes), 0755));
}

static void NotPrograms(void) {
  CHECK(ExecFile("/nonexistent") == ENOENT);
  CHECK(ExecFile("/etc") == EACCES);
  CHECK(ExecFile("/etc/passwd/x") == ENOTDIR);
  CHECK(ExecFile(Write("plain", "\177ELF", 4, 0644)) == EACCES);
  CHECK(ExecFile(Write("empty", "", 0, 0755)) == ENOEXEC);
  CHECK(ExecFile(Write("text", "hello\n", 6, 0755)) == ENOEXEC);
  CHECK(ExecFile(Write("short", "\177ELF\2\1\1", 7, 0755)) == ENOEXEC);
}

static void Scripts(void) {
  CHECK(ExecFile(Write("missing", "#!/nonexistent\n", 15, 0755)) == ENOENT);
  CHECK(ExecFile(Write("nothing", "#!\n", 3, 0755)) == ENOEXEC);
  CHECK(ExecFile(Write("blank", "#!   \n", 6, 0755)) == ENOEXEC);
  char line[400];
  memset(line, 'a', sizeof(line));
  memcpy(line, "#!/", 3);
  CHECK(ExecFile(Write("long", line, sizeof(line), 0755)) == ENOEXEC);
  CHECK(ExecFile(Write("good", "#!/bin/sh -e\ntest \"$0\" = \"$0\" && exit 0\n", 40, 0755)) == 0);
  // A chain of interpreters: five are followed, six are too many.
  char text[300];
  snprintf(text, sizeof(text), "#!/bin/true\n");
  Write("s0", text, strlen(text), 0755);
  for (int i = 1; i <= 5; ++i) {
    char name[8];
    snprintf(text, sizeof(text), "#!%s/s%d\n", directory, i - 1);
    snprintf(name, sizeof(name), "s%d", i);
    Write(name, text, strlen(text), 0755);
  }
  char path[300];
  snprintf(path, sizeof(path), "%s/s4", directory);
  CHECK(ExecFile(path) == 0);
  snprintf(path, sizeof(path), "%s/s5", directory);
  CHECK(ExecFile(path) == ELOOP);
}

static void ElfFiles(void) {
  Elf64_Ehdr good = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                     .e_type = ET_EXEC,
                     .e_machine = EM_X86_64,
                     .e_version = EV_CURRENT,
                     .e_entry = 0x401000,
                     .e_phoff = sizeof(Elf64_Ehdr),
                     .e_ehsize = sizeof(Elf64_Ehdr),
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = 1};
  Elf64_Phdr load = {.p_type = PT_LOAD,
                     .p_flags = PF_R | PF_X,
                     .p_vaddr = 0x400000,
                     .p_filesz = 0x2000,
                     .p_memsz = 0x2000,
                     .p_align = 0x1000};
  Elf64_Ehdr h = good;
  h.e_machine = EM_AARCH64;
  CHECK(ExecElf(&h, &load, 1) == ENOEXEC);
  h = good;
  h.e_type = ET_CORE;
  CHECK(ExecElf(&h, &load, 1) == ENOEXEC);
  h = good;
  h.e_phentsize = 8;
  CHECK(ExecElf(&h, &load, 1) == ENOEXEC);
  h = good;
  h.e_phnum = 0;
  CHECK(ExecElf(&h, &load, 1) == ENOEXEC);
  Elf64_Phdr interpreter[2] = {{.p_type = PT_INTERP, .p_offset = 0, .p_filesz = 1 << 20}, load};
  h = good;
  h.e_phnum = 2;
  CHECK(ExecElf(&h, interpreter, 2) == ENOEXEC);
  // Past the point of no return on Linux: what matters is that nothing runs and nobody is hurt.
  Elf64_Phdr bad = load;
  bad.p_memsz = 1UL << 62;
  CHECK(ExecElf(&good, &bad, 1) != 0);
  bad = load;
  bad.p_vaddr = 0xffffffffff600000;
  CHECK(ExecElf(&good, &bad, 1) != 0);
  bad = load;
  bad.p_vaddr = 0;
  CHECK(ExecElf(&good, &bad, 1) != 0);
  Elf64_Phdr overlap[2] = {load, load};
  overlap[1].p_vaddr = 0x401000;
  overlap[1].p_offset = 0x1000;
  CHECK(ExecElf(&h, overlap, 2) != 0);
  h.e_entry = 0x7fffffffffff;
  CHECK(ExecElf(&h, overlap, 2) != 0);
}

static void Arguments(void) {
  static char big[(128 << 10) + 1];
  memset(big, 'x', sizeof(big) - 1);
  char* envp[] = {NULL};
  char* argv[] = {"true", big, NULL};
  CHECK(Exec("/bin/true", argv, envp) == E2BIG);
  big[sizeof(big) - 2] = 0;
  CHECK(Exec("/bin/true", argv, envp) == 0);
  // 10 MB in many strings.
  enum { kCount = 100 };
  static char* many[kCount + 2];
  for (int i = 0; i <= kCount; ++i) many[i] = big;
  CHECK(Exec("/bin/true", many, envp) == E2BIG);
  char* none[] = {NULL};
  CHECK(Exec("/bin/true", none, envp) == 0);
}

int main(void) {
  if (!mkdtemp(directory)) return 2;
  NotPrograms();
  Scripts();
  ElfFiles();
  Arguments();
  char command[300];
  snprintf(command, sizeof(command), "rm -rf %s", directory);
  if (system(command) != 0) return 2;
  if (failures == 0) puts("ok");
  return failures != 0;
}
