#include "procfs/access.h"

namespace msentry::procfs {

Result<> CheckInspect(const auth::Credentials& reader, int reader_tgid, kernel::Task& target,
                      WhichIds which) {
  if (reader_tgid == target.tgid()) return Ok();
  bool capable = reader.HasCap(auth::Cap::kSysPtrace);
  auth::CredsRef creds = target.creds();
  auth::Uid uid = which == WhichIds::kFileSystem ? reader.fsuid : reader.uid;
  auth::Gid gid = which == WhichIds::kFileSystem ? reader.fsgid : reader.gid;
  bool same = uid == creds->euid && uid == creds->suid && uid == creds->uid && gid == creds->egid &&
              gid == creds->sgid && gid == creds->gid;
  if (!same && !capable) return Errno::kEACCES;
  RefPtr<mm::MemoryManager> mm = target.mm_ref();
  if (mm && mm->dumpable() != 1 && !capable) return Errno::kEACCES;
  auth::CapSet have = which == WhichIds::kFileSystem ? reader.effective : reader.permitted;
  if ((creds->permitted & ~have) != 0 && !capable) return Errno::kEACCES;
  return Ok();
}

}  // namespace msentry::procfs
