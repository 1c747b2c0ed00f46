// System V message queues: msgget, msgsnd, msgrcv, msgctl.
#include <signal.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

#include "check.h"

struct message {
  long type;
  char text[100];
};

static int new_queue(void) {
  int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  CHECK(id >= 0);
  return id;
}
static int post(int id, long type, const char* text) {
  struct message m = {.type = type};
  strcpy(m.text, text);
  return msgsnd(id, &m, strlen(text), IPC_NOWAIT);
}
static int take(int id, long type, int flags, struct message* m) {
  memset(m, 0, sizeof *m);
  return msgrcv(id, m, sizeof m->text, type, flags | IPC_NOWAIT);
}
static struct msqid_ds stat_of(int id) {
  struct msqid_ds ds;
  memset(&ds, 0, sizeof ds);
  CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
  return ds;
}
static void wait_for(pid_t pid, int status_wanted) {
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, status_wanted);
}
// The process sleeps in a call.
static void wait_until_asleep(pid_t pid) {
  char path[50], line[300], state = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  while (state != 'S') {
    usleep(1000);
    FILE* f = fopen(path, "r");
    if (!f) return;
    if (fgets(line, sizeof line, f)) sscanf(strrchr(line, ')') + 1, " %c", &state);
    fclose(f);
  }
}

static void types_choose(void) {
  int id = new_queue();
  struct message m;
  CHECK_EQ(post(id, 3, "three"), 0);
  CHECK_EQ(post(id, 1, "one"), 0);
  CHECK_EQ(post(id, 2, "two"), 0);
  CHECK_EQ(post(id, 1, "uno"), 0);
  struct msqid_ds ds = stat_of(id);
  CHECK_EQ(ds.msg_qnum, 4);
  CHECK_EQ(ds.__msg_cbytes, 14);
  CHECK_EQ(ds.msg_lspid, getpid());
  CHECK_EQ(ds.msg_lrpid, 0);
  CHECK(take(id, 9, 0, &m) == -1 && errno == ENOMSG);
  CHECK_EQ(take(id, 2, 0, &m), 3);
  CHECK(m.type == 2 && !strcmp(m.text, "two"));
  CHECK_EQ(take(id, -3, 0, &m), 3);
  CHECK(m.type == 1 && !strcmp(m.text, "one"));
  CHECK_EQ(take(id, 3, MSG_EXCEPT, &m), 3);
  CHECK(m.type == 1 && !strcmp(m.text, "uno"));
  CHECK_EQ(take(id, 0, 0, &m), 5);
  CHECK(m.type == 3 && !strcmp(m.text, "three"));
  CHECK(take(id, INT64_MIN, 0, &m) == -1 && errno == ENOMSG);
  CHECK_EQ(stat_of(id).msg_lrpid, getpid());
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
  CHECK(take(id, 0, 0, &m) == -1 && errno == EINVAL);
}

static void long_messages_are_cut_or_refused(void) {
  int id = new_queue();
  struct message m;
  CHECK_EQ(post(id, 1, "0123456789"), 0);
  CHECK(msgrcv(id, &m, 4, 0, 0) == -1 && errno == E2BIG);
  CHECK_EQ(msgrcv(id, &m, 4, 0, MSG_NOERROR), 4);
  CHECK(memcmp(m.text, "0123", 4) == 0);
  CHECK_EQ(stat_of(id).msg_qnum, 0);
  static struct {
    long type;
    char text[20000];
  } big = {.type = 1};
  CHECK(msgsnd(id, &big, sizeof big.text, 0) == -1 && errno == EINVAL);
  CHECK(post(id, 0, "x") == -1 && errno == EINVAL);
  CHECK(post(id, -5, "x") == -1 && errno == EINVAL);
  CHECK(msgsnd(id, (void*)8, 1, 0) == -1 && errno == EFAULT);
  CHECK(msgrcv(id, &m, -1, 0, 0) == -1 && errno == EINVAL);
  // Full: by bytes.
  CHECK_EQ(msgsnd(id, &big, 8000, 0), 0);
  CHECK_EQ(msgsnd(id, &big, 8000, 0), 0);
  CHECK(msgsnd(id, &big, 8000, IPC_NOWAIT) == -1 && errno == EAGAIN);
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
}

static void copies_leave_the_message(void) {
  int id = new_queue();
  struct message m;
  CHECK_EQ(post(id, 5, "first"), 0);
  CHECK_EQ(post(id, 6, "second"), 0);
  int n = msgrcv(id, &m, sizeof m.text, 1, MSG_COPY | IPC_NOWAIT);
  if (n == -1 && errno == ENOSYS) {  // a kernel without checkpoint and restore
    CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
    return;
  }
  CHECK_EQ(n, 6);
  CHECK_EQ(m.type, 6);
  CHECK(msgrcv(id, &m, sizeof m.text, 2, MSG_COPY | IPC_NOWAIT) == -1 && errno == ENOMSG);
  CHECK(msgrcv(id, &m, sizeof m.text, 0, MSG_COPY) == -1 && errno == EINVAL);
  CHECK(msgrcv(id, &m, sizeof m.text, 0, MSG_COPY | IPC_NOWAIT | MSG_EXCEPT) == -1 &&
        errno == EINVAL);
  CHECK_EQ(stat_of(id).msg_qnum, 2);
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
}

