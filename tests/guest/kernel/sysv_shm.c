// System V shared memory: shmget, shmat, shmdt, shmctl.
#include <fcntl.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "check.h"

static int new_segment(size_t size) {
  int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
  CHECK(id >= 0);
  return id;
}

static struct shmid_ds stat_of(int id) {
  struct shmid_ds ds;
  memset(&ds, 0, sizeof ds);
  CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
  return ds;
}

static void wait_for(pid_t pid, int status_wanted) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, status_wanted);
}

static void keys_find_segments(void) {
  key_t key = 0x4d530000 | (getpid() & 0xffff);
  int id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0640);
  CHECK(id >= 0);
  CHECK_EQ(shmget(key, 10000, IPC_CREAT | 0600), id);
  CHECK_EQ(shmget(key, 0, 0), id);
  CHECK(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600) == -1 && errno == EEXIST);
  CHECK(shmget(key, 10001, 0600) == -1 && errno == EINVAL);
  CHECK(shmget(IPC_PRIVATE, 0, 0600) == -1 && errno == EINVAL);
  struct shmid_ds ds = stat_of(id);
  CHECK_EQ(ds.shm_perm.__key, key);
  CHECK_EQ(ds.shm_perm.mode, 0640);
  CHECK_EQ(ds.shm_perm.uid, geteuid());
  CHECK_EQ(ds.shm_perm.cgid, getegid());
  CHECK_EQ(ds.shm_segsz, 10000);
  CHECK_EQ(ds.shm_cpid, getpid());
  CHECK_EQ(ds.shm_lpid, 0);
  CHECK_EQ(ds.shm_nattch, 0);
  CHECK_EQ(ds.shm_atime, 0);
  CHECK(ds.shm_ctime != 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
  CHECK(shmget(key, 0, 0) == -1 && errno == ENOENT);
  CHECK(shmctl(id, IPC_STAT, &ds) == -1 && errno == EINVAL);
  CHECK(shmat(id, 0, 0) == (void*)-1 && errno == EINVAL);
}

