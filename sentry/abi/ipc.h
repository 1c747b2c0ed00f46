// Structs of System V IPC (shmctl(2), semctl(2), msgctl(2)), as the kernel of x86-64 has them.
// Constants (IPC_*, SHM_*, SEM_*, MSG_*) come from the host's headers.
#pragma once

#include <cstdint>

namespace msentry::abi {

struct Ipc64Perm {
  int32_t key;
  uint32_t uid, gid, cuid, cgid, mode;
  uint16_t seq, pad1;
  uint32_t pad2;
  uint64_t unused[2];
};
static_assert(sizeof(Ipc64Perm) == 48);

struct Shmid64Ds {
  Ipc64Perm perm;
  uint64_t segsz;
  int64_t atime, dtime, ctime;
  int32_t cpid, lpid;
  uint64_t nattch;
  uint64_t unused[2];
};
static_assert(sizeof(Shmid64Ds) == 112);

struct Shminfo64 {
  uint64_t shmmax, shmmin, shmmni, shmseg, shmall;
  uint64_t unused[4];
};

struct ShmInfo {
  int32_t used_ids, pad;
  uint64_t shm_tot, shm_rss, shm_swp, swap_attempts, swap_successes;
};

struct Semid64Ds {
  Ipc64Perm perm;
  int64_t otime;
  uint64_t unused1;
  int64_t ctime;
  uint64_t unused2;
  uint64_t nsems;
  uint64_t unused[2];
};
static_assert(sizeof(Semid64Ds) == 104);

struct Seminfo {
  int32_t semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem;
};

struct Sembuf {
  uint16_t num;
  int16_t op, flags;
};
static_assert(sizeof(Sembuf) == 6);

struct Msqid64Ds {
  Ipc64Perm perm;
  int64_t stime, rtime, ctime;
  uint64_t cbytes, qnum, qbytes;
  int32_t lspid, lrpid;
  uint64_t unused[2];
};
static_assert(sizeof(Msqid64Ds) == 120);

struct Msginfo {
  int32_t msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql;
  uint16_t msgseg, pad;
};
static_assert(sizeof(Msginfo) == 32);

}  // namespace msentry::abi