static void on_signal(int s) { (void)s; }

static void waits_end(void) {
  int id = new_queue();
  struct message m;
  pid_t pid = fork();
  if (pid == 0) _exit(msgrcv(id, &m, sizeof m.text, 7, 0) == 2 && m.type == 7 ? 0 : 1);
  wait_until_asleep(pid);
  CHECK_EQ(post(id, 8, "no"), 0);
  CHECK_EQ(post(id, 7, "ok"), 0);
  wait_for(pid, 0);
  // A sender waits for room.
  struct msqid_ds ds = stat_of(id);
  ds.msg_qbytes = 4;
  CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
  pid = fork();
  if (pid == 0) {
    m.type = 1;
    _exit(msgsnd(id, &m, 3, 0) == 0 ? 0 : 1);
  }
  wait_until_asleep(pid);
  CHECK_EQ(take(id, 8, 0, &m), 2);
  wait_for(pid, 0);
  CHECK_EQ(take(id, 1, 0, &m), 3);
  // A handler ends the wait; the removal of the queue too.
  pid = fork();
  if (pid == 0) {
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &sa, NULL);
    CHECK(msgrcv(id, &m, sizeof m.text, 0, 0) == -1 && errno == EINTR);
    CHECK(msgrcv(id, &m, sizeof m.text, 0, 0) == -1 && errno == EIDRM);
    _exit(check_result());
  }
  wait_until_asleep(pid);
  kill(pid, SIGUSR1);
  usleep(20000);
  wait_until_asleep(pid);
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
  wait_for(pid, 0);
}

static void queues_are_told(void) {
  key_t key = 0x4d570000 | (getpid() & 0xffff);
  int id = msgget(key, IPC_CREAT | IPC_EXCL | 0620);
  CHECK(id >= 0);
  CHECK_EQ(msgget(key, 0), id);
  CHECK(msgget(key, IPC_CREAT | IPC_EXCL) == -1 && errno == EEXIST);
  CHECK_EQ(post(id, 1, "12345"), 0);
  struct msginfo info;
  CHECK(msgctl(0, IPC_INFO, (struct msqid_ds*)&info) >= 0);
  CHECK(info.msgmax > 0 && info.msgmnb > 0 && info.msgmni > 0);
  int last = msgctl(0, MSG_INFO, (struct msqid_ds*)&info);
  CHECK(last >= 0 && info.msgpool >= 1 && info.msgmap >= 1 && info.msgtql >= 5);
  int found = 0;
  struct msqid_ds ds;
  for (int i = 0; i <= last; i++) {
    if (msgctl(i, MSG_STAT, &ds) == id) found = ds.msg_qnum == 1 && ds.msg_perm.mode == 0620;
  }
  CHECK(found);
  char line[300];
  found = 0;
  FILE* f = fopen("/proc/sysvipc/msg", "r");
  CHECK(f != NULL);
  while (f && fgets(line, sizeof line, f)) {
    int k, i, perms, bytes, n;
    if (sscanf(line, "%d %d %o %d %d", &k, &i, &perms, &bytes, &n) == 5 && i == id) {
      found = k == key && perms == 0620 && bytes == 5 && n == 1;
    }
  }
  if (f) fclose(f);
  CHECK(found);
  long limit = 0;
  f = fopen("/proc/sys/kernel/msgmax", "r");
  CHECK(f && fscanf(f, "%ld", &limit) == 1);
  if (f) fclose(f);
  CHECK_EQ(limit, info.msgmax);
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
}

static void strangers_are_kept_out(void) {
  if (geteuid() != 0) return;
  int id = msgget(IPC_PRIVATE, 0602);
  pid_t pid = fork();
  if (pid == 0) {
    struct message m;
    CHECK_EQ(setgid(1234) | setuid(1234), 0);
    CHECK_EQ(post(id, 1, "in"), 0);
    CHECK(take(id, 0, 0, &m) == -1 && errno == EACCES);
    CHECK(msgctl(id, IPC_RMID, 0) == -1 && errno == EPERM);
    _exit(check_result());
  }
  wait_for(pid, 0);
  CHECK_EQ(msgctl(id, IPC_RMID, 0), 0);
}

int main(void) {
  RUN(types_choose);
  RUN(long_messages_are_cut_or_refused);
  RUN(copies_leave_the_message);
  RUN(waits_end);
  RUN(queues_are_told);
  RUN(strangers_are_kept_out);
  return check_result();
}