static void attachments_show_the_same_bytes(void) {
  int id = new_segment(8192);
  char* a = shmat(id, 0, 0);
  char* b = shmat(id, 0, SHM_RDONLY);
  CHECK(a != (void*)-1 && b != (void*)-1 && a != b);
  CHECK_EQ(a[0], 0);
  strcpy(a + 5000, "hello");
  CHECK(strcmp(b + 5000, "hello") == 0);
  CHECK(mprotect(b, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  struct shmid_ds ds = stat_of(id);
  CHECK_EQ(ds.shm_nattch, 2);
  CHECK_EQ(ds.shm_lpid, getpid());
  CHECK(ds.shm_atime != 0);
  CHECK_EQ(shmdt(b), 0);
  CHECK(shmdt(b) == -1 && errno == EINVAL);
  CHECK(shmdt(a + 4096) == -1 && errno == EINVAL);
  CHECK_EQ(stat_of(id).shm_nattch, 1);
  CHECK(stat_of(id).shm_dtime != 0);
  CHECK_EQ(shmdt(a), 0);
  // What is detached keeps its bytes.
  a = shmat(id, 0, 0);
  CHECK(strcmp(a + 5000, "hello") == 0);
  CHECK_EQ(shmdt(a), 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void removal_waits_for_the_last_attachment(void) {
  key_t key = 0x4d540000 | (getpid() & 0xffff);
  int id = shmget(key, 4096, IPC_CREAT | 0600);
  char* a = shmat(id, 0, 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
  CHECK(shmget(key, 0, 0) == -1 && errno == ENOENT);
  struct shmid_ds ds = stat_of(id);
  CHECK_EQ(ds.shm_perm.mode, 0600 | SHM_DEST);
  CHECK_EQ(ds.shm_perm.__key, IPC_PRIVATE);
  char* b = shmat(id, 0, 0);  // by its id it is still there
  CHECK(b != (void*)-1);
  a[7] = 'x';
  CHECK_EQ(b[7], 'x');
  CHECK_EQ(shmdt(a), 0);
  CHECK_EQ(shmdt(b), 0);
  CHECK(shmctl(id, IPC_STAT, &ds) == -1 && errno == EINVAL);
}

static void children_inherit_attachments(void) {
  int id = new_segment(4096);
  volatile int* a = shmat(id, 0, 0);
  int go[2], gone[2];
  CHECK_EQ(pipe(go) | pipe(gone), 0);
  pid_t pid = fork();
  if (pid == 0) {
    char c;
    a[1] = 42;
    (void)!write(gone[1], "x", 1);
    (void)!read(go[0], &c, 1);
    _exit(0);
  }
  char c;
  CHECK_EQ(read(gone[0], &c, 1), 1);
  CHECK_EQ(a[1], 42);
  CHECK_EQ(stat_of(id).shm_nattch, 2);
  CHECK_EQ(write(go[1], "x", 1), 1);
  wait_for(pid, 0);
  CHECK_EQ(stat_of(id).shm_nattch, 1);
  CHECK_EQ(stat_of(id).shm_lpid, pid);
  // execve detaches.
  pid = fork();
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", "read x", NULL);
    _exit(1);
  }
  while (stat_of(id).shm_nattch != 1) usleep(1000);
  kill(pid, SIGKILL);
  wait_for(pid, SIGKILL);
  CHECK_EQ(shmdt((void*)a), 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void places_are_chosen_and_replaced(void) {
  int id = new_segment(3 * 4096);
  char* room = mmap(0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(shmat(id, room, 0) == (void*)-1 && errno == EINVAL);
  CHECK(shmat(id, room + 1, SHM_REMAP) == (void*)-1 && errno == EINVAL);
  CHECK(shmat(id, NULL, SHM_REMAP) == (void*)-1 && errno == EINVAL);
  CHECK(shmat(id, room + 4096 + 5, SHM_REMAP | SHM_RND) == room + 4096);
  room[0] = 1;
  room[4 * 4096] = 2;
  munmap(room, 8 * 4096);
  CHECK_EQ(stat_of(id).shm_nattch, 0);
  CHECK(shmat(id, room + 4096, 0) == room + 4096);
  CHECK_EQ(shmdt(room + 4096), 0);
  CHECK(shmat(id + 32768 * 5, 0, 0) == (void*)-1 && errno == EINVAL);
  CHECK(shmat(-1, 0, 0) == (void*)-1 && errno == EINVAL);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void pieces_count_and_leave_together(void) {
  int id = new_segment(5 * 4096);
  char* a = shmat(id, 0, 0);
  CHECK_EQ(munmap(a + 4096, 4096), 0);
  CHECK_EQ(stat_of(id).shm_nattch, 2);
  CHECK_EQ(mprotect(a + 3 * 4096, 4096, PROT_READ), 0);
  CHECK_EQ(stat_of(id).shm_nattch, 4);
  CHECK_EQ(shmdt(a), 0);
  CHECK_EQ(stat_of(id).shm_nattch, 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void maps_show_the_key(void) {
  key_t key = 0x4d550000 | (getpid() & 0xffff);
  int id = shmget(key, 4096, IPC_CREAT | 0600);
  char* a = shmat(id, 0, 0);
  char wanted[100], line[300];
  snprintf(wanted, sizeof wanted, "%lx-%lx rw-s 00000000 00:01 %d ", (long)a, (long)a + 4096, id);
  char name[50];
  snprintf(name, sizeof name, "/SYSV%08x (deleted)\n", key);
  int found = 0;
  FILE* f = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, wanted, strlen(wanted)) == 0 && strstr(line, name)) found = 1;
  }
  fclose(f);
  CHECK(found);
  found = 0;
  f = fopen("/proc/sysvipc/shm", "r");
  CHECK(f != NULL && fgets(line, sizeof line, f) && strstr(line, "shmid perms"));
  while (f && fgets(line, sizeof line, f)) {
    int k, i, perms, cpid;
    long size;
    CHECK_EQ(sscanf(line, "%d %d %o %ld %d", &k, &i, &perms, &size, &cpid), 5);
    if (k == key && i == id && perms == 0600 && size == 4096 && cpid == getpid()) found = 1;
  }
  if (f) fclose(f);
  CHECK(found);
  CHECK_EQ(shmdt(a), 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void control_calls_tell_and_change(void) {
  int id = new_segment(4096);
  struct shmid_ds ds = stat_of(id);
  ds.shm_perm.mode = 0604;
  CHECK_EQ(shmctl(id, IPC_SET, &ds), 0);
  CHECK_EQ(stat_of(id).shm_perm.mode, 0604);
  ds.shm_perm.uid = -1;
  CHECK(shmctl(id, IPC_SET, &ds) == -1 && errno == EINVAL);
  struct shminfo limits;
  CHECK(shmctl(0, IPC_INFO, (struct shmid_ds*)&limits) >= 0);
  CHECK(limits.shmmin == 1 && limits.shmmni > 0);
  struct shm_info info;
  int last = shmctl(0, SHM_INFO, (struct shmid_ds*)&info);
  CHECK(last >= 0 && info.used_ids >= 1 && info.shm_tot >= 1);
  int found = 0;
  for (int i = 0; i <= last; i++) {
    struct shmid_ds at;
    if (shmctl(i, SHM_STAT, &at) == id) found = at.shm_segsz == 4096;
  }
  CHECK(found);
  CHECK(shmctl(id, 1234, 0) == -1 && errno == EINVAL);
  CHECK(shmctl(id, IPC_STAT, (void*)8) == -1 && errno == EFAULT);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

static void strangers_are_kept_out(void) {
  if (geteuid() != 0) return;
  int id = new_segment(4096);
  pid_t pid = fork();
  if (pid == 0) {
    struct shmid_ds ds;
    CHECK_EQ(setgid(1234) | setuid(1234), 0);
    CHECK(shmat(id, 0, SHM_RDONLY) == (void*)-1 && errno == EACCES);
    CHECK(shmctl(id, IPC_STAT, &ds) == -1 && errno == EACCES);
    CHECK(shmctl(id, IPC_RMID, 0) == -1 && errno == EPERM);
    CHECK(shmctl(id, IPC_SET, &ds) == -1 && errno == EPERM);
    CHECK(shmctl(id, SHM_UNLOCK, 0) == -1 && errno == EPERM);
    _exit(check_result());
  }
  wait_for(pid, 0);
  struct shmid_ds ds = stat_of(id);
  ds.shm_perm.mode = 0644;
  CHECK_EQ(shmctl(id, IPC_SET, &ds), 0);
  pid = fork();
  if (pid == 0) {
    CHECK_EQ(setgid(1234) | setuid(1234), 0);
    CHECK(shmat(id, 0, 0) == (void*)-1 && errno == EACCES);
    void* a = shmat(id, 0, SHM_RDONLY);
    CHECK(a != (void*)-1);
    CHECK_EQ(stat_of(id).shm_nattch, 1);
    _exit(check_result());
  }
  wait_for(pid, 0);
  CHECK_EQ(shmctl(id, SHM_LOCK, 0), 0);
  CHECK_EQ(stat_of(id).shm_perm.mode, 0644 | 02000);
  CHECK_EQ(shmctl(id, SHM_UNLOCK, 0), 0);
  CHECK_EQ(shmctl(id, IPC_RMID, 0), 0);
}

int main(void) {
  RUN(keys_find_segments);
  RUN(attachments_show_the_same_bytes);
  RUN(removal_waits_for_the_last_attachment);
  RUN(children_inherit_attachments);
  RUN(places_are_chosen_and_replaced);
  RUN(pieces_count_and_leave_together);
  RUN(maps_show_the_key);
  RUN(control_calls_tell_and_change);
  RUN(strangers_are_kept_out);
  return check_result();
}
